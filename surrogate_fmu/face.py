"""How the FMU of a plant looks from outside, besides what is modelled: what a surrogate needs to look the same to a master."""

from dataclasses import dataclass

from surrogate_fmu.variables import Variability, Variable, VariableType


@dataclass(frozen=True)
class Face:
    """What an FMU has and the surrogate does not learn, as far as a system may be wired to it.

    Attributes:
        order: names of the variables that the surrogate has of the FMU, modelled or not, in the FMU's order.
        kept: parameters, inputs and constants that are not modelled: at their start value the surrogate is what was recorded,
            at any other one it is outside its domain.
        seed: the parameter that takes the seed of a run; the surrogate's own seed takes its place.
        free_reference: from here on value references are none of the FMU's, for as many as a surrogate may need.
        taken: names of the FMU's other variables that the surrogate may not use for its own.
        time_name, time_reference: of FMI 3.0's independent variable; None where the FMU has none.
    """

    order: tuple[str, ...]
    kept: tuple[Variable, ...] = ()
    seed: Variable | None = None
    free_reference: int = 0
    taken: tuple[str, ...] = ()
    time_name: str | None = None
    time_reference: int | None = None

    def __post_init__(self) -> None:
        for variable in self.kept:
            if variable.start is None or variable.shape:
                raise ValueError(f"kept variable {variable.name!r}: expected a scalar with a start value")
        if self.seed is not None and (self.seed.type is not VariableType.INTEGER or self.seed.variability is Variability.CONSTANT):
            raise ValueError(f"the seed {self.seed.name!r} must be an integer parameter, got {self.seed.type}")
