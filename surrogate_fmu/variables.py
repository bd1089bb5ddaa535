"""Variables of a plant or a surrogate, in FMI's words (FMI 2.0.4 section 2.2.7; FMI 3.0 section 2.4.7)."""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from surrogate_fmu.errors import InputError
from surrogate_fmu.units import parse_unit


class Causality(StrEnum):
    """Who gives the value: the environment at every step, the environment once, or the model."""

    INPUT = "input"
    PARAMETER = "parameter"
    OUTPUT = "output"


class Variability(StrEnum):
    """When the value may change."""

    CONSTANT = "constant"
    FIXED = "fixed"
    TUNABLE = "tunable"
    DISCRETE = "discrete"
    CONTINUOUS = "continuous"


class VariableType(StrEnum):
    """What values the variable has in an FMU; inside all are floats, and those of outputs are rounded where a master reads them."""

    REAL = "real"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUMERATION = "enumeration"


class Initial(StrEnum):
    """How the value at the start comes about."""

    EXACT = "exact"
    APPROX = "approx"
    CALCULATED = "calculated"


_DEFAULT_VARIABILITY = {
    Causality.INPUT: Variability.CONTINUOUS,
    Causality.PARAMETER: Variability.FIXED,
    Causality.OUTPUT: Variability.CONTINUOUS,
}

