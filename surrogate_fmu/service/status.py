"""Errors as gRPC statuses and back: the client raises the class that the server raised, with its message.

Several classes share a status code, so the class travels by name in the trailing metadata. A status without that name
came from gRPC itself (no connection, no answer in time, a message too large) and becomes a `ServiceError`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from surrogate_fmu import errors
from surrogate_fmu.errors import RetryLaterError, ServiceError, ServiceLostError, StepNumberError, SurrogateError

ERROR_KEY = "surrogate-fmu-error"
NEXT_STEP_KEY = "surrogate-fmu-next-step"
_DETAILS_KEY = "grpc-status-details-bin"
_MESSAGE_LIMIT = 1500  # bytes; percent-encoding may triple them, and gRPC drops a status whose headers exceed 8 KiB
_Metadata = tuple[tuple[str, str | bytes], ...]

CODES: Mapping[type[SurrogateError], grpc.StatusCode] = {
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.StepSizeError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SnapshotError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DomainError: grpc.StatusCode.OUT_OF_RANGE,
    errors.CallOrderError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepNumberError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepGapError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepStaleError: grpc.StatusCode.ABORTED,
    errors.StepConflictError: grpc.StatusCode.ALREADY_EXISTS,
    errors.OpenConflictError: grpc.StatusCode.ALREADY_EXISTS,
    errors.ConcurrentCallError: grpc.StatusCode.ABORTED,
    errors.ServiceLostError: grpc.StatusCode.UNAVAILABLE,
    errors.NotServedError: grpc.StatusCode.NOT_FOUND,
    errors.SessionEvictedError: grpc.StatusCode.NOT_FOUND,
    errors.AccessError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ServiceFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ServiceDrainingError: grpc.StatusCode.UNAVAILABLE,
    errors.StoreError: grpc.StatusCode.UNAVAILABLE,
    errors.RetryLaterError: grpc.StatusCode.UNAVAILABLE,
    errors.ServiceError: grpc.StatusCode.UNAVAILABLE,
    errors.DeviceError: grpc.StatusCode.INTERNAL,
    errors.SessionError: grpc.StatusCode.INTERNAL,
    errors.BundleError: grpc.StatusCode.INTERNAL,
    errors.DatasetError: grpc.StatusCode.INTERNAL,
    errors.PlantError: grpc.StatusCode.INTERNAL,
    errors.TrainingError: grpc.StatusCode.INTERNAL,
    errors.BuildError: grpc.StatusCode.INTERNAL,
    errors.LoweringError: grpc.StatusCode.INTERNAL,
    errors.VerdictError: grpc.StatusCode.INTERNAL,
    errors.SurrogateError: grpc.StatusCode.INTERNAL,
}
_CLASSES = {kind.__name__: kind for kind in CODES}


class Status(NamedTuple):
    """What a refused call answers with."""

    code: grpc.StatusCode
    message: str
    metadata: _Metadata
    error: str
    next_step: int = 0


def status_of(error: SurrogateError) -> Status:
    """The status of an error; a class that is not in the map travels as its nearest base."""
    kind = next(kind for kind in type(error).__mro__ if kind in CODES)
    code, message, metadata = CODES[kind], _shorten(str(error)), ((ERROR_KEY, kind.__name__),)
    if isinstance(error, StepNumberError):
        return Status(code, message, (*metadata, (NEXT_STEP_KEY, str(error.next_step))), kind.__name__, error.next_step)
    if isinstance(error, RetryLaterError):
        return Status(code, message, (*metadata, (_DETAILS_KEY, _retry_info(code, message, error.retry_after_s))), kind.__name__)
    return Status(code, message, metadata, kind.__name__)


def error_of(status: grpc.RpcError, target: str) -> SurrogateError:
    """The error behind a failed call to the service at `target`."""
    code, details = status.code(), status.details() or ""
    pairs: Any = status.trailing_metadata() or ()  # the stubs of grpc say otherwise
    metadata = dict(pairs)
    kind = metadata.get(ERROR_KEY)
    if kind in _CLASSES:
        next_step = metadata.get(NEXT_STEP_KEY, "")
        return error_from_parts(kind, details, int(next_step) if next_step.isdecimal() else 0, _retry_after(metadata))
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServiceLostError(f"the service at {target} cannot be reached ({details}); is `surrogate-fmu serve` running there?")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServiceLostError(f"the service at {target} did not answer in time; is it running? connect with a longer timeout_s")
    if code is grpc.StatusCode.CANCELLED:
        return ServiceLostError(f"the call to the service at {target} was cancelled ({details})")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ServiceError(f"what answers at {target} does not offer surrogate_fmu.v1 ({details}); check the address")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ServiceError(f"a message was too large for {target} ({details}); raise message_limit_bytes on both sides")
    return ServiceError(f"the service at {target} failed with {code.name}: {details}")


def error_from_parts(kind: str, message: str, next_step: int = 0, retry_after_s: float | None = None) -> SurrogateError:
    """The error whose class has the name `kind`; an unknown name gives a `ServiceError`."""
    error_class = _CLASSES.get(kind, ServiceError)
    if issubclass(error_class, StepNumberError):
        return error_class(message, next_step)
    if issubclass(error_class, RetryLaterError) and retry_after_s is not None:
        return error_class(message, retry_after_s)
    return error_class(message)


def _retry_info(code: grpc.StatusCode, message: str, retry_after_s: float) -> bytes:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(int(retry_after_s * 1e9))
    detail = any_pb2.Any()
    detail.Pack(info)
    number: int = code.value[0]
    data: bytes = status_pb2.Status(code=number, message=message, details=[detail]).SerializeToString()
    return data


def _retry_after(metadata: Mapping[str, Any]) -> float | None:
    data = metadata.get(_DETAILS_KEY)
    if not isinstance(data, bytes):
        return None
    try:
        for detail in status_pb2.Status.FromString(data).details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                return float(info.retry_delay.ToNanoseconds()) / 1e9
    except DecodeError:
        return None
    return None


def _shorten(message: str) -> str:
    data = message.encode()
    if len(data) <= _MESSAGE_LIMIT:
        return message
    half = _MESSAGE_LIMIT // 2
    return data[:half].decode(errors="ignore") + " ... " + data[-half:].decode(errors="ignore")
