"""The table of sessions: ids, limit, idling."""

import threading

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import NotServedError, ServiceFullError
from surrogate_fmu.runtime.session import Session, SessionState
from surrogate_fmu.service.table import SessionTable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_ids_differ_and_cannot_be_guessed(toy_bundle: Bundle, clock: Clock):
    table = SessionTable(100, 10.0, clock)
    session = Session(toy_bundle)
    ids = {table.add(session) for _ in range(50)}
    assert len(ids) == 50 and min(map(len, ids)) >= 32


def test_an_idle_session_is_dropped_and_a_used_one_stays(toy_bundle: Bundle, clock: Clock):
    table = SessionTable(2, 10.0, clock)
    idle, used = Session(toy_bundle), Session(toy_bundle)
    idle_id, used_id = table.add(idle), table.add(used)
    clock.now = 6.0
    with table.use(used_id) as found:
        assert found is used
    clock.now = 11.0
    assert len(table) == 1
    assert idle.state is SessionState.CLOSED
    with pytest.raises(NotServedError, match="was idle for 10 s"), table.use(idle_id):
        pass
    with table.use(used_id):
        pass


def test_a_session_in_a_long_call_is_not_idle(toy_bundle: Bundle, clock: Clock):
    table = SessionTable(2, 10.0, clock)
    busy_id = table.add(Session(toy_bundle))
    with table.use(busy_id) as session:
        clock.now = 100.0
        assert len(table) == 1
        session.initialize()
    with table.use(busy_id) as session:
        session.do_step()


def test_idle_sessions_make_room(toy_bundle: Bundle, clock: Clock):
    table = SessionTable(1, 10.0, clock)
    table.add(Session(toy_bundle))
    with pytest.raises(ServiceFullError):
        table.add(Session(toy_bundle))
    clock.now = 10.0
    table.add(Session(toy_bundle))


def test_one_thread_at_a_time_has_a_session(toy_bundle: Bundle, clock: Clock):
    table = SessionTable(1, 10.0, clock)
    session_id = table.add(Session(toy_bundle))
    inside, most = 0, 0
    barrier = threading.Barrier(4)

    def work() -> None:
        nonlocal inside, most
        barrier.wait()
        for _ in range(20):
            with table.use(session_id):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
