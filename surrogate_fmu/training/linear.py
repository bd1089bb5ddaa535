"""The linear part of a plant, by least squares over the training runs: a network is left with what is not linear."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.dataset.trajectories import Trajectories

Array = NDArray[np.float64]
_ROUNDING = 1e-6  # of the largest singular value: values of datasets are float32, and below it there is nothing but their rounding
_SMALLEST = 1e-5  # of an output's standard deviation: what a network may always add


@dataclass(frozen=True)
class LinearPart:
    """One step y_k+1 = A y_k + B x_k + c and the start y_0 = S x_0 + s, all scaled to mean 0 and standard deviation 1.

    Attributes:
        state: A, (output, output).
        inputs: B, (condition, output); zero for conditions that do not act on steps.
        offset: c, (output,).
        step_scale: (output,), standard deviation of what a step leaves unexplained.
        start: S, (condition, output).
        start_offset: s, (output,).
        start_scale: (output,), standard deviation of what the start leaves unexplained.
    """

    state: Array
    inputs: Array
    offset: Array
    step_scale: Array
    start: Array
    start_offset: Array
    start_scale: Array


def fit_linear_part(training: Trajectories, scaling: Scaling, stepping: Sequence[int]) -> LinearPart:
    """Fit step and start.

    Args:
        training: runs.
        scaling: of them.
        stepping: places of the condition that act on steps.
    """
    conditions = (training.conditions() - scaling.condition_mean) / scaling.condition_std
    outputs = (training.outputs - scaling.output_mean) / scaling.output_std
    before, after = outputs[:, :-1].reshape(-1, outputs.shape[-1]), outputs[:, 1:].reshape(-1, outputs.shape[-1])
    acting = conditions[..., list(stepping)].reshape(len(before), -1)
    solution, step_scale = _solve(np.hstack([before, acting]), after)
    inputs = np.zeros((conditions.shape[-1], outputs.shape[-1]))
    inputs[list(stepping)] = solution[before.shape[1] : -1]
    start, start_scale = _solve(conditions[:, 0], outputs[:, 0])
    return LinearPart(solution[: before.shape[1]].T, inputs, solution[-1], step_scale, start[:-1], start[-1], start_scale)


def _solve(columns: Array, targets: Array) -> tuple[Array, Array]:
    """Coefficients (column + 1, target), the last row being the offset, and the spread of what they leave."""
    matrix = np.hstack([columns, np.ones((len(columns), 1))])
    solution, *_ = np.linalg.lstsq(matrix, targets, rcond=_ROUNDING)
    left = np.asarray(targets - matrix @ solution, np.float64)
    return np.asarray(solution, np.float64), np.maximum(left.std(axis=0), _SMALLEST)
