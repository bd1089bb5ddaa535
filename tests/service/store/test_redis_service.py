"""A service whose Redis is killed, comes back empty, or has lost its last writes: the trajectory stays the undisturbed one."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import Service, connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from tests.service.store.redis_server import RedisServer

KEPT = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def undisturbed(toy_bundle: Bundle) -> list[float]:
    with Session(toy_bundle, seed=3) as session:
        session.initialize()
        return [session.do_step({"power": 5.0})["flow"] for _ in range(20)]


@contextlib.contextmanager
def served(toy_bundle: Bundle, store: RedisServer) -> Iterator[Service]:
    config = ServeConfig(listen="127.0.0.1:0", store=store.url, token_interval=3)
    with Server([toy_bundle], config) as server, connect(server.address) as service:
        yield service


@pytest.mark.parametrize("arguments", [KEPT, ()])
def test_a_store_that_is_killed_and_comes_back_with_or_without_its_sessions(
    toy_bundle: Bundle, undisturbed: list[float], make_redis: Callable[..., RedisServer], arguments: tuple[str, ...]
):
    store = make_redis(*arguments)
    with served(toy_bundle, store) as service, service.open("thermal_mass", seed=3) as session:
        taken = [session.do_step({"power": 5.0})["flow"] for _ in range(10)]
        store.kill()
        back = threading.Timer(0.5, store.start)
        back.start()
        taken += [session.do_step({"power": 5.0})["flow"] for _ in range(10)]
        back.join()
        assert session.recoveries
    assert taken == pytest.approx(undisturbed, rel=1e-6)


def test_a_store_that_lost_its_last_writes_takes_them_from_the_server_that_has_them(
    toy_bundle: Bundle, undisturbed: list[float], make_redis: Callable[..., RedisServer]
):
    store = make_redis()
    with (
        served(toy_bundle, store) as service,
        redis.Redis.from_url(store.url) as raw,
        service.open("thermal_mass", seed=3) as session,
    ):
        taken = [session.do_step({"power": 5.0})["flow"] for _ in range(5)]
        (key,) = raw.keys("*")
        older = raw.hgetall(key)
        taken += [session.do_step({"power": 5.0})["flow"] for _ in range(5)]
        raw.hset(key, mapping=older)
        began = time.monotonic()
        taken += [session.do_step({"power": 5.0})["flow"] for _ in range(10)]
        assert time.monotonic() - began < 5.0 and not session.recoveries, "nobody noticed"
        assert int(raw.hget(key, "version")) == 21
    assert taken == pytest.approx(undisturbed, rel=1e-6)
