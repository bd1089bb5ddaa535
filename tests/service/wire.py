"""Calls of the API without the client library, as another language makes them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from surrogate_fmu.service.status import ERROR_KEY, NEXT_STEP_KEY
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub

MODEL = "thermal_mass"


@contextlib.contextmanager
def stub_of(address: str) -> Iterator[SurrogateStub]:
    """A stub on a channel of its own."""
    with grpc.insecure_channel(address) as channel:
        yield SurrogateStub(channel)


def scalar(value: float) -> pb.Value:
    return pb.Value(elements=[value])


def step_request(session_id: str, number: int, power: float | None = 5.0, **fields: Any) -> pb.DoStepRequest:
    inputs = {} if power is None else {"power": scalar(power)}
    return pb.DoStepRequest(session_id=session_id, step_number=number, inputs=inputs, **fields)


def _answered(call: Any, request: Any) -> None:
    reply = call(request)
    if hasattr(reply, "code"):  # a stream is refused when it is read
        list(reply)


def refusal(call: Any, request: Any) -> tuple[grpc.StatusCode, str, int]:
    """Code, class of the error and next step of a call that is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        _answered(call, request)
    metadata = dict(caught.value.trailing_metadata() or ())
    return caught.value.code(), metadata.get(ERROR_KEY, ""), int(metadata.get(NEXT_STEP_KEY, 0))
