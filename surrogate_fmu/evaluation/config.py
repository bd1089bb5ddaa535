"""What a surrogate must show before it may take the plant's place: the gates and how they are measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType


class Verdict(StrEnum):
    """What may be done with the artefact."""

    REPLACE = "replace"
    """It may take the plant's place."""
    ASSIST = "assist"
    """It may screen, warm-start or extend plant runs, with the plant confirming."""
    REJECT = "reject"
    """It may not be used for what was tested."""


class Metric(StrEnum):
    """What is measured; each has one gate, the balances bring their own."""

    CRPS = "crps"
    CRPS_SCHEDULE = "crps_schedule"
    ENERGY = "energy"
    SPREAD_SKILL = "spread_skill"
    SPREAD = "spread"
    BIAS = "bias"
    TAILS = "tails"
    RANKS = "ranks"
    PERSISTENCE = "persistence"
    BALANCE = "balance"
    ERROR = "error"
    ERROR_SCHEDULE = "error_schedule"
    DIVERGENCE = "divergence"


@dataclass(frozen=True)
class Band:
    """Where a value may lie, ends included; None is no bound."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")

    def holds(self, value: float) -> bool:
        """Whether the value lies in the band."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def widened(self, other: "Band") -> "Band":
        """The smallest band that holds both."""
        low = None if self.low is None or other.low is None else min(self.low, other.low)
        high = None if self.high is None or other.high is None else max(self.high, other.high)
        return Band(low, high)


@dataclass(frozen=True)
class Gate:
    """Two bands for one metric; the one for assistance holds the one for replacement."""

    replace: Band
    assist: Band

    def __post_init__(self) -> None:
        if self.assist.widened(self.replace) != self.assist:
            raise ValueError(f"the assist band {self.assist} must hold the replace band {self.replace}")


def _at_most(replace: float, assist: float) -> Gate:
    return Gate(Band(high=replace), Band(high=assist))


def _ratio(replace: tuple[float, float], assist: tuple[float, float]) -> Gate:
    return Gate(Band(*replace), Band(*assist))


