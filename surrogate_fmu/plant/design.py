"""What to excite and how: the design of inputs and parameters, as a configuration file states it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Excitation(StrEnum):
    """Families of input signals.

    The band of frequencies of `chirp`, `multisine` and `band-noise` follows from `hold_s`: half a wave lasts as long as a level.
    """

    CONSTANT = "constant"
    STEPS = "steps"
    RAMPS = "ramps"
    PULSES = "pulses"
    NOISE = "noise"
    RESTS = "rests"
    DECAYS = "decays"
    CHIRP = "chirp"
    MULTISINE = "multisine"
    BAND_NOISE = "band-noise"
    PROFILE = "profile"


@dataclass(frozen=True)
class ProfileFile:
    """Where the recorded signal of an input is.

    Attributes:
        file: CSV (.csv), Parquet (.parquet) or MDF (.mf4, .mdf, .dat), seen from the configuration's folder.
        column: the signal; empty takes the input's name.
        time: the column of times [s]; empty takes `time`. A channel of an MDF has its times by itself.
    """

    file: str
    column: str = ""
    time: str = ""


class Sampling(StrEnum):
    """How levels, spans and parameters fill their ranges over the schedules."""

    SOBOL = "sobol"
    LATIN_HYPERCUBE = "latin-hypercube"


@dataclass(frozen=True)
class InputDesign:
    """How one input is excited.

    Attributes:
        min, max: the range of levels, in the input's unit.
        excitations: the families, taken in turn over the schedules.
        hold_s: shortest and longest time [s] that a level, ramp, pulse, decay or half a wave lasts.
        includes_zero: whether rests and pulses fall back to 0 (else to a base level of the schedule).
        profile: the recorded signal that the family `profile` takes pieces of.
    """

    min: float
    max: float
    excitations: tuple[Excitation, ...]
    hold_s: tuple[float, float]
    includes_zero: bool = False
    profile: ProfileFile | None = None

    def __post_init__(self) -> None:
        _check_ends(self.min, self.max)
        if not 0 < self.hold_s[0] <= self.hold_s[1] < math.inf:
            raise ValueError(f"hold_s {list(self.hold_s)} must be two ascending times above 0")
        if not self.excitations:
            raise ValueError("excitations is empty; name at least one")
        if Excitation.PROFILE in self.excitations and self.profile is None:
            raise ValueError('excitations has "profile", and no file is named; add profile = { file = "recorded.csv" }')
        if Excitation.PROFILE not in self.excitations and self.profile is not None:
            raise ValueError('profile names a file that nothing uses; add "profile" to excitations, or leave profile out')


@dataclass(frozen=True)
class Range:
    """An interval to draw from."""

    min: float
    max: float

    def __post_init__(self) -> None:
        _check_ends(self.min, self.max)


@dataclass(frozen=True)
class Budget:
    """Bounds on `parameter + gain * integral of input`, kept by limiting the input.

    At every moment the input must be sustainable for `reserve_s` more seconds, so it tapers towards a bound.
    """

    input: str
    parameter: str
    gain: float
    min: float
    max: float
    reserve_s: float

    def __post_init__(self) -> None:
        if self.gain == 0.0 or not math.isfinite(self.gain):
            raise ValueError(f"gain is {self.gain:g}; give the change of the quantity per unit of the input and second")
        if not 0.0 < self.reserve_s < math.inf:
            raise ValueError(f"reserve_s {self.reserve_s:g} must be above 0 seconds")
        _check_ends(self.min, self.max)


@dataclass(frozen=True)
class Design:
    """The joint design of all inputs and parameters.

    Attributes:
        inputs: how each is excited.
        parameters: ranges that they are drawn from; others keep their start values.
        budgets: bounds on integrals of inputs.
        held: inputs that keep one value in all runs; the surrogate has them, and knows them at that value only.
        sampling: how levels and parameters of the schedules are drawn together.
    """

    inputs: Mapping[str, InputDesign]
    parameters: Mapping[str, Range] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    held: Mapping[str, float] = field(default_factory=dict)
    sampling: Sampling = Sampling.SOBOL

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs is empty; name at least one input to excite")
        for name, value in self.held.items():
            if not math.isfinite(value):
                raise ValueError(f"held has {value:g} for {name!r}; give the value that it keeps")
        both = sorted(set(self.inputs) & set(self.held))
        if both:
            raise ValueError(f"{', '.join(both)} cannot be excited and held; leave it out of inputs or of held")


def _check_ends(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"min {low:g} and max {high:g} must be finite numbers")
    if low >= high:
        raise ValueError(f"min {low:g} is not below max {high:g}")
