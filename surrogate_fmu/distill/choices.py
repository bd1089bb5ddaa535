"""What follows from a survey: how many runs and how long, which structure, which balances."""

import math
from dataclasses import dataclass, replace

from surrogate_fmu.distill.integrators import Integrator
from surrogate_fmu.distill.survey import Survey

RECORDING_SHARE, TRAINING_SHARE = 0.5, 0.35  # of the time that there is
LASTING, NEW = 0.02, 0.05  # roughness below which all randomness lasts a run, above which all is new at every step
_STEPS = (60, 300)
_SETTLINGS = 3.0  # of a run
# Of a run, where what does not settle is balanced and runs begin all over its range: shorter ones where few can be recorded. Of the
# DFN cell 120 runs of 60 steps teach more than 60 of 120: tested on 120 steps, a CRPS of the voltage of 1.21 and not 1.33.
_BALANCED_STEPS = (60, 120)
_FEW_RUNS = 250


@dataclass(frozen=True)
class Size:
    """How many runs there are time for.

    Attributes:
        train, validation, test: schedules.
        individuals: runs of each schedule of validation and test.
    """

    train: int
    validation: int
    test: int
    validation_individuals: int
    test_individuals: int

    @property
    def runs(self) -> int:
        """All runs."""
        return self.train + self.validation * self.validation_individuals + self.test * self.test_individuals


_DETERMINISTIC = (Size(256, 16, 24, 1, 1), Size(128, 12, 16, 1, 1), Size(64, 8, 12, 1, 1), Size(32, 6, 8, 1, 1))
_RANDOM = (
    Size(1024, 12, 12, 24, 48),
    Size(600, 12, 12, 12, 32),
    Size(400, 10, 12, 10, 20),
    Size(250, 8, 10, 8, 16),
    Size(120, 6, 8, 6, 12),
    Size(60, 6, 8, 4, 8),
)


def choose_size(survey: Survey, steps: int, budget_s: float, jobs: int) -> Size:
    """The largest that its share of the time [s] is enough for, the rest going to training runs; the smallest where none is."""
    sizes = _RANDOM if survey.is_random else _DETERMINISTIC
    affordable = RECORDING_SHARE * budget_s * jobs / max(survey.seconds_per_step * steps, 1e-9)
    size = next((size for size in sizes if size.runs <= affordable), sizes[-1])
    left = max(0, math.floor(min(affordable, sizes[0].runs)) - size.runs)
    return replace(size, train=min(size.train + left, sizes[0].train))


def run_steps(survey: Survey, budget_s: float = math.inf, jobs: int = 1) -> int:
    """Steps of a run: some settlings long; where something does not settle, as long as the survey, or less if balances say it.

    Args:
        survey: of the plant.
        budget_s: time [s] that there is for all.
        jobs: worker processes.
    """
    if survey.settling_steps is None and is_driven(survey):
        short, long = (min(survey.steps, steps) for steps in _BALANCED_STEPS)
        return short if choose_size(survey, long, budget_s, jobs).train < _FEW_RUNS else long
    if survey.settling_steps is None:
        return survey.steps
    return int(min(max(_SETTLINGS * survey.settling_steps, _STEPS[0]), _STEPS[1]))


def is_driven(survey: Survey) -> bool:
    """Whether the inputs drive the plant and it forgets them but for its balances: a case for the Wiener structure.

    Individuals that last a run and no noise within it are what the structure is made for; without any randomness the recurrent one,
    which begins with the plant's linear step, is kept.
    """
    remembers_by_balances = survey.settling_steps is not None or bool(survey.integrators)
    found = survey.structures
    return survey.is_random and survey.roughness < LASTING and remembers_by_balances and found is not None and found.is_driven


def used_balances(survey: Survey) -> tuple[Integrator, ...]:
    """The balances worth saying: all where individuals differ; else those that the plant's linear step has not by itself."""
    return tuple(found for found in survey.integrators if survey.is_random or found.is_nonlinear)
