"""Scales of recorded data: what a network should see as zero and one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories

Array = NDArray[np.float64]
_SMALLEST = 1e-9  # of the values' magnitude: a spread below it is rounding
_FINEST = 1e-3  # of an output's spread: individuals closer than this are alike


@dataclass(frozen=True)
class Scaling:
    """Means and scales per column, in physical units.

    Attributes:
        condition_mean, condition_std: (condition,).
        output_mean, output_std: (output,), over all runs and points.
        conditional_std: (output,), the spread between individuals under equal inputs, pooled over schedules and points;
            an error of one conditional_std is as large as the randomness itself.
    """

    condition_mean: Array
    condition_std: Array
    output_mean: Array
    output_std: Array
    conditional_std: Array


def measure_scaling(training: Trajectories, repeated: Trajectories) -> Scaling:
    """Measure the scales of the training runs, and the conditional spread where schedules were repeated.

    Args:
        training: runs that the scales are taken from.
        repeated: runs of which several share a schedule; without any, a tenth of the overall scale stands in.
    """
    conditions = training.conditions().reshape(-1, training.inputs.shape[-1] + training.parameters.shape[-1])
    outputs = training.outputs.reshape(-1, training.outputs.shape[-1])
    output_std = _spread(outputs)
    groups = [repeated.outputs[repeated.schedule == number] for number in np.unique(repeated.schedule)]
    variances = [group.var(axis=0, ddof=1).mean(axis=0) for group in groups if len(group) > 1]
    conditional = np.sqrt(np.mean(variances, axis=0)) if variances else 0.1 * output_std
    return Scaling(
        condition_mean=conditions.mean(axis=0),
        condition_std=_spread(conditions),
        output_mean=outputs.mean(axis=0),
        output_std=output_std,
        conditional_std=np.maximum(conditional, _FINEST * output_std),
    )


def pool(mean: Array, std: Array) -> tuple[float, float]:
    """Mean and standard deviation of several columns taken as one, from those of each."""
    middle = float(np.mean(mean))
    return middle, math.sqrt(float(np.mean(std**2 + (mean - middle) ** 2)))


def _spread(columns: Array) -> Array:
    """Standard deviation per column (row, column); 1 where the column is constant."""
    std = columns.std(axis=0)
    return np.where(std > _SMALLEST * np.abs(columns).max(axis=0), std, 1.0)
