"""How the FMU of a plant looks from outside, besides what is modelled: what a surrogate needs to look the same to a master."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from surrogate_fmu.variables import Variability, Variable, VariableType, element_names

OWN_NAMES = frozenset({"seed", "z_mode", "domain_policy", "device", "in_domain", "domain_distance", "z", "time"})
"""What surrogates call variables of their own, besides `<output>.<statistic>`."""


@dataclass(frozen=True)
class Alias:
    """Another name of a variable in FMI 3.0 (section 2.4.7.5 of 3.0.2)."""

    name: str
    of: str
    description: str = ""
    display_unit: str = ""


@dataclass(frozen=True)
class Text:
    """A parameter that is a text; the surrogate was recorded with the one that it starts with."""

    name: str
    start: str
    value_reference: int
    description: str = ""


@dataclass(frozen=True)
class FaceArray:
    """An array variable of FMI 3.0 (section 2.4.7.2 of 3.0.2), whose elements are variables of their own in all that is no FMU.

    Attributes:
        name: of the array.
        shape: sizes of its dimensions, each at least 1.
        value_reference: of the array.
    """

    name: str
    shape: tuple[int, ...]
    value_reference: int

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ValueError(
                f"the array {self.name!r} has the shape {self.shape}; expected at least one dimension, each at least 1"
            )

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Names of its elements, `name[1]` or `name[2,3]`, in row-major order, as FMI 3.0 puts values one behind the other."""
        return tuple(element_names(self.name, self.shape))


@dataclass(frozen=True)
class Face:
    """What an FMU has and the surrogate does not learn, as far as a system may be wired to it.

    Attributes:
        order: names of the variables that the surrogate has of the FMU, modelled or not, in the FMU's order.
        kept: parameters, inputs and constants that are not modelled, where they start.
        values: of those kept that were set to another value than their start; at any other one the surrogate is outside its domain.
        seed: the parameter that takes the seed of a run; the surrogate's own seed takes its place.
        free_reference: from here on value references are none of the FMU's, for as many as a surrogate may need.
        taken: names of the FMU's other variables that the surrogate would use for its own.
        time_name, time_reference: of FMI 3.0's independent variable; None where the FMU has none.
        aliases: other names of the variables.
        texts: parameters that are texts, kept like the others.
        flat_names: whether names are any texts, and not structured by dots and brackets (FMI 2.0.4, section 2.2.9).
        arrays: array variables, whose elements are modelled or kept; `order` has the elements.
    """

    order: tuple[str, ...]
    kept: tuple[Variable, ...] = ()
    seed: Variable | None = None
    free_reference: int = 0
    taken: tuple[str, ...] = ()
    time_name: str | None = None
    time_reference: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    aliases: tuple[Alias, ...] = ()
    texts: tuple[Text, ...] = ()
    flat_names: bool = False
    arrays: tuple[FaceArray, ...] = field(default=(), metadata={"omit_default": True})

    def __post_init__(self) -> None:
        strange = sorted(set(self.values).difference(variable.name for variable in self.kept))
        if strange:
            raise ValueError(f"values has {strange}, which are not kept")
        for variable in self.kept:
            if variable.start is None or variable.shape:
                raise ValueError(f"kept variable {variable.name!r}: expected a scalar with a start value")
        if self.seed is not None and (self.seed.type is not VariableType.INTEGER or self.seed.variability is Variability.CONSTANT):
            raise ValueError(f"the seed {self.seed.name!r} must be an integer parameter, got {self.seed.type}")

    def recorded(self, variable: Variable) -> float:
        """The value that a kept variable had when the plant was recorded."""
        return self.values.get(variable.name, float(variable.start or 0.0))
