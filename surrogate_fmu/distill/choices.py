"""What follows from a survey: how many runs and how long, which structure, which balances."""

import math
from dataclasses import dataclass

from surrogate_fmu.distill.integrators import Integrator
from surrogate_fmu.distill.survey import Survey

# Of the time that there is. The training has one core, and the test set is recorded meanwhile by the other workers, or before it.
_FITTING_SHARE, _TEST_SHARE = 0.4, 0.15
_TRAINING_SHARE, _TRAINING_SHARE_ALONE = 0.44, 0.3
_BESIDE_SHARE = 0.4  # a little less than the training, which should not have to wait for it
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


# Schedules for training, schedules and individuals for validation.
_DETERMINISTIC = ((256, 16, 1), (128, 12, 1), (64, 8, 1), (32, 6, 1))
_RANDOM = ((1024, 12, 24), (600, 12, 12), (400, 10, 10), (250, 8, 8), (120, 6, 6), (60, 6, 4))
# Schedules and individuals for the test. Individuals make gates decidable, so where there are few runs they are not spread thin.
_DETERMINISTIC_TESTS = ((24, 1), (16, 1), (12, 1), (8, 1))
_RANDOM_TESTS = ((12, 64), (12, 48), (12, 32), (10, 32), (8, 32), (8, 24), (8, 16), (8, 12), (8, 8))


def choose_size(survey: Survey, steps: int, budget_s: float, jobs: int) -> Size:
    """The largest sets that their shares of the time [s] are enough for, the smallest where none is.

    What is left of the share for training and validation goes to training runs.
    """
    run_s = max(survey.seconds_per_step * steps, 1e-9)
    fitting = _FITTING_SHARE * budget_s * jobs / run_s
    testing = (_BESIDE_SHARE * (jobs - 1) if jobs > 1 else _TEST_SHARE) * budget_s / run_s
    sizes = _RANDOM if survey.is_random else _DETERMINISTIC
    train, validation, individuals = next((size for size in sizes if size[0] + size[1] * size[2] <= fitting), sizes[-1])
    more = math.floor(min(fitting - validation * individuals, sizes[0][0]))
    tests = _RANDOM_TESTS if survey.is_random else _DETERMINISTIC_TESTS
    test, test_individuals = next((size for size in tests if size[0] * size[1] <= testing), tests[-1])
    return Size(max(train, more), validation, test, individuals, test_individuals)


def training_seconds(budget_s: float, jobs: int) -> float:
    """CPU seconds for the training, of the time [s] that there is."""
    return max(30.0, (_TRAINING_SHARE if jobs > 1 else _TRAINING_SHARE_ALONE) * budget_s)


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
