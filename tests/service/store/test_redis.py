"""The Redis store where the server is killed, hangs, is full or refuses."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from surrogate_fmu.errors import ConfigError, StoreError
from surrogate_fmu.service.store import StoredSession, open_store
from surrogate_fmu.service.store.redis import RedisStore
from tests.service.store.redis_server import RedisServer

LATER = 4e9
MakeRedis = Callable[..., RedisServer]


def session(name: str, version: int = 1, state: bytes = b"state") -> StoredSession:
    return StoredSession(name, version, state, LATER)


def test_a_killed_server_refuses_and_the_store_goes_on_with_the_next(make_redis: MakeRedis, run: Callable[..., Any]):
    server = make_redis("--appendonly", "yes", "--appendfsync", "always")
    store = RedisStore(server.url)
    assert not run(store.save([session("a")]))
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    for call in (store.save([session("a", 2)]), store.load("a"), store.delete("a")):
        with pytest.raises(StoreError, match=rf"Redis at 127.0.0.1:{server.port} failed .*send the call again") as caught:
            run(call)
        assert caught.value.retry_after_s > 0
    server.start()
    assert run(store.load("a")) == session("a"), "appendonly kept it"
    assert not run(store.save([session("a", 2)]))
    run(store.close())


def test_a_connection_that_a_restart_left_stale_is_replaced_in_the_same_call(make_redis: MakeRedis, run: Callable[..., Any]):
    server = make_redis()
    store = RedisStore(server.url)
    run(store.save([session("a")]))
    server.kill()
    server.start()
    assert run(store.load("a")) is None
    assert not run(store.save([session("a")]))
    run(store.close())


def test_a_server_that_hangs_is_given_up_in_time(make_redis: MakeRedis, run: Callable[..., Any]):
    server = make_redis()
    store = RedisStore(server.url, timeout_s=0.2)
    run(store.save([session("a")]))
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StoreError):
            run(store.save([session("a", 2)]))
        assert time.monotonic() - began < 2.0
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    # whether the write of the call that was given up arrived or not, the session is there and goes on
    assert run(store.load("a")) in (session("a"), session("a", 2))
    assert not run(store.save([session("a", 3)]))
    run(store.close())


def test_a_full_server_writes_nothing_of_the_call(make_redis: MakeRedis, run: Callable[..., Any]):
    server = make_redis("--maxmemory-policy", "noeviction")
    store = RedisStore(server.url)
    run(store.save([session("a")]))
    assert server.ask("CONFIG SET maxmemory 1mb") == "+OK"
    with pytest.raises(StoreError, match="has memory left"):
        run(store.save([session("a", 2), session("b")]))
    assert run(store.load("a")) == session("a") and run(store.load("b")) is None
    assert server.ask("CONFIG SET maxmemory 0") == "+OK"
    assert not run(store.save([session("a", 2), session("b")]))
    run(store.close())


def test_a_wrong_password_is_told_without_showing_it(make_redis: MakeRedis, run: Callable[..., Any]):
    server = make_redis("--requirepass", "the right one")
    store = RedisStore(server.url.replace("redis://", "redis://:hunter2@"))
    with pytest.raises(StoreError, match="lets this server in") as caught:
        run(store.load("a"))
    assert "hunter2" not in str(caught.value)
    run(store.close())


def test_times_to_live_are_kept_by_the_server(make_redis: MakeRedis, run: Callable[..., Any]):
    server = make_redis()
    store = RedisStore(server.url)
    run(store.save([StoredSession("a", 1, b"", time.time() + 100.0), StoredSession("b", 1, b"", 0.0)]))
    assert 98 <= int(server.ask("TTL surrogate-fmu:session:a")[1:]) <= 100
    assert server.ask("TTL surrogate-fmu:session:b") == ":-1"
    run(store.save([StoredSession("a", 2, b"", 0.0)]))
    assert server.ask("TTL surrogate-fmu:session:a") == ":-1"
    run(store.close())


@pytest.mark.parametrize("url", ["redis://127.0.0.1:http/0", "redis://127.0.0.1:99999/0"])
def test_an_address_that_cannot_be_read_is_refused(url: str):
    with pytest.raises(ConfigError, match="redis://host:port/db"):
        open_store(url)
