"""The table of sessions: limits, idling, and what it still knows of those that ended."""

import asyncio

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import NotServedError, ServiceFullError, SessionEvictedError
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.service.batcher import Batcher
from surrogate_fmu.service.conversion import Batching
from surrogate_fmu.service.record import Moment, Terms
from surrogate_fmu.service.served import ServedModel, ServedSession
from surrogate_fmu.service.table import SessionTable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def model(toy_bundle: Bundle) -> ServedModel:
    stepper = Stepper(toy_bundle)
    return ServedModel(toy_bundle, stepper, Batcher(stepper, 10))


def session(model: ServedModel, name: str, owner: str = "") -> ServedSession:
    terms = Terms(name, owner, bytes(16), Batching.REPRODUCIBLE, 10, 10.0)
    return ServedSession(model, terms, Moment(model.stepper.declared()))


def test_an_idle_session_is_evicted_and_a_used_one_stays(model: ServedModel, clock: Clock):
    table = SessionTable(2, 0, clock)
    idle, used = session(model, "idle"), session(model, "used")
    table.add(idle)
    table.add(used)
    clock.now = 6.0
    assert table.get("used", "") is used
    clock.now = 11.0
    assert table.evict_idle() == [idle]
    assert table.get("idle", "") is None
    assert isinstance(table.missing("idle"), SessionEvictedError)
    assert "for 10 s" in str(table.missing("idle"))
    assert table.get("used", "") is used


def test_a_session_in_a_long_call_is_not_idle(model: ServedModel, clock: Clock):
    table = SessionTable(2, 0, clock)
    busy = session(model, "busy")
    table.add(busy)
    loop = asyncio.new_event_loop()
    busy.busy = loop.create_future()
    clock.now = 100.0
    assert table.evict_idle() == []
    busy.busy = None
    assert table.evict_idle() == [busy]
    loop.close()


def test_the_limits_of_all_and_of_one_owner(model: ServedModel, clock: Clock):
    table = SessionTable(3, 2, clock)
    table.add(session(model, "a1", "a"))
    table.add(session(model, "a2", "a"))
    with pytest.raises(ServiceFullError, match="limit of one owner"):
        table.add(session(model, "a3", "a"))
    table.add(session(model, "b1", "b"))
    with pytest.raises(ServiceFullError, match="holds 3 sessions, which is its limit"):
        table.add(session(model, "b2", "b"))
    table.close("a1")
    table.add(session(model, "a3", "a"))


def test_a_session_of_another_owner_is_not_there(model: ServedModel, clock: Clock):
    table = SessionTable(3, 0, clock)
    table.add(session(model, "mine", "a"))
    assert table.get("mine", "b") is None
    assert str(table.missing("mine")).replace("mine", "none") == str(table.missing("none"))


def test_a_closed_session_is_remembered_as_closed(model: ServedModel, clock: Clock):
    table = SessionTable(3, 0, clock)
    table.add(session(model, "done"))
    assert not table.was_closed("done")
    table.close("done")
    assert table.was_closed("done")
    assert type(table.missing("done")) is NotServedError and "was closed" in str(table.missing("done"))
    for number in range(10_050):
        table.close(f"other {number}")
    assert not table.was_closed("done"), "the memory of ended sessions is bounded"
