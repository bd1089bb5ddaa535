"""Python values as messages of surrogate_fmu.v1 and back. Imports no torch: the client converts too."""

import math
from collections.abc import Container, Mapping, Sequence
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
Array = NDArray[Any]
E = TypeVar("E", bound=StrEnum)

ELEMENTS_MAX = 32  # more numbers go as bytes
_DATA_TYPES: Mapping[int, np.dtype[Any]] = {pb.DATA_TYPE_FLOAT32: np.dtype("<f4"), pb.DATA_TYPE_FLOAT64: np.dtype("<f8")}
_NUMBER_OF = {np.dtype(np.float32): pb.DATA_TYPE_FLOAT32, np.dtype(np.float64): pb.DATA_TYPE_FLOAT64}


class Batching(StrEnum):
    """How steps of several sessions may share one call of the generator."""

    REPRODUCIBLE = "reproducible"
    THROUGHPUT = "throughput"


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
BATCHINGS: Mapping[Batching, pb.Batching.ValueType] = {
    Batching.REPRODUCIBLE: pb.BATCHING_REPRODUCIBLE,
    Batching.THROUGHPUT: pb.BATCHING_THROUGHPUT,
}
_Z_MODE_OF = {number: mode for mode, number in Z_MODES.items()} | {pb.Z_MODE_UNSPECIFIED: ZMode.SAMPLED}
_DOMAIN_POLICY_OF = {number: policy for policy, number in DOMAIN_POLICIES.items()} | {
    pb.DOMAIN_POLICY_UNSPECIFIED: DomainPolicy.WARN
}
_BATCHING_OF = {number: batching for batching, number in BATCHINGS.items()} | {pb.BATCHING_UNSPECIFIED: Batching.REPRODUCIBLE}


@dataclass(frozen=True)
class Point:
    """A session at a communication point; attributes as in the message CommunicationPoint, outputs by name."""

    step_index: int
    time: float
    outputs: Mapping[str, Any]
    in_domain: bool
    domain_distance: float
    domain_message: str


# -- values by name ----------------------------------------------------------------------------------------------------


def values_to_proto(manifest: Manifest, values: Mapping[str, Value]) -> dict[str, pb.Value]:
    """Values by name.

    Raises:
        InputError: a value is no number or array of numbers. Shape and range are the server's to check.
    """
    messages = {}
    for name, value in values.items():
        if type(value) is float:  # every input at every step comes this way
            messages[name] = pb.Value(elements=(value,))
            continue
        if not isinstance(name, str):
            find_variable(manifest.variables, name)
        array = _to_array(value)
        if array is None:
            unit = find_variable(manifest.variables, name).unit
            raise InputError(f"{name!r}: expected a number in {unit!r}, got {value!r}")
        messages[name] = array_to_proto(array)
    return messages


def values_from_proto(manifest: Manifest, messages: Mapping[str, pb.Value]) -> dict[str, Any]:
    """Values by name: a float, or an array (shape). Numbers without a shape get that of the manifest where they fit it.

    Raises:
        InputError: the count of numbers is not the product of the shape.
    """
    values: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, message in messages.items():
        elements = message.elements
        if len(elements) == 1 and not message.shape:  # a scalar; an array variable refuses it by its shape
            values[name] = elements[0]
            continue
        if not shapes:
            shapes = {variable.name: variable.shape for variable in manifest.variables}
        values[name] = array_from_proto(name, message, shapes.get(name, ()))
    return values


def array_to_proto(array: Array) -> pb.Value:
    """An array of float32 or float64, a scalar where it has no axes."""
    if array.size <= ELEMENTS_MAX:
        return pb.Value(elements=array.ravel().tolist(), shape=array.shape)
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return pb.Value(data=little.tobytes(), data_type=_NUMBER_OF[array.dtype], shape=array.shape)


def array_from_proto(name: str, message: pb.Value, declared: tuple[int, ...]) -> Any:
    """The numbers of a message as a float, or as an array of float64.

    Args:
        name: for the error.
        message: in either form.
        declared: the shape that numbers without a shape have, where their count fits it.

    Raises:
        InputError: both forms at once, bytes of an unknown type or of a broken length, or a count that the shape does not have.
    """
    array = _numbers(name, message)
    shape = tuple(message.shape)
    if not shape:
        if array.size == math.prod(declared):
            return array.reshape(declared) if declared else float(array[0])
        return array
    if math.prod(shape) != array.size:
        raise InputError(f"{name!r}: the shape {shape} has {math.prod(shape)} elements, the message holds {array.size}; send all")
    return array.reshape(shape)


