"""The stores, each on a real file or a real server."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.store.redis_server import EXECUTABLE, MISSING, RedisServer


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if EXECUTABLE is None:
        pytest.skip(MISSING)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis_url(_redis: RedisServer) -> str:
    """The address of an empty Redis."""
    assert _redis.ask("FLUSHALL") == "+OK"
    return _redis.url


@pytest.fixture
def make_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis that the test may kill."""
    if EXECUTABLE is None:
        pytest.skip(MISSING)
    with contextlib.ExitStack() as stack:

        def make(*arguments: str) -> RedisServer:
            server = RedisServer(tmp_path, *arguments)
            stack.callback(server.kill)
            return server

        yield make


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return f"sqlite:///{tmp_path / 'sessions.db'}"


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs coroutines on one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run