@dataclass(frozen=True)
class Gates:
    """The gate of each metric.

    No publication gives thresholds for replacing a solver. These are engineering choices, tied together by the Gaussian
    case, in which a shift of d plant spreads costs a CRPS ratio of about 1 + d^2 / 2, and a spread of s times the plant's
    costs sqrt(2 (1 + s^2)) - s: 1.006 at s = 0.85, 1.05 at 0.6, 1.41 at 0. So a CRPS ratio sees a shift well and a wrong
    spread badly, and no single gate replaces another; one-step scores alone accepted models whose long runs diverge.
    Every band is widened to what the plant itself would score in the surrogate's place with as many individuals and
    members (see `surrogate_fmu.evaluation.gates`), so chance seldom decides. Where that reaches beyond the assist band,
    the test set is too small to tell, and the gate allows no more than assistance.

    Attributes:
        crps: ratio of the pooled CRPS to the plant's own, per output. 1.10 is a shift of 0.45 spreads at full calibration.
        crps_schedule: the same on the worst schedule; one bad regime must not hide in the mean. Trained cells that served
            well on average had single schedules between 1.3 and 2.2.
        energy: ratio of the energy score of the output vector; sees wrong dependence between outputs.
        spread_skill: spread over skill at every lead; 0.85 to 1.15 told calibrated from over-confident steppers.
        spread: spread over members by spread over individuals, over all steps; 0 if the latent is ignored.
        bias: difference of the means in plant spreads; 0.25 alone is a CRPS ratio of 1.03, 0.75 one of 1.28.
        tails: error of the 5 % and 95 % quantile in plant spreads; 0.4 told good from bad for outer quantiles.
        ranks: Kolmogorov-Smirnov distance of dithered ranks from uniform at the worst lead; the replace bound is never below
            1.6 / sqrt(n), n counting independent runs (schedules x individuals), since steps of one run are no new evidence.
            A shift of d spreads alone moves it by 0.4 d.
        persistence: difference of the correlations between leads; 1 if the truth is fixed for a run and the surrogate redraws
            it at every step, 0.25 if it redraws a quarter of the variance, which 24 individuals on 12 schedules can just tell.
        error: root mean square error over the recorded range, per output, where plant and surrogate have no randomness; 1 % is what
            a drawn curve hides.
        error_schedule: the same on the worst schedule.
        divergence: members that are not finite or leave the plant's range by more than its width; none is allowed.
    """

    crps: Gate = field(default=_at_most(1.10, 1.25))
    crps_schedule: Gate = field(default=_at_most(1.30, 2.0))
    energy: Gate = field(default=_at_most(1.10, 1.25))
    spread_skill: Gate = field(default=_ratio((0.85, 1.15), (0.6, 1.5)))
    spread: Gate = field(default=_ratio((0.85, 1.15), (0.6, 1.5)))
    bias: Gate = field(default=_at_most(0.25, 0.75))
    tails: Gate = field(default=_at_most(0.4, 1.0))
    ranks: Gate = field(default=_at_most(0.06, 0.35))
    persistence: Gate = field(default=_at_most(0.25, 0.50))
    error: Gate = field(default=_at_most(0.01, 0.05))
    error_schedule: Gate = field(default=_at_most(0.03, 0.15))
    divergence: Gate = field(default=_at_most(0.0, 0.0))

    def by_metric(self) -> Mapping[Metric, Gate]:
        """The gates by metric."""
        return MappingProxyType({Metric(f.name): getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Balance:
    """A conserved quantity: output - its start = gain * integral of input, in the mean over individuals.

    Attributes:
        output, input: names of the variables.
        gain: output units per (input unit x second), of the median individual: -5.45e-5 per A.s for a 5.1 A.h cell.
        min_moved: points at which less was moved, in output units, are not counted.
        tolerance: largest relative error, pooled over schedules, for replacement.
        assist_tolerance: the same for assistance.
    """

    output: str
    input: str
    gain: float
    min_moved: float = 0.02
    tolerance: float = 0.01
    assist_tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.gain == 0.0:
            raise ValueError("gain is 0; give the change of the output per unit of input and second")
        if self.min_moved <= 0.0:
            raise ValueError(f"min_moved {self.min_moved:g} must be above 0, in units of the output")
        if not 0.0 < self.tolerance <= self.assist_tolerance:
            raise ValueError(f"need 0 < tolerance ({self.tolerance:g}) <= assist_tolerance ({self.assist_tolerance:g})")


@dataclass(frozen=True)
class VerifyConfig:
    """How an artefact is verified.

    Attributes:
        members: surrogate runs per schedule; None takes four times as many as there are plant individuals: they are cheap,
            and with them only the plant's own sample size is left to blur the gates.
        leads: steps at which spread, ranks, tails and persistence are read; the last step is always added.
        rollout_count, rollout_steps: number and length of the long runs that must not diverge; a count of 0 leaves them out.
        balances: conserved quantities to check.
        gates: the thresholds.
        resamples: resamplings of the plant behind the floor of every gate.
        resolution: differences below this fraction of an output's recorded range count as nothing.
        seed: of the members, the rollouts and the resampling.
    """

    members: int | None = None
    leads: tuple[int, ...] = (10, 30)
    rollout_count: int = 64
    rollout_steps: int = 1000
    balances: tuple[Balance, ...] = ()
    gates: Gates = field(default_factory=Gates)
    resamples: int = 500
    resolution: float = 1e-4
    seed: int = 1

    def __post_init__(self) -> None:
        if self.members is not None and self.members < 8:
            raise ValueError(f"members {self.members} is too few to know a spread by; use at least 8")
        if not self.leads or min(self.leads) < 1 or list(self.leads) != sorted(set(self.leads)):
            raise ValueError(f"leads {list(self.leads)} must be ascending steps from 1 on")
        if self.rollout_count < 0 or self.rollout_steps < 1:
            raise ValueError(f"rollout_count {self.rollout_count} and rollout_steps {self.rollout_steps} must be 0 and 1 at least")
        if self.resamples < 50:
            raise ValueError(f"resamples {self.resamples} is too few to know what chance does; use at least 50")
        if not 0.0 < self.resolution < 0.1:
            raise ValueError(f"resolution {self.resolution:g} must be a small fraction of the range, above 0 and below 0.1")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed {self.seed} must be from 0 to {2**31 - 1}")