def latent_to_proto(z: Value) -> pb.Value:
    """The latent z (latent_dim,).

    Raises:
        InputError: it is no array of numbers.
    """
    array = _to_array(z)
    if array is None:
        raise InputError(f"z: expected an array of numbers (run latents, then step latents), got {z!r}")
    return array_to_proto(array)


def latent_from_proto(message: pb.Value, latent_dim: int) -> Any:
    """The latent z as an array; whether its shape is (latent_dim,) is the session's to check."""
    return array_from_proto("z", message, (latent_dim,))


# -- a communication point ---------------------------------------------------------------------------------------------


class OutputWriter:
    """Writes flat outputs (output_dim,) of one model into messages.

    Args:
        manifest: of the model.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._places: list[tuple[str, int, int, tuple[int, ...]]] = []
        position = 0
        for variable in manifest.outputs:
            self._places.append((variable.name, position, position + variable.size, variable.shape))
            position += variable.size

    def write(self, outputs: tuple[float, ...], target: Any) -> None:
        """Fill a map from names to values (a map field of a message) with the outputs of one point."""
        for name, start, stop, shape in self._places:
            if not shape:
                target[name].elements.append(outputs[start])
            else:
                target[name].CopyFrom(array_to_proto(np.array(outputs[start:stop], np.float32).reshape(shape)))

    def write_columns(self, outputs: Array, target: Any, names: Container[str] | None = None) -> None:
        """Fill a map with columns: outputs (..., output_dim) become values of the shape (..., shape of the variable).

        Args:
            outputs: of many points.
            target: the map field.
            names: of the outputs to write; None writes all.
        """
        for name, start, stop, shape in self._places:
            if names is not None and name not in names:
                continue
            column = outputs[..., start:stop].reshape(outputs.shape[:-1] + shape)
            target[name].CopyFrom(array_to_proto(np.ascontiguousarray(column)))


def point_from_proto(manifest: Manifest, message: pb.CommunicationPoint) -> Point:
    """The point of a message."""
    return Point(
        message.step_index,
        message.time,
        values_from_proto(manifest, message.outputs),
        message.in_domain,
        message.domain_distance,
        message.domain_message,
    )


def known_values_to_proto(values: Mapping[str, Any]) -> dict[str, pb.Value]:
    """Values that a session gave, by name."""
    return {name: array_to_proto(np.asarray(value, np.float64)) for name, value in values.items()}


def copy_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with arrays of their own, so that a caller may write into them."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}


# -- settings of a session ---------------------------------------------------------------------------------------------


def seed_to_proto(seed: int) -> int:
    """The seed, if it fits the message.

    Raises:
        InputError: it is no whole number from 0 to 2^63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= SEED_MAX:
        raise InputError(f"seed {seed!r} must be a whole number from 0 to {SEED_MAX}")
    return int(seed)


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


def batching_to_proto(batching: Batching | str) -> pb.Batching.ValueType:
    """Raises InputError for an unknown way."""
    return BATCHINGS[_member(Batching, "batching", batching)]


def batching_from_proto(number: int) -> Batching:
    """Unspecified is `reproducible`. Raises InputError for a number of a later version."""
    return _known(_BATCHING_OF, "batching", number)


# -- inside ------------------------------------------------------------------------------------------------------------


def _numbers(name: str, message: pb.Value) -> Array:
    if not message.data:
        return np.array(message.elements, dtype=np.float64)
    if message.elements:
        raise InputError(f"{name!r}: the message holds numbers both as elements and as bytes; send one of them")
    data_type = _DATA_TYPES.get(message.data_type)
    if data_type is None:
        raise InputError(f"{name!r}: the bytes have the type {message.data_type}, this server reads FLOAT32 (1) and FLOAT64 (2)")
    if len(message.data) % data_type.itemsize:
        raise InputError(f"{name!r}: {len(message.data)} bytes are no whole number of {data_type.name}; send all")
    return np.frombuffer(message.data, data_type).astype(np.float64)


def _to_array(value: object) -> NDArray[np.float64] | None:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _member(enum: type[E], name: str, value: E | str) -> E:
    try:
        return enum(value)
    except ValueError:
        raise InputError(f"{name} {value!r} is unknown; use one of {', '.join(repr(m.value) for m in enum)}") from None


def _known(members: Mapping[Any, E], name: str, number: int) -> E:
    if number not in members:
        raise InputError(f"{name} {number} is unknown to this server; it knows {', '.join(str(n) for n in sorted(members))}")
    return members[number]
