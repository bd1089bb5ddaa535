"""Refusals arrive as the class and the sentence of the session, and leave everything as it was."""

import inspect
import math
import socket
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from surrogate_fmu import errors
from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import (
    CallOrderError,
    DomainError,
    InputError,
    NotServedError,
    ServiceError,
    ServiceFullError,
    SnapshotError,
    StepSizeError,
)
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import Service, connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.opening import Opening
from surrogate_fmu.service.remote_session import RemoteSession
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.status import CODES, status_of
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub
from tests.service.wire import stub_of

MODEL = "thermal_mass"
AnySession = Session | RemoteSession

REFUSED: dict[str, tuple[type[Exception], Callable[[AnySession], object]]] = {
    "unknown variable": (InputError, lambda s: s.do_step({"no_such": 1.0})),
    "an output": (InputError, lambda s: s.do_step({"flow": 1.0})),
    "not a number": (InputError, lambda s: s.do_step({"power": math.nan})),
    "infinite": (InputError, lambda s: s.set_values({"power": math.inf})),
    "text": (InputError, lambda s: s.do_step({"power": "much"})),
    "a name that is no text": (InputError, lambda s: s.do_step({7: 1.0})),
    "beyond max": (InputError, lambda s: s.do_step({"power": 1000.0})),
    "wrong shape": (InputError, lambda s: s.do_step({"power": [1.0, 2.0]})),
    "array of one for a scalar": (InputError, lambda s: s.do_step({"power": [1.0]})),
    "one good and one bad value": (InputError, lambda s: s.set_values({"ambient_temperature": 300.0, "power": math.nan})),
    "z without external": (InputError, lambda s: s.do_step(z=np.zeros(3))),
    "no multiple": (StepSizeError, lambda s: s.do_step(communication_step_size=3.0)),
    "zero step": (StepSizeError, lambda s: s.do_step(communication_step_size=0.0)),
    "infinite step": (StepSizeError, lambda s: s.do_step(communication_step_size=math.inf)),
    "initialized twice": (CallOrderError, lambda s: s.initialize()),
    "parameter in a run": (CallOrderError, lambda s: s.set_values({"temperature_start": 300.0})),
    "outside the domain": (DomainError, lambda s: s.do_step({"power": 90.0})),
    "damaged snapshot": (SnapshotError, lambda s: s.restore(b"\0" * 40)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_those_of_the_session(service: Service, toy_bundle: Bundle, case: str):
    kind, call = REFUSED[case]
    local, remote = Session(toy_bundle, 2, domain_policy="refuse"), service.open(MODEL, 2, domain_policy="refuse")
    local.initialize()
    local.do_step({"power": 5.0})
    remote.do_step({"power": 5.0})
    messages = []
    for session in (local, remote):
        with pytest.raises(kind) as caught:
            call(session)
        assert type(caught.value) is kind
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert remote.values == local.values
    assert remote.do_step() == local.do_step(), "the session is no longer as it was"


def test_refusals_before_the_run(service: Service, toy_bundle: Bundle):
    local, remote = Session(toy_bundle), service.open(MODEL, initialize=False)
    for call in (lambda s: s.do_step(), lambda s: s.outputs):
        with pytest.raises(CallOrderError) as expected:
            call(local)
        with pytest.raises(CallOrderError) as seen:
            call(remote)
        assert str(seen.value) == str(expected.value)
    assert remote.initialize() == local.initialize()


@pytest.mark.parametrize(
    "options",
    [{"seed": -1}, {"seed": 2**63}, {"seed": 1.5}, {"z_mode": "often"}, {"domain_policy": "panic"}, {"parameters": {"x": 1.0}}],
)
def test_refusals_of_open(service: Service, toy_bundle: Bundle, options: dict):
    with pytest.raises(InputError) as expected:
        Session(toy_bundle, **options)
    with pytest.raises(InputError) as seen:
        service.open(MODEL, **options)
    assert str(seen.value) == str(expected.value)


def test_open_outside_the_domain_holds_no_session(server: Server, service: Service):
    before = len(server.table)
    with pytest.raises(DomainError, match="temperature_start = 390"):
        service.open(MODEL, domain_policy="refuse", parameters={"temperature_start": 390.0})
    assert len(server.table) == before


def test_every_error_class_has_a_status():
    tree = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SurrogateError)}
    assert tree == {kind for kind in CODES if kind.__module__ == errors.__name__}


def test_a_class_of_a_user_travels_as_its_base():
    class OwnError(InputError):
        pass

    status = status_of(OwnError("too warm"))
    assert (status.code, status.message, status.error) == (grpc.StatusCode.INVALID_ARGUMENT, "too warm", "InputError")


