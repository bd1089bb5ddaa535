"""Errors as gRPC statuses and back: the client raises the class that the server raised, with its message.

Several classes share a status code, so the class travels by name in the trailing metadata. A status without that name
came from gRPC itself (no connection, no answer in time, a message too large) and becomes a `ServiceError`.
"""

from collections.abc import Mapping
from typing import Any

import grpc

from surrogate_fmu.errors import (
    BuildError,
    BundleError,
    CallOrderError,
    ConfigError,
    DatasetError,
    DeviceError,
    DomainError,
    InputError,
    LoweringError,
    NotServedError,
    PlantError,
    ServiceError,
    ServiceFullError,
    SessionError,
    SnapshotError,
    StepSizeError,
    SurrogateError,
    TrainingError,
    VerdictError,
)

ERROR_KEY = "surrogate-fmu-error"
_MESSAGE_LIMIT = 1500  # bytes; percent-encoding may triple them, and gRPC drops a status whose headers exceed 8 KiB


CODES: Mapping[type[SurrogateError], grpc.StatusCode] = {
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    StepSizeError: grpc.StatusCode.INVALID_ARGUMENT,
    SnapshotError: grpc.StatusCode.INVALID_ARGUMENT,
    ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    DomainError: grpc.StatusCode.OUT_OF_RANGE,
    CallOrderError: grpc.StatusCode.FAILED_PRECONDITION,
    NotServedError: grpc.StatusCode.NOT_FOUND,
    ServiceFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ServiceError: grpc.StatusCode.UNAVAILABLE,
    DeviceError: grpc.StatusCode.INTERNAL,
    SessionError: grpc.StatusCode.INTERNAL,
    BundleError: grpc.StatusCode.INTERNAL,
    DatasetError: grpc.StatusCode.INTERNAL,
    PlantError: grpc.StatusCode.INTERNAL,
    TrainingError: grpc.StatusCode.INTERNAL,
    BuildError: grpc.StatusCode.INTERNAL,
    LoweringError: grpc.StatusCode.INTERNAL,
    VerdictError: grpc.StatusCode.INTERNAL,
    SurrogateError: grpc.StatusCode.INTERNAL,
}
_CLASSES = {kind.__name__: kind for kind in CODES}


def status_of(error: SurrogateError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Code, message and trailing metadata; a class that is not in the map travels as its nearest base."""
    kind = next(kind for kind in type(error).__mro__ if kind in CODES)
    return CODES[kind], _shorten(str(error)), ((ERROR_KEY, kind.__name__),)


def error_of(status: grpc.RpcError, target: str) -> SurrogateError:
    """The error behind a failed call to the service at `target`."""
    code, details = status.code(), status.details() or ""
    metadata: Any = status.trailing_metadata() or ()  # pairs of text; the stubs of grpc say otherwise
    kind = dict(metadata).get(ERROR_KEY)
    if kind in _CLASSES:
        return _CLASSES[kind](details)
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServiceError(f"the service at {target} cannot be reached ({details}); is `surrogate-fmu serve` running there?")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServiceError(f"the service at {target} did not answer in time; is it running? connect with a longer timeout_s")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ServiceError(f"what answers at {target} does not offer surrogate_fmu.v1 ({details}); check the address")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ServiceError(f"a message was too large for {target} ({details}); raise message_limit_bytes on both sides")
    return ServiceError(f"the service at {target} failed with {code.name}: {details}")


def _shorten(message: str) -> str:
    data = message.encode()
    if len(data) <= _MESSAGE_LIMIT:
        return message
    half = _MESSAGE_LIMIT // 2
    return data[:half].decode(errors="ignore") + " ... " + data[-half:].decode(errors="ignore")
