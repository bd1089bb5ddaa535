"""Random sequences of calls against a model of the protocol, and random messages against nothing but the rules of the wire."""

import contextlib
import itertools
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Values
from hypothesis.stateful import RuleBasedStateMachine, rule

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub
from tests.service.wire import MODEL, scalar, step_request

METHODS = ("ListModels", "GetModel", "Open", "GetSession", "DoStep", "DoSteps", "Snapshot", "Restore", "Close")
_ids = itertools.count()


class Model:
    """What the protocol says that a session is: steps taken, each with the power that was given."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.powers: list[float] = []
        self.closed = False


class Machine(RuleBasedStateMachine):
    """The service against that model; its numbers against a stepper of our own."""

    sessions = Values("sessions")
    stub: SurrogateStub
    stepper: Stepper

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}
        self.snapshots: dict[bytes, tuple[int, list[float]]] = {}

    @rule(target=sessions, seed=st.integers(0, 3))
    def open(self, seed: int) -> str:
        session_id = f"state-machine-{next(_ids):08d}"
        self.stub.Open(pb.OpenRequest(session_id=session_id, model_name=MODEL, seed=seed))
        self.models[session_id] = Model(seed)
        return session_id

    @rule(session_id=sessions)
    def open_again(self, session_id: str) -> None:
        model = self.models[session_id]
        reply = self.answer(self.stub.Open, pb.OpenRequest(session_id=session_id, model_name=MODEL, seed=model.seed))
        if model.closed:
            assert reply is grpc.StatusCode.NOT_FOUND
        else:
            assert reply.found and reply.point.step_index == len(model.powers)

    @rule(session_id=sessions, ahead=st.integers(-2, 2), power=st.sampled_from([1.0, 2.0]))
    def step(self, session_id: str, ahead: int, power: float) -> None:
        model = self.models[session_id]
        number = len(model.powers) + 1 + ahead
        reply = self.answer(self.stub.DoStep, step_request(session_id, number, power))
        if model.closed:
            assert reply is grpc.StatusCode.NOT_FOUND
        elif ahead == 0:
            model.powers.append(power)
            assert not reply.replayed
            self.check(model, reply.point)
        elif number < 1:
            assert reply is grpc.StatusCode.INVALID_ARGUMENT
        elif ahead > 0:
            assert reply is grpc.StatusCode.FAILED_PRECONDITION
        elif ahead < -1:
            assert reply is grpc.StatusCode.ABORTED
        elif model.powers[-1] != power:
            assert reply is grpc.StatusCode.ALREADY_EXISTS
        else:
            # a session that was restored knows its last step too
            assert reply.replayed
            self.check(model, reply.point)

    @rule(session_id=sessions)
    def snapshot(self, session_id: str) -> None:
        model = self.models[session_id]
        reply = self.answer(self.stub.Snapshot, pb.SnapshotRequest(session_id=session_id))
        if not model.closed:
            self.snapshots[reply.snapshot] = (model.seed, list(model.powers))

    @rule(target=sessions, session_id=sessions, choice=st.integers(0, 5))
    def restore(self, session_id: str, choice: int) -> str:
        if not self.snapshots:
            return session_id
        snapshot = list(self.snapshots)[choice % len(self.snapshots)]
        new_id = f"state-machine-{next(_ids):08d}"
        reply = self.stub.Restore(pb.RestoreRequest(session_id=session_id, snapshot=snapshot, new_session_id=new_id))
        self.models[session_id].closed = True
        model = self.models[new_id] = Model(self.snapshots[snapshot][0])
        model.powers = list(self.snapshots[snapshot][1])
        self.check(model, reply.point)
        return new_id

    @rule(session_id=sessions)
    def close(self, session_id: str) -> None:
        self.stub.Close(pb.CloseRequest(session_id=session_id))
        self.models[session_id].closed = True

    def teardown(self) -> None:
        for session_id in self.models:
            self.stub.Close(pb.CloseRequest(session_id=session_id))

    def answer(self, call: Any, request: Any) -> Any:
        try:
            return call(request)
        except grpc.RpcError as error:
            return error.code()

    def check(self, model: Model, point: pb.CommunicationPoint) -> None:
        run = self.stepper.declared()._replace(seed=model.seed)
        draws = self.stepper.draws(run)
        run = self.stepper.start(run, draws)
        for power in model.powers:
            plan = self.stepper.plan(run, draws, {"power": power})
            (run,) = self.stepper.advance([plan], self.stepper.reproducible_batch)
        assert point.step_index == len(model.powers) == run.step_index
        assert (point.outputs["temperature"].elements[0], point.outputs["flow"].elements[0]) == run.outputs


@pytest.fixture(scope="module")
def server(toy_bundle: Bundle) -> Iterator[Server]:
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as running:
        yield running


def test_random_sequences_of_calls(server: Server, toy_bundle: Bundle):
    with grpc.insecure_channel(server.address) as channel:
        Machine.stub = SurrogateStub(channel)
        Machine.stepper = Stepper(toy_bundle)
        limits = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
        Machine.TestCase.settings = limits
        case = Machine.TestCase()
        case.runTest()
        assert len(server.table) == 0


def mutated(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        kind = chance.randrange(3)
        place = chance.randrange(len(changed) + 1)
        if kind == 0:
            changed[place:place] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 1:
            del changed[place : place + chance.randrange(1, 9)]
        elif changed:
            changed[place % len(changed)] = chance.randrange(256)
    return bytes(changed)


def test_thousands_of_broken_messages(server: Server, toy_bundle: Bundle):
    chance = random.Random(0)
    with grpc.insecure_channel(server.address) as channel:
        stub = SurrogateStub(channel)
        session_id = stub.Open(pb.OpenRequest(session_id="a-session-under-fire", model_name=MODEL, seed=5)).session_id
        point = stub.DoStep(step_request(session_id, 1)).point
        snapshot = stub.Snapshot(pb.SnapshotRequest(session_id=session_id)).snapshot
        # no message here may be the session's next step, so what it holds must stay
        good = {
            "ListModels": pb.ListModelsRequest(),
            "GetModel": pb.GetModelRequest(name=MODEL),
            "Open": pb.OpenRequest(
                session_id="another-session-id", model_name=MODEL, values={"power": scalar(2.0)}, resume_token=snapshot
            ),
            "GetSession": pb.GetSessionRequest(session_id=session_id),
            "DoStep": step_request(session_id, 7, communication_step_size=4.0, z=pb.Value(elements=[1.0, 2.0, 3.0])),
            "DoSteps": pb.DoStepsRequest(session_ids=[session_id], step_numbers=[9], inputs={"power": pb.Value(data=b"12345678")}),
            "Snapshot": pb.SnapshotRequest(session_id=session_id),
            "Restore": pb.RestoreRequest(snapshot=snapshot, new_session_id="a-restored-session"),
            "Close": pb.CloseRequest(session_id="no-such-session-here"),
        }
        codes: dict[grpc.StatusCode, int] = {}
        for _ in range(3000):
            method = chance.choice(METHODS)
            data = mutated(chance, good[method].SerializeToString())
            if method == "DoStep":
                with contextlib.suppress(DecodeError):
                    if pb.DoStepRequest.FromString(data).step_number == 2:
                        continue
            try:
                channel.unary_unary(f"/surrogate_fmu.v1.Surrogate/{method}")(data, timeout=20)
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code = error.code()
            codes[code] = codes.get(code, 0) + 1
        assert codes.get(grpc.StatusCode.UNKNOWN, 0) == 0, codes
        now = stub.GetSession(pb.GetSessionRequest(session_id=session_id))
        assert now.point == point and now.seed == 5
        assert stub.DoStep(step_request(session_id, 2)).point.step_index == 2