def test_a_long_message_is_shortened_rather_than_lost():
    message = status_of(InputError("µ" * 5000)).message
    assert len(message.encode()) <= 1510 and " ... " in message


def test_unknown_model(service: Service):
    for call in (service.manifest, service.open):
        with pytest.raises(NotServedError, match=r"no model is called 'cell' here; there are 'field', 'thermal_mass'"):
            call("cell")


def test_closed_session(service: Service, toy_bundle: Bundle):
    local, remote = Session(toy_bundle), service.open(MODEL)
    remote.close()
    remote.close()
    local.close()
    with pytest.raises(CallOrderError) as expected:
        local.do_step()
    with pytest.raises(CallOrderError) as seen:
        remote.do_step()
    assert str(seen.value) == str(expected.value)


def test_a_session_that_was_closed_behind_the_clients_back(server: Server):
    with connect(server.address, recovery_timeout_s=0.3) as service:
        remote = service.open(MODEL)
        server.table.close(remote.session_id)
        with pytest.raises(NotServedError, match=r"the session '.{6}\.\.\.' was closed; open a new one"):
            remote.do_step()
        remote.close()


def test_numbers_without_a_shape_take_the_declared_one(server: Server, service: Service):
    remote = service.open("field", parameters={"profile": [1.0, 2.0, 4.0]})
    twin = service.open("field", parameters={"profile": [1.0, 2.0, 4.0]})
    with stub_of(server.address) as stub:
        for number, wrong in enumerate((pb.Value(elements=[1.0, 2.0]), pb.Value(elements=[1.0, 2.0], shape=[3]), pb.Value())):
            with pytest.raises(grpc.RpcError) as caught:
                stub.DoStep(pb.DoStepRequest(session_id=remote.session_id, step_number=1, inputs={"profile": wrong}))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, number
            assert "shape (3,)" in caught.value.details()
        flat = pb.Value(elements=[1.0, 2.0, 3.0])
        reply = stub.DoStep(pb.DoStepRequest(session_id=remote.session_id, step_number=1, inputs={"profile": flat}))
    expected = twin.do_step({"profile": np.array([1.0, 2.0, 3.0])})
    np.testing.assert_array_equal(reply.point.outputs["field"].elements, expected["field"].ravel())


def test_enumerators_of_a_later_version_are_refused(server: Server):
    with grpc.insecure_channel(server.address) as channel:
        for request in (pb.OpenRequest(model_name=MODEL, z_mode=99), pb.OpenRequest(model_name=MODEL, domain_policy=99)):
            with pytest.raises(grpc.RpcError) as caught:
                SurrogateStub(channel).Open(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_fault_of_the_server_is_a_sentence_and_not_its_end(
    server: Server, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    remote = service.open(MODEL)
    with monkeypatch.context() as patch:
        patch.setattr(Opening, "token", lambda *_: 1 / 0)
        with pytest.raises(ServiceError, match=r"INTERNAL: Snapshot failed in the server \(ZeroDivisionError\)"):
            remote.snapshot()
    assert "ZeroDivisionError" in caplog.text
    assert remote.snapshot()


def test_a_message_too_large(toy_bundle: Bundle):
    with (
        Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", message_limit_bytes=20_000)) as server,
        connect(server.address) as service,
        pytest.raises(ServiceError, match=r"too large.*raise message_limit_bytes"),
    ):
        service.rollout(MODEL, 5000, inputs={"power": np.ones(5000)})


def test_session_limit(toy_bundle: Bundle):
    with (
        Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", session_limit=2)) as server,
        connect(server.address, recovery_timeout_s=0.0) as service,
        service.open(MODEL) as first,
    ):
        service.open(MODEL)
        with pytest.raises(ServiceFullError, match="holds 2 sessions, which is its limit"):
            service.open(MODEL)
        first.close()
        service.open(MODEL).do_step()


def test_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServiceError, match=f"127.0.0.1:{port}"):
        connect(f"127.0.0.1:{port}", timeout_s=0.5)


def test_a_server_that_went_away(toy_bundle: Bundle):
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server:
        service = connect(server.address, timeout_s=5.0, recovery_timeout_s=0.2)
        remote = service.open(MODEL)
    with pytest.raises(ServiceError, match="cannot be reached"):
        remote.do_step()
    with pytest.raises(ValueError, match="of the caller"), remote:
        raise ValueError("of the caller")
    service.close()
    with pytest.raises(ServiceError, match="is closed; connect again"):
        service.models()
