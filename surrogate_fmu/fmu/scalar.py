"""One variable of an FMU, as the model description lists it."""

import math
import sys
from dataclasses import dataclass
from enum import Enum, StrEnum

from surrogate_fmu.variables import FMI3_RANGES, Causality, EnumerationItem, Initial, PlantUnit, Variability


class Kind(Enum):
    """Base type of a scalar (FMI 2.0.4, section 2.2.7); the value is the name of its XML element."""

    REAL = "Real"
    INTEGER = "Integer"
    BOOLEAN = "Boolean"
    STRING = "String"
    ENUMERATION = "Enumeration"


class Role(StrEnum):
    """What a scalar that is not in the manifest is for; the value is its name."""

    SEED = "seed"
    Z_MODE = "z_mode"
    DOMAIN_POLICY = "domain_policy"
    DEVICE = "device"
    IN_DOMAIN = "in_domain"
    DOMAIN_DISTANCE = "domain_distance"
    LATENT = "z"
    STATISTIC = "statistic"
    """Over the members of an ensemble; its name is `<output>.<statistic>`."""
    KEPT = "kept"
    """A variable of the plant that is not modelled; its name is the plant's."""


@dataclass(frozen=True)
class Scalar:
    """One variable of the FMU: a scalar, or with FMI 3.0 an array.

    Attributes:
        variable: name of the manifest's variable that it belongs to; None for the others.
        role: what it is for, where it is not in the manifest.
        start: of every element; None for outputs.
        shape: of an array; () for a scalar.
        relative: a difference, which the offset of its unit does not touch.
        offset: place of its first element in x, y or z, or among the statistics, each of which is as large as y, or those kept.
        items, type_name: of an enumeration of the plant.
        fmi3_type: in FMI 3.0, where it is not that of its kind.
        plant_unit: as in `Variable`.
        recorded: of one that is kept, the value at which the surrogate was recorded.
        elements: of an array whose elements are variables of their own, row-major; they say what the array does not.
        is_local: whether the model description calls it a local variable; it is read like the output that it else is.
    """

    name: str
    kind: Kind
    causality: Causality
    variability: Variability
    initial: Initial | None
    start: float | int | str | None = None
    description: str = ""
    unit: str | None = None
    display_unit: str | None = None
    min: float | int | None = None
    max: float | int | None = None
    nominal: float | None = None
    variable: str | None = None
    role: Role | None = None
    value_reference: int = -1
    shape: tuple[int, ...] = ()
    relative: bool = False
    offset: int = 0
    items: tuple[EnumerationItem, ...] = ()
    type_name: str | None = None
    fmi3_type: str | None = None
    plant_unit: PlantUnit | None = None
    recorded: float = 0.0
    elements: tuple["Scalar", ...] = ()
    is_local: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def parts(self) -> tuple["Scalar", ...]:
        """Its elements where they are variables of their own, else itself."""
        return self.elements or (self,)

    @property
    def starts(self) -> tuple[float | int | str, ...]:
        """The start value of every element; nothing for what is calculated."""
        if self.start is None:
            return ()
        return tuple(e.start for e in self.elements if e.start is not None) if self.elements else (self.start,) * self.size

    @property
    def described_causality(self) -> str:
        """FMI's word for it."""
        return "local" if self.is_local else self.causality.value


def number_limits(scalar: Scalar) -> tuple[float, float]:
    """The smallest and the largest value that a number may be set to; the largest floats where a real one has no bound."""
    low, high = -sys.float_info.max, sys.float_info.max
    if scalar.kind is Kind.BOOLEAN:
        return 0, 1
    if scalar.kind is Kind.ENUMERATION and scalar.items:
        low, high = min(item.value for item in scalar.items), max(item.value for item in scalar.items)
    elif scalar.kind is Kind.INTEGER and scalar.role is not Role.SEED:
        low, high = FMI3_RANGES[scalar.fmi3_type or "Int32"]
    return max(low, low if scalar.min is None else scalar.min), min(high, high if scalar.max is None else scalar.max)


def gapped_items(scalar: Scalar) -> tuple[int, ...]:
    """Rising values of an enumeration of the plant that leaves some out; nothing for others."""
    values = sorted(item.value for item in scalar.items)
    return tuple(values) if values and values != list(range(values[0], values[-1] + 1)) else ()