# The types of FMI 3.0 for whole numbers with their ranges, and the type that each stands for (FMI 3.0.2, section 2.4.7.1).
FMI3_RANGES: Mapping[str, tuple[int, int]] = {
    **{f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
FMI3_TYPES: Mapping[str, VariableType] = {
    "Float32": VariableType.REAL,
    "Float64": VariableType.REAL,
    **dict.fromkeys(FMI3_RANGES, VariableType.INTEGER),
}
_OMITTED = {"omit_default": True}  # left out of files, so that those from before are as they were


@dataclass(frozen=True)
class EnumerationItem:
    """One value of an enumeration."""

    name: str
    value: int
    description: str = field(default="", metadata=_OMITTED)


@dataclass(frozen=True)
class PlantUnit:
    """A unit as an FMU names it, where this package does not read that name or means another unit by it.

    Attributes:
        name: of the unit; empty where the FMU says none.
        exponents: of the SI base units, in the order of `units.BASE_UNITS`; None where the FMU does not say.
        factor, offset: value in SI units = factor * value + offset.
        display_name: of the display unit; empty where there is none.
        display_factor, display_offset: value in the display unit = display_factor * value + display_offset.
    """

    name: str
    exponents: tuple[int, ...] | None = None
    factor: float = field(default=1.0, metadata=_OMITTED)
    offset: float = field(default=0.0, metadata=_OMITTED)
    display_name: str = field(default="", metadata=_OMITTED)
    display_factor: float = field(default=1.0, metadata=_OMITTED)
    display_offset: float = field(default=0.0, metadata=_OMITTED)


@dataclass(frozen=True)
class Variable:
    """One quantity with its name, unit and range.

    Attributes:
        start: value before anything is set, in `unit`; inputs and parameters need one, outputs have none, but constant ones.
        min, max: the physical range, in `unit`; None where there is no bound.
        nominal: the order of magnitude, in `unit`.
        shape: () for a scalar, else the array shape.
        value_reference: the FMI value reference; None lets the model description number it.
        type: what values it has in an FMU; one that is not real has the unit "1".
        items: of an enumeration, in its order.
        type_name: of an enumeration; None names it after the variable.
        fmi3_type: in FMI 3.0, a key of `FMI3_TYPES`; None is Float64 or Int32.
        plant_unit: how the FMU that it stands for writes its unit, where `unit` cannot say it.
        relative: a difference, which the offset of its display unit does not touch (FMI's relativeQuantity).
    """

    name: str
    causality: Causality
    unit: str = "1"
    description: str = ""
    start: float | None = None
    min: float | None = None
    max: float | None = None
    nominal: float | None = None
    display_unit: str | None = None
    variability: Variability | None = None
    shape: tuple[int, ...] = ()
    value_reference: int | None = None
    type: VariableType = field(default=VariableType.REAL, metadata=_OMITTED)
    items: tuple[EnumerationItem, ...] = field(default=(), metadata=_OMITTED)
    type_name: str | None = None
    fmi3_type: str | None = None
    plant_unit: PlantUnit | None = None
    relative: bool = field(default=False, metadata=_OMITTED)

    def __post_init__(self) -> None:
        if self.variability is None:
            discrete = self.type is not VariableType.REAL and self.causality is not Causality.PARAMETER
            variability = Variability.DISCRETE if discrete else _DEFAULT_VARIABILITY[self.causality]
            object.__setattr__(self, "variability", variability)
        parse_unit(self.unit)
        if self.display_unit is not None and (parse_unit(self.display_unit).exponents != parse_unit(self.unit).exponents):
            raise ValueError(f"variable {self.name!r}: display unit {self.display_unit!r} does not measure what {self.unit!r} does")
        if self.causality is Causality.OUTPUT and self.variability is not Variability.CONSTANT:
            if self.start is not None:
                raise ValueError(f"variable {self.name!r}: an output is calculated and has no start value; leave it out")
        elif self.start is None or not math.isfinite(self.start):
            raise ValueError(f"variable {self.name!r}: an {self.causality} needs a finite start value, got {self.start}")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"variable {self.name!r}: min {self.min:g} is not below max {self.max:g}")
        self._check_type()

    def _check_type(self) -> None:
        if self.fmi3_type is not None and FMI3_TYPES.get(self.fmi3_type) is not self.type:
            fitting = [name for name, kind in FMI3_TYPES.items() if kind is self.type]
            raise ValueError(
                f"variable {self.name!r}: {self.fmi3_type!r} is no FMI 3.0 type of a variable of the type {self.type}; "
                + (f"use one of {', '.join(fitting)}" if fitting else "leave fmi3_type out")
            )
        if (self.type is VariableType.ENUMERATION) != bool(self.items):
            raise ValueError(
                f"variable {self.name!r}: an enumeration needs items, and no other type has any; its type is {self.type}"
            )
        if self.type is VariableType.REAL:
            return
        for what in ({item.name for item in self.items}, {item.value for item in self.items}):
            if len(what) != len(self.items):
                raise ValueError(f"variable {self.name!r}: names and values of enumeration items must differ")
        if self.unit != "1" or self.variability is Variability.CONTINUOUS:
            raise ValueError(
                f"variable {self.name!r}: a variable of the type {self.type} has no unit and is not continuous, got "
                f"{self.unit!r} and {self.variability}; use the type real, or leave both out"
            )
        allowed = {VariableType.BOOLEAN: {0.0, 1.0}, VariableType.ENUMERATION: {float(item.value) for item in self.items}}
        if self.start is not None and self.start not in allowed.get(self.type, {math.floor(self.start)}):
            raise ValueError(f"variable {self.name!r}: the start value {self.start:g} is no value of its type {self.type}")

    @property
    def initial(self) -> Initial | None:
        """FMI's `initial`: exact for parameters and constants, calculated for outputs, absent for inputs."""
        if self.variability is Variability.CONSTANT:
            return Initial.EXACT
        return {Causality.PARAMETER: Initial.EXACT, Causality.OUTPUT: Initial.CALCULATED}.get(self.causality)

    @property
    def is_settable_in_run(self) -> bool:
        """Whether it can be set between steps: inputs, and parameters that are tunable."""
        tunable = self.causality is Causality.PARAMETER and self.variability is Variability.TUNABLE
        return tunable or self.causality is Causality.INPUT

    @property
    def size(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value that its type and `min`, `max` allow; infinite where a real one has no bound."""
        low, high = -math.inf, math.inf
        if self.type is VariableType.BOOLEAN:
            return 0.0, 1.0
        if self.type is VariableType.INTEGER:
            low, high = FMI3_RANGES[self.fmi3_type or "Int32"]
        elif self.type is VariableType.ENUMERATION:
            values = [item.value for item in self.items]
            low, high = min(values), max(values)
        return max(low, low if self.min is None else self.min), min(high, high if self.max is None else self.max)

    def nearest(self, value: float) -> float:
        """The value of its type that is nearest, the upper one of two; a real variable takes every value as it is."""
        if self.type is VariableType.REAL:
            return value
        low, high = self.limits
        if self.type is VariableType.ENUMERATION:
            allowed = [item.value for item in self.items if low <= item.value <= high]
            return float(min(allowed, key=lambda item: (abs(item - value), -item)))
        return float(math.floor(min(max(value, low), high) + 0.5))


def with_causality(variables: Iterable[Variable], *causalities: Causality) -> tuple[Variable, ...]:
    """The variables of these causalities, in their order."""
    return tuple(variable for variable in variables if variable.causality in causalities)


def settable_parameters(variables: Iterable[Variable]) -> tuple[Variable, ...]:
    """The parameters that are tunable, in their order."""
    return tuple(variable for variable in with_causality(variables, Causality.PARAMETER) if variable.is_settable_in_run)


def find_variable(variables: Sequence[Variable], name: str) -> Variable:
    """The variable of that name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    for variable in variables:
        if variable.name == name:
            return variable
    raise InputError(f"no variable is called {name!r}; there are {', '.join(repr(v.name) for v in variables)}")


def scalar_names(variable: Variable) -> list[str]:
    """Names of the scalars of a variable: its own, or `name[i,j]` counted from 1 as FMI 2 does."""
    return [variable.name] if not variable.shape else element_names(variable.name, variable.shape)


_INDEX = re.compile(r"\[[\d,]+\]$")


def base_name(name: str) -> str:
    """`T` of `T[1]`: the name of the array that an element is of by its name; the name itself where it has no index."""
    return _INDEX.sub("", name)


def element_names(name: str, shape: Sequence[int]) -> list[str]:
    """Names of the elements of an array, `name[i,j]` counted from 1, in row-major order."""
    indices = itertools.product(*(range(1, size + 1) for size in shape))
    return [f"{name}[{','.join(map(str, index))}]" for index in indices]
