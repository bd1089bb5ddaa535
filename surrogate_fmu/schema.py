"""Frozen dataclasses from plain data (TOML, JSON), strictly: an unknown key, a missing key or a wrong type is refused by name.

The manifest is read where nothing but numpy and torch is installed, so this stands in for a validation library; it
knows what the package's own classes need: scalars, enums, tuples, string-keyed mappings, optional values, dataclasses.
"""

import dataclasses
import difflib
import enum
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class SchemaError(ValueError):
    """Data that does not fit a class; `path` names the place as keys and indices."""

    def __init__(self, path: tuple[str | int, ...], problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{format_path(path)}: {problem}" if path else problem)


def format_path(path: tuple[str | int, ...]) -> str:
    """`("recording", "inputs", 0, "min")` as `recording.inputs[0].min`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def decode(cls: type[T], data: object, path: tuple[str | int, ...] = ()) -> T:
    """Build the dataclass `cls` from a mapping.

    Raises:
        SchemaError: a key is unknown or missing, a value has the wrong type, or the class refuses the values.
    """
    if not isinstance(data, Mapping):
        raise SchemaError(path, f"expected a table of {cls.__name__}, got {data!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls)) if f.init}
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(fields)}"
            raise SchemaError((*path, key), f"unknown key{hint}")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _decode_value(hints[name], data[name], (*path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SchemaError(path, f"the key {name!r} is missing")
    try:
        return cls(**values)
    except SchemaError:
        raise
    except ValueError as error:
        raise SchemaError(path, str(error)) from error


def encode(value: object) -> Any:
    """The plain data of a dataclass, the inverse of `decode`; values of None are left out.

    So are defaults of fields with the metadata `omit_default`, which came later than the files that there are.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.init]
        items = {f.name: getattr(value, f.name) for f in fields if not _is_omitted(f, getattr(value, f.name))}
        return {name: encode(item) for name, item in items.items() if item is not None}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def _is_omitted(field: dataclasses.Field[Any], item: object) -> bool:
    return bool(field.metadata.get("omit_default")) and item == field.default


def _decode_value(hint: Any, value: object, path: tuple[str | int, ...]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _decode_one_of([argument for argument in arguments if argument is not type(None)], value, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SchemaError(path, f"expected a list, got {value!r}")
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        if not variadic and len(value) != len(arguments):
            raise SchemaError(path, f"expected a list of {len(arguments)}, got {len(value)}: {value!r}")
        inner_hints = [arguments[0]] * len(value) if variadic else arguments
        return tuple(_decode_value(h, v, (*path, i)) for i, (h, v) in enumerate(zip(inner_hints, value, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise SchemaError(path, f"expected a table, got {value!r}")
        return {str(key): _decode_value(arguments[1], item, (*path, str(key))) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type, hint), value, path)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            raise SchemaError(path, f"expected one of {', '.join(repr(m.value) for m in hint)}, got {value!r}") from None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise SchemaError(path, f"expected a finite number, got {number}")
        return number
    if isinstance(value, bool) != (hint is bool) or not isinstance(value, hint):
        raise SchemaError(path, f"expected {hint.__name__}, got {value!r}")
    return value


def _decode_one_of(hints: list[Any], value: object, path: tuple[str | int, ...]) -> Any:
    """By the first of the hints that the value fits; where none does, what the one that got farthest says."""
    refusals = []
    for hint in hints:
        try:
            return _decode_value(hint, value, path)
        except SchemaError as refusal:
            refusals.append(refusal)
    farthest = max(len(refusal.path) for refusal in refusals)
    nearest = [refusal for refusal in refusals if len(refusal.path) == farthest]
    raise SchemaError(nearest[0].path, ", or ".join(refusal.problem for refusal in nearest))
