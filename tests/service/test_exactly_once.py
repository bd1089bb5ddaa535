"""A step is taken once, however often and in whatever order its messages come."""

import itertools
from collections.abc import Iterator

import grpc
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub
from tests.service.wire import MODEL, refusal, scalar, step_request, stub_of

_ids = itertools.count()


@pytest.fixture
def stub(server: Server) -> Iterator[SurrogateStub]:
    with stub_of(server.address) as stub:
        yield stub


@pytest.fixture
def session_id() -> str:
    return f"exactly-once-{next(_ids):06d}"


def opening(session_id: str, **fields: object) -> pb.OpenRequest:
    return pb.OpenRequest(session_id=session_id, model_name=MODEL, seed=3, **fields)


def test_the_last_step_again_gives_its_reply(stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    stub.DoStep(step_request(session_id, 1))
    first = stub.DoStep(step_request(session_id, 2, 7.0))
    again = stub.DoStep(step_request(session_id, 2, 7.0))
    assert not first.replayed and again.replayed
    assert again.point == first.point
    assert stub.DoStep(step_request(session_id, 3)).point.step_index == 3


def test_numbers_as_elements_and_as_bytes_are_the_same_step(stub: SurrogateStub, session_id: str):
    import struct

    stub.Open(opening(session_id))
    stub.DoStep(step_request(session_id, 1, 7.0))
    as_bytes = pb.Value(data=struct.pack("<d", 7.0), data_type=pb.DATA_TYPE_FLOAT64)
    assert stub.DoStep(pb.DoStepRequest(session_id=session_id, step_number=1, inputs={"power": as_bytes})).replayed


def test_every_wrong_number_has_its_status(stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    for number in (1, 2, 3):
        reply = stub.DoStep(step_request(session_id, number))
    code = grpc.StatusCode
    assert refusal(stub.DoStep, step_request(session_id, 5)) == (code.FAILED_PRECONDITION, "StepGapError", 4)
    assert refusal(stub.DoStep, step_request(session_id, 2)) == (code.ABORTED, "StepStaleError", 4)
    assert refusal(stub.DoStep, step_request(session_id, 3, 6.0)) == (code.ALREADY_EXISTS, "StepConflictError", 4)
    held = step_request(session_id, 3, None)  # inputs that are held are other inputs than those given
    assert refusal(stub.DoStep, held) == (code.ALREADY_EXISTS, "StepConflictError", 4)
    longer = step_request(session_id, 3, communication_step_size=4.0)
    assert refusal(stub.DoStep, longer) == (code.ALREADY_EXISTS, "StepConflictError", 4)
    assert refusal(stub.DoStep, step_request(session_id, 0))[:2] == (code.INVALID_ARGUMENT, "InputError")
    assert refusal(stub.DoStep, step_request(session_id, -1))[:2] == (code.INVALID_ARGUMENT, "InputError")
    now = stub.GetSession(pb.GetSessionRequest(session_id=session_id))
    assert now.point == reply.point
    assert now.values["power"].elements == [5.0]


def test_a_step_of_several_has_the_number_of_its_first(stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    first = stub.DoStep(step_request(session_id, 1, communication_step_size=6.0))
    assert first.point.step_index == 3
    again = stub.DoStep(step_request(session_id, 1, communication_step_size=6.0))
    assert again.replayed and again.point == first.point
    assert refusal(stub.DoStep, step_request(session_id, 2))[1] == "StepStaleError"
    assert stub.DoStep(step_request(session_id, 4)).point.step_index == 4


def test_a_refused_step_takes_no_number(stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    assert refusal(stub.DoStep, step_request(session_id, 1, 1e9))[1] == "InputError"
    assert not stub.DoStep(step_request(session_id, 1)).replayed


def test_open_again_finds_the_session_where_it_stands(server: Server, stub: SurrogateStub, session_id: str):
    first = stub.Open(opening(session_id))
    assert not first.found and first.point.step_index == 0
    stub.DoStep(step_request(session_id, 1))
    count = len(server.table)
    again = stub.Open(opening(session_id))
    assert again.found and again.point.step_index == 1
    assert len(server.table) == count
    other = pb.OpenRequest(session_id=session_id, model_name=MODEL, seed=4)
    assert refusal(stub.Open, other)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "OpenConflictError")
    warm = opening(session_id, values={"temperature_start": scalar(301.0)})
    assert refusal(stub.Open, warm)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "OpenConflictError")


def test_a_late_open_does_not_bring_a_closed_session_back(server: Server, stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    stub.Close(pb.CloseRequest(session_id=session_id))
    stub.Close(pb.CloseRequest(session_id=session_id))
    count = len(server.table)
    assert refusal(stub.Open, opening(session_id))[:2] == (grpc.StatusCode.NOT_FOUND, "NotServedError")
    assert refusal(stub.DoStep, step_request(session_id, 1))[1] == "NotServedError"
    assert len(server.table) == count


def test_a_token_brings_a_session_back_with_its_last_step(toy_bundle: Bundle, stub: SurrogateStub, session_id: str, server: Server):
    stub.Open(opening(session_id, token_interval=2))
    replies = [stub.DoStep(step_request(session_id, number, float(number))) for number in (1, 2, 3, 4)]
    assert [bool(reply.resume_token) for reply in replies] == [False, True, False, True]
    server.table.drop(session_id)
    back = stub.Open(opening(session_id, token_interval=2, resume_token=replies[3].resume_token))
    assert back.resumed and not back.found and back.point == replies[3].point
    again = stub.DoStep(step_request(session_id, 4, 4.0))
    assert again.replayed and again.point == replies[3].point
    reply = stub.DoStep(step_request(session_id, 5, 5.0))
    local = Session(toy_bundle, 3)
    local.initialize()
    for number in (1, 2, 3, 4, 5):
        expected = local.do_step({"power": float(number)})
    assert reply.point.outputs["temperature"].elements[0] == pytest.approx(expected["temperature"], rel=1e-6)


def test_a_token_is_for_its_own_session(stub: SurrogateStub, session_id: str):
    token = stub.Open(opening(session_id)).resume_token
    other = opening(session_id + "x", resume_token=token)
    assert refusal(stub.Open, other)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "SnapshotError")
    broken = opening(session_id + "y", resume_token=token[:-1] + bytes([token[-1] ^ 1]))
    assert refusal(stub.Open, broken)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "SnapshotError")


def test_restore_is_another_session_and_may_be_repeated(server: Server, stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    stub.DoStep(step_request(session_id, 1))
    snapshot = stub.Snapshot(pb.SnapshotRequest(session_id=session_id)).snapshot
    ahead = stub.DoStep(step_request(session_id, 2)).point
    count = len(server.table)
    request = pb.RestoreRequest(session_id=session_id, snapshot=snapshot, new_session_id=session_id + "-back")
    for _ in range(2):
        back = stub.Restore(request)
        assert back.session_id == session_id + "-back" and back.point.step_index == 1
    assert len(server.table) == count
    # a step for the session of before comes late: it finds nothing to change
    assert refusal(stub.DoStep, step_request(session_id, 3))[1] == "NotServedError"
    assert stub.DoStep(step_request(back.session_id, 2)).point == ahead


def test_a_session_id_of_the_servers_choice(stub: SurrogateStub):
    first, second = (stub.Open(pb.OpenRequest(model_name=MODEL)).session_id for _ in range(2))
    assert first != second and min(len(first), len(second)) >= 32
    bad = pb.OpenRequest(session_id="short", model_name=MODEL)
    assert refusal(stub.Open, bad)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "InputError")


def test_a_digest_that_is_not_served(stub: SurrogateStub, session_id: str):
    assert refusal(stub.Open, opening(session_id, bundle_digest="0" * 64))[:2] == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CallOrderError",
    )


def test_a_stream_of_steps(stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    single = session_id + "-single"
    stub.Open(opening(single))
    requests = [step_request(session_id if number == 1 else "", number, float(number)) for number in range(1, 20)]
    replies = list(stub.Run(iter(requests)))
    expected = [stub.DoStep(step_request(single, number, float(number))) for number in range(1, 20)]
    assert [reply.point for reply in replies] == [reply.point for reply in expected]


def test_a_refused_step_ends_a_stream_and_those_before_it_stand(stub: SurrogateStub, session_id: str):
    stub.Open(opening(session_id))
    requests = [step_request(session_id, 1), step_request(session_id, 2), step_request(session_id, 9), step_request(session_id, 3)]
    seen = []
    with pytest.raises(grpc.RpcError) as caught:
        seen.extend(reply.point.step_index for reply in stub.Run(iter(requests)))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert stub.GetSession(pb.GetSessionRequest(session_id=session_id)).point.step_index == 2
