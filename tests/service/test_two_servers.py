"""Two servers over one store: whoever answers, the trajectory is that of one session."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from tests.service.wire import MODEL, refusal, step_request, stub_of

SESSION = "session-of-two-servers"


@pytest.fixture
def stubs(toy_bundle: Bundle, tmp_path: Path) -> Iterator[list[Any]]:
    """One stub per server; both have the store and the key in common."""
    config = ServeConfig(
        listen="127.0.0.1:0", store=f"sqlite:///{tmp_path / 'sessions.db'}", key_file=tmp_path / "token.key", token_interval=3
    )
    with ExitStack() as stack:
        servers = [stack.enter_context(Server([toy_bundle], config)) for _ in range(2)]
        yield [stack.enter_context(stub_of(server.address)) for server in servers]


def opened(stub: Any, **fields: Any) -> pb.OpenResponse:
    return stub.Open(pb.OpenRequest(session_id=SESSION, model_name=MODEL, seed=3, **fields))


def flows(toy_bundle: Bundle, count: int) -> list[float]:
    with Session(toy_bundle, seed=3) as session:
        session.initialize()
        return [session.do_step({"power": 5.0})["flow"] for _ in range(count)]


PATTERNS: list[Callable[[int], int]] = [lambda n: n % 2, lambda n: n // 3 % 2, lambda n: n * n // 5 % 2]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_steps_that_go_to_either_server_are_the_run_of_one_session(toy_bundle: Bundle, stubs: list[Any], pattern: Callable):
    opened(stubs[0])
    taken = []
    for number in range(1, 21):
        reply = stubs[pattern(number)].DoStep(step_request(SESSION, number))
        again = stubs[1 - pattern(number)].DoStep(step_request(SESSION, number))  # the same call, sent twice by two ways
        assert again.replayed and again.point == reply.point
        taken.append(reply.point.outputs["flow"].elements[0])
    assert taken == pytest.approx(flows(toy_bundle, 20), rel=1e-6)


def test_what_is_read_at_the_server_that_did_not_step_is_the_present_state(stubs: list[Any]):
    opened(stubs[0])
    stubs[1].GetSession(pb.GetSessionRequest(session_id=SESSION))
    last = [stubs[0].DoStep(step_request(SESSION, number)) for number in range(1, 6)][-1]
    assert stubs[1].GetSession(pb.GetSessionRequest(session_id=SESSION)).point == last.point
    snapshots = [stub.Snapshot(pb.SnapshotRequest(session_id=SESSION)).snapshot for stub in stubs]
    assert snapshots[0] == snapshots[1]


def test_a_session_closed_at_one_server_is_gone_at_the_other(stubs: list[Any]):
    opened(stubs[0])
    stubs[1].DoStep(step_request(SESSION, 1))
    stubs[0].Close(pb.CloseRequest(session_id=SESSION))
    code, error, _ = refusal(stubs[1].DoStep, step_request(SESSION, 2))
    assert (code, error) == (grpc.StatusCode.NOT_FOUND, "NotServedError")


def test_a_token_of_one_server_opens_at_the_other(toy_bundle: Bundle, stubs: list[Any]):
    opened(stubs[0])
    token = [stubs[0].DoStep(step_request(SESSION, number)).resume_token for number in range(1, 4)][-1]
    assert token
    stubs[0].Close(pb.CloseRequest(session_id=SESSION))
    reply = opened(stubs[1], resume_token=token)
    assert reply.resumed and reply.point.step_index == 3
    step = stubs[1].DoStep(step_request(SESSION, 4))
    assert step.point.outputs["flow"].elements[0] == pytest.approx(flows(toy_bundle, 4)[-1], rel=1e-6)


def test_sessions_of_one_call_that_another_server_closed_refuse_themselves_alone(stubs: list[Any]):
    names = [f"one-of-many-sessions-{number}" for number in range(3)]
    for name in names:
        stubs[0].Open(pb.OpenRequest(session_id=name, model_name=MODEL, seed=3))
        stubs[1].DoStep(step_request(name, 1))
    stubs[0].Close(pb.CloseRequest(session_id=names[1]))
    reply = stubs[1].DoSteps(pb.DoStepsRequest(session_ids=names, step_numbers=[2, 2, 2]))
    assert list(reply.step_indices)[::2] == [2, 2]
    assert {row: refused.error for row, refused in reply.refusals.items()} == {1: "NotServedError"}


def test_one_session_opened_at_both_servers_is_one_session(stubs: list[Any]):
    replies = [opened(stub) for stub in stubs]
    assert [reply.found for reply in replies] == [False, True]
    assert replies[0].point == replies[1].point
    code, error, _ = refusal(stubs[1].Open, pb.OpenRequest(session_id=SESSION, model_name=MODEL, seed=4))
    assert (code, error) == (grpc.StatusCode.ALREADY_EXISTS, "OpenConflictError")


def test_of_two_writers_with_different_inputs_one_is_told(stubs: list[Any]):
    opened(stubs[0])
    stubs[1].GetSession(pb.GetSessionRequest(session_id=SESSION))
    stubs[0].DoStep(step_request(SESSION, 1, 5.0))
    code, error, next_step = refusal(stubs[1].DoStep, step_request(SESSION, 1, 6.0))
    assert (code, error, next_step) == (grpc.StatusCode.ALREADY_EXISTS, "StepConflictError", 2)


def test_two_equal_openings_at_once_find_one_session(stubs: list[Any]):
    with ThreadPoolExecutor(2) as pool:
        for number in range(30):
            request = pb.OpenRequest(session_id=f"opened-at-both-{number:04d}", model_name=MODEL, seed=3)
            replies = list(pool.map(lambda stub, request=request: stub.Open(request), stubs))
            assert replies[0].point == replies[1].point
            first = stubs[number % 2].DoStep(step_request(request.session_id, 1)).point
            again = stubs[1 - number % 2].DoStep(step_request(request.session_id, 1))
            assert again.replayed and again.point == first
