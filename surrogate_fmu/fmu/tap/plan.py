"""What a tap does: as the user says it, and as it lies in the FMU."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from surrogate_fmu.variables import Variable

PLAN_FILE, PLANT_FOLDER, SURROGATE_FOLDER = "tap.json", "plant", "surrogate"
"""In the resources of the FMU."""
LOG_VARIABLE = "SURROGATE_FMU_TAP_LOG"
"""Environment variable of the host that names another log folder."""


class Mode(StrEnum):
    """Who runs and who leads."""

    RECORD = "record"
    """The plant runs; what passes is recorded."""
    SHADOW = "shadow"
    """The plant leads, the surrogate runs beside it."""
    GUARDED = "guarded"
    """The surrogate leads; where it cannot be trusted the plant does."""


@dataclass(frozen=True)
class TapConfig:
    """Options of a tap.

    Attributes:
        mode: who runs and who leads.
        log: folder of the logs; relative to the working directory of the master.
        inside: steps in a row inside the domain after which the surrogate leads again.
        spread: by output of an ensemble surrogate, the standard deviation over members above which it is not trusted, in its unit.
        agree: by output, how far the surrogate may be from the plant to lead again, in its unit.

    Raises:
        ValueError: a number makes no sense, or is for another mode.
    """

    mode: Mode = Mode.RECORD
    log: str = "tap-log"
    inside: int = 5
    spread: Mapping[str, float] = field(default_factory=dict)
    agree: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.log:
            raise ValueError("the log folder has no name; name one, or leave it out for tap-log")
        if self.inside < 1:
            raise ValueError(f"inside is {self.inside} steps; the surrogate leads again after at least 1")
        for option, limits in (("spread", self.spread), ("agree", self.agree)):
            for name, limit in limits.items():
                if not (math.isfinite(limit) and limit > 0.0):
                    raise ValueError(f"{option} of {name!r} is {limit:g}; it must be above 0, in the unit of {name!r}")
            if limits and self.mode is not Mode.GUARDED:
                raise ValueError(f"{option} is for mode guarded, and the mode is {self.mode}; leave it out, or choose mode guarded")


@dataclass(frozen=True)
class TapPlan:
    """What the FMU carries as `resources/tap.json`.

    Attributes:
        plant: name of its file.
        config: what the user chose.
        variables: numeric scalars and elements of arrays of the plant that are logged: inputs, parameters, outputs, in its order.
        seed: name of the parameter that takes the plant's seed; empty where there is none.
        surrogate: name of its file; empty without one.
    """

    plant: str
    config: TapConfig
    variables: tuple[Variable, ...]
    seed: str = ""
    surrogate: str = ""
