"""What every store keeps, through two handles on one backend, as two servers have them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from surrogate_fmu.service.store import SessionStore, StoredSession, open_store

STATE = bytes(range(256)) + b"\0\xff\r\n"
LATER = 4e9


def opened(url: str) -> SessionStore:
    store = open_store(url)
    assert store is not None
    return store


@contextlib.asynccontextmanager
async def two_handles(url: str) -> AsyncIterator[tuple[SessionStore, SessionStore]]:
    one, other = opened(url), opened(url)
    try:
        yield one, other
    finally:
        await one.close()
        await other.close()


def test_a_saved_session_is_read_as_it_was_through_another_handle(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            for number, expires_at in enumerate((LATER, LATER + 0.125, 0.0)):
                session = StoredSession(f"id-{number}_" + "x" * 50, 1, STATE, expires_at)
                assert await one.save([session]) == frozenset()
                assert await other.load(session.session_id) == session
            assert await other.load("none") is None

    run(body())


def test_of_two_writers_from_one_version_one_wins_and_the_other_learns_it(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            assert not await one.save([StoredSession("a", 1, b"start", LATER)])
            outcomes = await asyncio.gather(
                one.save([StoredSession("a", 2, b"one", LATER)]), other.save([StoredSession("a", 2, b"other", LATER)])
            )
            assert sorted(outcomes, key=len) == [frozenset(), frozenset({"a"})]
            kept = await one.load("a")
            assert kept == StoredSession("a", 2, b"other" if outcomes[0] else b"one", LATER)

    run(body())


def test_a_write_that_is_repeated_loses_and_finds_itself(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            session = StoredSession("a", 1, STATE, LATER)
            assert not await one.save([session])
            for store in (one, other):
                assert await store.save([session]) == {"a"}
                assert await store.load("a") == session

    run(body())


def test_a_store_that_lost_its_last_writes_takes_the_larger_version(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            assert not await one.save([StoredSession("a", 1, b"1", LATER)])
            assert not await other.save([StoredSession("a", 9, b"9", LATER)])
            assert await one.save([StoredSession("a", 8, b"8", LATER)]) == {"a"}

    run(body())


def test_a_session_that_is_not_stored_stays_closed(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            await one.save([StoredSession("a", 1, b"1", LATER)])
            await other.delete("a")
            assert await one.save([StoredSession("a", 2, b"2", LATER)]) == {"a"}
            assert await one.load("a") is None

    run(body())


def test_the_sessions_of_one_call_win_or_lose_each_for_itself(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            assert await other.save([]) == frozenset()
            await other.save([StoredSession(name, 1, b"there", LATER) for name in ("b", "d")])
            sessions = [StoredSession(name, 1, name.encode(), LATER) for name in "abcd"]
            assert await one.save(sessions) == {"b", "d"}
            stored = [await other.load(name) for name in "abcd"]
            assert [s and s.state for s in stored] == [b"a", b"there", b"c", b"there"]

    run(body())


def test_a_deleted_session_is_gone_and_deleting_it_again_is_no_error(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            await one.save([StoredSession("a", 1, STATE, LATER)])
            await other.delete("a")
            await other.delete("a")
            assert await one.load("a") is None

    run(body())


def test_expired_sessions_go_and_the_others_stay(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            await one.save(
                [
                    StoredSession("past", 1, STATE, 1.0),
                    StoredSession("soon", 1, STATE, time.time() + 0.2),
                    StoredSession("touched", 1, STATE, time.time() + 0.2),
                    StoredSession("later", 1, STATE, time.time() + 60.0),
                    StoredSession("never", 1, STATE, 0.0),
                ]
            )
            await other.save([StoredSession("touched", 2, STATE, time.time() + 60.0)])
            await asyncio.sleep(0.3)
            await other.drop_expired(time.time())
            stored = [name for name in ("past", "soon", "touched", "later", "never") if await one.load(name)]
            assert stored == ["touched", "later", "never"]

    run(body())


def test_many_sessions_in_one_call(store_url: str, run: Callable):
    async def body() -> None:
        async with two_handles(store_url) as (one, other):
            sessions = [StoredSession(f"s{number}", 1, STATE * 40, LATER) for number in range(2000)]
            assert not await one.save(sessions)
            assert await other.save([s._replace(state=b"x") for s in sessions]) == {s.session_id for s in sessions}

    run(body())


NAMES = st.sampled_from(["a", "b", "c"])
SESSIONS = st.builds(StoredSession, NAMES, st.integers(1, 6), st.sampled_from([b"", b"x", STATE]), st.sampled_from([0.0, LATER]))
CALLS = st.one_of(
    st.tuples(st.just("save"), st.lists(SESSIONS, max_size=3, unique_by=lambda s: s.session_id)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("drop"), st.just(LATER - 1)),
    st.tuples(st.just("reopen"), st.none()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.integers(0, 1), CALLS), max_size=25))
def test_any_calls_through_two_handles_act_as_on_one_dict(store_url: str, calls: list):
    async def body() -> None:
        model: dict[str, StoredSession] = {}
        handles = [opened(store_url), opened(store_url)]
        try:
            for name in "abc":
                await handles[0].delete(name)
            for which, (call, argument) in calls:
                store = handles[which]
                if call == "save":
                    assert await store.save(argument) == expected(model, argument)
                elif call == "delete":
                    await store.delete(argument)
                    model.pop(argument, None)
                elif call == "drop":
                    await store.drop_expired(argument)  # all of them expire later or never
                else:
                    await store.close()
                    handles[which] = opened(store_url)
                for name in "abc":
                    assert await handles[1 - which].load(name) == model.get(name)
        finally:
            for store in handles:
                await store.close()

    asyncio.run(body())


def expected(model: dict[str, StoredSession], sessions: list[StoredSession]) -> frozenset[str]:
    """The ids that lose; the model takes the others."""
    lost = set()
    for session in sessions:
        stored = model.get(session.session_id)
        if session.version == 1 if stored is None else stored.version < session.version:
            model[session.session_id] = session
        else:
            lost.add(session.session_id)
    return frozenset(lost)


@pytest.mark.parametrize("writers", [2, 6])
def test_writers_that_race_lose_no_write(store_url: str, run: Callable, writers: int):
    """Each writer counts up under compare-and-set; the sum is what all of them wrote."""

    async def count_up(store: SessionStore, name: str) -> int:
        won = 0
        while won < 20:
            stored = await store.load("a")
            assert stored is not None
            if not await store.save([StoredSession("a", stored.version + 1, f"{name} {won}".encode(), LATER)]):
                won += 1
        return won

    async def body() -> None:
        stores = [opened(store_url) for _ in range(writers)]
        await stores[0].save([StoredSession("a", 1, b"", LATER)])
        assert sum(await asyncio.gather(*(count_up(store, str(n)) for n, store in enumerate(stores)))) == 20 * writers
        stored = await stores[0].load("a")
        assert stored is not None and stored.version == 1 + 20 * writers
        for store in stores:
            await store.close()

    run(body())
