"""A Redis server for a trial, where there is one on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.service.store.redis_server import EXECUTABLE, RedisServer


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str | None]:
    """Its address, or None where there is no redis-server."""
    if EXECUTABLE is None:
        yield None
        return
    server = RedisServer(folder)
    try:
        yield server.url
    finally:
        server.kill()
