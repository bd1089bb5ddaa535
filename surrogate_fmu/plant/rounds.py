"""Settings of active rounds, the table [recording.rounds]."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RoundsConfig:
    """How a recording grows in rounds, each where the surrogate of the last one is unsure.

    Attributes:
        first_share: of the training set's schedules, recorded before the first training.
        first: least number of these.
        growth: schedules that a round adds, as a share of those that there are.
        pool: schedules to choose from, in multiples of the training set's.
        committee: trainings that differ in their seed, whose disagreement says where they are unsure.
        updates: length of each of them.
        draws: of the generator per schedule and member of the committee.
        patience: rounds without a better score after which it ends.
        tolerance: share by which a score must fall to be better.
    """

    first_share: float = 0.15
    first: int = 16
    growth: float = 0.35
    pool: int = 4
    committee: int = 2
    updates: int = 800
    draws: int = 16
    patience: int = 2
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        if not 0.0 < self.first_share <= 1.0 or self.growth <= 0.0:
            raise ValueError(f"first_share {self.first_share:g} must be above 0 and at most 1, growth {self.growth:g} above 0")
        if min(self.first, self.pool, self.updates, self.draws, self.patience) < 1:
            raise ValueError("first, pool, updates, draws and patience must be at least 1")
        if self.committee < 2:
            raise ValueError(f"committee {self.committee}: only two trainings or more can disagree")
        if not 0.0 <= self.tolerance < 1.0:
            raise ValueError(f"tolerance {self.tolerance:g} must be from 0 to below 1")
