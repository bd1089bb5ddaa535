"""Plant runs grouped by schedule, and the surrogate's runs beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.evaluation.config import Balance, VerifyConfig
from surrogate_fmu.variables import Causality, Variable, with_causality

Array = NDArray[np.float64]
_INDIVIDUALS_MIN = 8
_ROUNDING = 1e-9  # of the largest value
_VALIDATION_INDIVIDUALS_MIN = 3
_BLOCK_STEPS = 20
_BLOCK_TRIALS = 50


@dataclass(frozen=True)
class PlantEnsemble:
    """The plant's runs by schedule.

    Attributes:
        variables: as recorded.
        communication_step_size: [s].
        schedules: (schedule,), their numbers in the dataset.
        conditions: (schedule, step, input + parameter), physical units.
        outputs: (schedule, individual, point, output), physical units.
    """

    variables: tuple[Variable, ...]
    communication_step_size: float
    schedules: tuple[int, ...]
    conditions: Array
    outputs: Array

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs in column order."""
        return tuple(v.name for v in with_causality(self.variables, Causality.OUTPUT))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs in column order; they come first in the conditions."""
        return tuple(v.name for v in with_causality(self.variables, Causality.INPUT))

    @property
    def range(self) -> tuple[Array, Array]:
        """Lowest and highest recorded value: two arrays (output,)."""
        return self.outputs.min(axis=(0, 1, 2)), self.outputs.max(axis=(0, 1, 2))


@dataclass(frozen=True)
class Ensembles:
    """Plant and surrogate side by side; `surrogate` is (schedule, member, point, output), physical units."""

    plant: PlantEnsemble
    surrogate: Array


def group_by_schedule(trajectories: Trajectories, fewest: int = _INDIVIDUALS_MIN) -> PlantEnsemble:
    """Group runs with equal inputs. Where failures left some schedules with fewer individuals, all are cut to the fewest.

    Args:
        trajectories: the runs.
        fewest: individuals that every schedule must have; 1 is enough for a plant without randomness.

    Raises:
        DatasetError: a schedule has fewer individuals, or runs of one schedule differ in their inputs.
    """
    numbers, counts = np.unique(trajectories.schedule, return_counts=True)
    if not len(numbers) or counts.min() < fewest:
        few = {int(n): int(c) for n, c in zip(numbers, counts, strict=True) if c < fewest}
        raise DatasetError(
            f"the test data need at least {fewest} individuals on every schedule to know the plant's spread; "
            f"schedule: individuals = {few or 'no runs at all'}; record the test set with more individuals per schedule"
        )
    individuals = int(counts.min())
    all_conditions = trajectories.conditions()
    conditions, outputs = [], []
    for number in numbers:
        runs = np.flatnonzero(trajectories.schedule == number)
        if not np.allclose(all_conditions[runs], all_conditions[runs[0]], rtol=1e-6, atol=1e-6):
            raise DatasetError(f"runs of schedule {number} differ in inputs or parameters; runs of one schedule must share them")
        conditions.append(all_conditions[runs[0]])
        outputs.append(trajectories.outputs[runs[:individuals]])
    return PlantEnsemble(
        trajectories.variables,
        trajectories.communication_step_size,
        tuple(int(n) for n in numbers),
        np.array(conditions),
        np.array(outputs),
    )


def has_randomness(trajectories: Trajectories) -> bool:
    """Whether runs with equal inputs differ by more than rounding."""
    magnitude = np.abs(trajectories.outputs).max(axis=(0, 1)) + 1e-300
    for number in np.unique(trajectories.schedule):
        runs = trajectories.outputs[trajectories.schedule == number]
        if (np.ptp(runs, axis=0) > _ROUNDING * magnitude).any():
            return True
    return False


def rollout_conditions(plant: PlantEnsemble, config: VerifyConfig) -> Array:
    """Conditions of the card's long runs, (verify.rollout_count, verify.rollout_steps, input + parameter), physical units."""
    rng = np.random.default_rng((config.seed, 0))
    return long_conditions(plant, config.rollout_count, config.rollout_steps, config.balances, rng)


def judge_conditions(validation: Trajectories, config: VerifyConfig) -> Array:
    """The same from the validation runs, for the judge of trainings, who wants three individuals per schedule and no more.

    Raises:
        DatasetError: a schedule has fewer than three individuals, or runs of one schedule differ in their inputs.
    """
    return rollout_conditions(group_by_schedule(validation, _VALIDATION_INDIVIDUALS_MIN), config)


def long_conditions(
    plant: PlantEnsemble, count: int, step_count: int, balances: Sequence[Balance], rng: np.random.Generator
) -> Array:
    """Legal inputs for long runs: (count, step_count, input + parameter).

    Parameters and start are those of a recorded schedule; inputs are blocks of up to 20 recorded steps, drawn at random
    from all schedules. A block that would carry a balanced output beyond its recorded range is drawn again, since no plant
    could follow; of 50 that would, the one that strays least is taken.
    """
    input_count = len(plant.input_names)
    block = min(_BLOCK_STEPS, plant.conditions.shape[1])
    starts = plant.conditions.shape[1] - block + 1
    columns = [(plant.input_names.index(b.input), plant.output_names.index(b.output)) for b in balances]
    low, high = plant.range
    result = np.empty((count, step_count, plant.conditions.shape[2]))
    for run in range(count):
        schedule = int(rng.integers(len(plant.schedules)))
        result[run] = plant.conditions[schedule, 0]
        level = np.array([plant.outputs[schedule, :, 0, output].mean() for _, output in columns])
        for first in range(0, step_count, block):
            trials = []
            for _ in range(_BLOCK_TRIALS):
                start = int(rng.integers(starts))
                signal = plant.conditions[rng.integers(len(plant.schedules)), start : start + block, :input_count]
                path = [
                    at + balance.gain * plant.communication_step_size * np.cumsum(signal[:, source])
                    for at, balance, (source, _) in zip(level, balances, columns, strict=True)
                ]
                stray = sum(
                    max(0.0, low[output] - p.min(), p.max() - high[output]) / max(high[output] - low[output], 1e-12)
                    for p, (_, output) in zip(path, columns, strict=True)
                )
                trials.append((float(stray), signal, np.array([p[-1] for p in path])))
                if stray == 0.0:
                    break
            _, signal, level = min(trials, key=lambda trial: trial[0])
            result[run, first : first + block, :input_count] = signal[: step_count - first]
    return result
