"""Python values as messages of surrogate_fmu.v1 and back. Imports no torch: the client converts too."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import InputError
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.runtime.latent import SEED_MAX
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.variables import find_variable

Value = float | Sequence[float] | NDArray[Any]
E = TypeVar("E", bound=StrEnum)

Z_MODES: Mapping[ZMode, pb.ZMode.ValueType] = {
    ZMode.SAMPLED: pb.Z_MODE_SAMPLED,
    ZMode.MEAN: pb.Z_MODE_MEAN,
    ZMode.HELD: pb.Z_MODE_HELD,
    ZMode.EXTERNAL: pb.Z_MODE_EXTERNAL,
}
DOMAIN_POLICIES: Mapping[DomainPolicy, pb.DomainPolicy.ValueType] = {
    DomainPolicy.WARN: pb.DOMAIN_POLICY_WARN,
    DomainPolicy.CLAMP: pb.DOMAIN_POLICY_CLAMP,
    DomainPolicy.REFUSE: pb.DOMAIN_POLICY_REFUSE,
}
_Z_MODE_OF = {number: mode for mode, number in Z_MODES.items()} | {pb.Z_MODE_UNSPECIFIED: ZMode.SAMPLED}
_DOMAIN_POLICY_OF = {number: policy for policy, number in DOMAIN_POLICIES.items()} | {
    pb.DOMAIN_POLICY_UNSPECIFIED: DomainPolicy.WARN
}


@dataclass(frozen=True)
class Point:
    """A session at a communication point; attributes as in the message CommunicationPoint, outputs by name."""

    running: bool
    step_index: int
    time: float
    outputs: Mapping[str, Any]
    in_domain: bool
    domain_distance: float
    domain_message: str


def values_to_proto(manifest: Manifest, values: Mapping[str, Value]) -> dict[str, pb.Value]:
    """Values by name.

    Raises:
        InputError: a value is no number or array of numbers. Shape and range are the server's to check.
    """
    messages = {}
    for name, value in values.items():
        if not isinstance(name, str):
            find_variable(manifest.variables, name)
        array = _to_array(value)
        if array is None:
            unit = find_variable(manifest.variables, name).unit
            raise InputError(f"{name!r}: expected a number in {unit!r}, got {value!r}")
        messages[name] = _array_to_proto(array)
    return messages


def values_from_proto(manifest: Manifest, messages: Mapping[str, pb.Value]) -> dict[str, Any]:
    """Values by name: a float, or an array (shape). Elements without a shape get that of the manifest where they fit it.

    Raises:
        InputError: the number of elements is not the product of the shape.
    """
    shapes = {variable.name: variable.shape for variable in manifest.variables}
    return {name: _value_from_proto(name, message, shapes.get(name, ())) for name, message in messages.items()}


def latent_to_proto(z: Value) -> pb.Value:
    """The latent z (latent_dim,).

    Raises:
        InputError: it is no array of numbers.
    """
    array = _to_array(z)
    if array is None:
        raise InputError(f"z: expected an array of numbers (run latents, then step latents), got {z!r}")
    return _array_to_proto(array)


def latent_from_proto(message: pb.Value, latent_dim: int) -> Any:
    """The latent z as an array; whether its shape is (latent_dim,) is the session's to check."""
    return _value_from_proto("z", message, (latent_dim,))


def seed_to_proto(seed: int) -> int:
    """The seed, if it fits the message.

    Raises:
        InputError: it is no whole number from 0 to 2^63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= SEED_MAX:
        raise InputError(f"seed {seed!r} must be a whole number from 0 to {SEED_MAX}")
    return seed


def z_mode_to_proto(z_mode: ZMode | str) -> pb.ZMode.ValueType:
    """Raises InputError for an unknown mode."""
    return Z_MODES[_member(ZMode, "z_mode", z_mode)]


def z_mode_from_proto(number: int) -> ZMode:
    """Unspecified is `sampled`. Raises InputError for a number of a later version."""
    return _known(_Z_MODE_OF, "z_mode", number)


def domain_policy_to_proto(policy: DomainPolicy | str) -> pb.DomainPolicy.ValueType:
    """Raises InputError for an unknown policy."""
    return DOMAIN_POLICIES[_member(DomainPolicy, "domain_policy", policy)]


def domain_policy_from_proto(number: int) -> DomainPolicy:
    """Unspecified is `warn`. Raises InputError for a number of a later version."""
    return _known(_DOMAIN_POLICY_OF, "domain_policy", number)


def point_to_proto(point: Point) -> pb.CommunicationPoint:
    """The message of a point."""
    return pb.CommunicationPoint(
        state=pb.SESSION_STATE_RUNNING if point.running else pb.SESSION_STATE_INSTANTIATED,
        step_index=point.step_index,
        time=point.time,
        outputs=known_values_to_proto(point.outputs),
        in_domain=point.in_domain,
        domain_distance=point.domain_distance,
        domain_message=point.domain_message,
    )


def point_from_proto(manifest: Manifest, message: pb.CommunicationPoint) -> Point:
    """The point of a message."""
    return Point(
        message.state == pb.SESSION_STATE_RUNNING,
        message.step_index,
        message.time,
        values_from_proto(manifest, message.outputs),
        message.in_domain,
        message.domain_distance,
        message.domain_message,
    )


def known_values_to_proto(values: Mapping[str, Any]) -> dict[str, pb.Value]:
    """Values that a session gave, by name."""
    return {name: _array_to_proto(np.asarray(value)) for name, value in values.items()}


def copy_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with arrays of their own, so that a caller may write into them."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def _to_array(value: object) -> NDArray[np.float64] | None:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _array_to_proto(array: NDArray[np.float64]) -> pb.Value:
    return pb.Value(elements=array.ravel().tolist(), shape=array.shape)


def _value_from_proto(name: str, message: pb.Value, declared: tuple[int, ...]) -> Any:
    if not message.shape and len(message.elements) == 1 and declared == ():
        return message.elements[0]
    array = np.array(message.elements, dtype=np.float64)
    shape = tuple(message.shape)
    if not shape:
        return array.reshape(declared) if array.size == math.prod(declared) else array
    if math.prod(shape) != array.size:
        raise InputError(f"{name!r}: the shape {shape} has {math.prod(shape)} elements, the message holds {array.size}; send all")
    return array.reshape(shape)


def _member(enum: type[E], name: str, value: E | str) -> E:
    try:
        return enum(value)
    except ValueError:
        raise InputError(f"{name} {value!r} is unknown; use one of {', '.join(repr(m.value) for m in enum)}") from None


def _known(members: Mapping[Any, E], name: str, number: int) -> E:
    if number not in members:
        raise InputError(f"{name} {number} is unknown to this server; it knows {', '.join(str(n) for n in sorted(members))}")
    return members[number]
