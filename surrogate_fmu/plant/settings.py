"""How a plant that is an FMU is driven, as a configuration file states it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PlantSettings:
    """What of an FMU is the plant; a plant in Python knows all of it by itself.

    Attributes:
        communication_step_size: [s]; 0 takes the one of the FMU's default experiment.
        inputs, outputs: names of those that are modelled; empty takes all numeric ones.
        parameters: names of those that are modelled.
        values: of other variables, set before the run: parameters, and inputs that are held.
        seed: name of the parameter that takes the plant seed; empty looks for an integer parameter called so.
        timeout_s: of one run, after which it counts as hanging and is set aside; 0 waits for ever.
    """

    communication_step_size: float = 0.0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    seed: str = ""
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if self.communication_step_size < 0.0 or self.timeout_s < 0.0:
            raise ValueError(
                f"communication_step_size {self.communication_step_size:g} and timeout_s {self.timeout_s:g} cannot be negative"
            )
