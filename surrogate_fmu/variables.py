"""Variables of a plant or a surrogate, in FMI's words (FMI 2.0.4 section 2.2.7; FMI 3.0 section 2.4.7)."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Variable:
    """One quantity with its name, unit and range.

    Attributes:
        start: value before anything is set, in `unit`; inputs and parameters need one, outputs have none.
        min, max: the physical range, in `unit`; None where there is no bound.
        nominal: the order of magnitude, in `unit`.
        shape: () for a scalar, else the array shape.
        value_reference: the FMI value reference; None lets the model description number it.
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

    def __post_init__(self) -> None:
        if self.variability is None:
            object.__setattr__(self, "variability", _DEFAULT_VARIABILITY[self.causality])
        parse_unit(self.unit)
        if self.display_unit is not None and (parse_unit(self.display_unit).exponents != parse_unit(self.unit).exponents):
            raise ValueError(f"variable {self.name!r}: display unit {self.display_unit!r} does not measure what {self.unit!r} does")
        if self.causality is Causality.OUTPUT:
            if self.start is not None:
                raise ValueError(f"variable {self.name!r}: an output is calculated and has no start value; leave it out")
        elif self.start is None or not math.isfinite(self.start):
            raise ValueError(f"variable {self.name!r}: an {self.causality} needs a finite start value, got {self.start}")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"variable {self.name!r}: min {self.min:g} is not below max {self.max:g}")

    @property
    def initial(self) -> Initial | None:
        """FMI's `initial`: exact for parameters, calculated for outputs, absent for inputs."""
        return {Causality.PARAMETER: Initial.EXACT, Causality.OUTPUT: Initial.CALCULATED}.get(self.causality)

    @property
    def size(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)


def with_causality(variables: Iterable[Variable], *causalities: Causality) -> tuple[Variable, ...]:
    """The variables of these causalities, in their order."""
    return tuple(variable for variable in variables if variable.causality in causalities)


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
    if not variable.shape:
        return [variable.name]
    indices = itertools.product(*(range(1, size + 1) for size in variable.shape))
    return [f"{variable.name}[{','.join(map(str, index))}]" for index in indices]
