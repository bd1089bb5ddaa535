"""How a plant remembers, as a survey can tell: its inputs drive it and it forgets them, or its outputs feed back on themselves.

Two cheap stand-ins for generators are fitted to some schedules of the survey and predict the others from the start on: a static map
of linear filters of the inputs and of balanced outputs (the Wiener structure), and an affine step of all outputs that is fed with
what it said before (what the recurrent structure begins with).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.config import split_term
from surrogate_fmu.variables import Causality, with_causality

Array = NDArray[np.float64]
_CONSTANTS = np.geomspace(1.5, 24.0, 5)  # steps: of the filters
_RIDGE = 1e-6
_FOLDS = 5
_SCHEDULES = 4  # at least
_DRIVEN = 0.1  # of an output's range: what a map of so few terms may leave
_CLEARLY = 0.5  # of the other's error
_NO_WORSE = 1.1  # an error that is larger by less is none


@dataclass(frozen=True)
class Structures:
    """Root mean square errors on schedules that the fit has not seen, in the median one, as a share of the worst output's range.

    Attributes:
        driven: of a static map of filtered inputs and balanced outputs.
        fed_back: of an affine step that is fed with its own outputs.
        indirect: inputs that act through balances alone.
    """

    driven: float
    fed_back: float
    indirect: tuple[str, ...]

    @property
    def is_driven(self) -> bool:
        """Whether the static map says where the outputs are, and says it clearly better."""
        return self.driven < _DRIVEN and self.driven < _CLEARLY * self.fed_back


def compare_structures(runs: Trajectories, balances: Sequence[tuple[str, Sequence[str]]]) -> Structures | None:
    """Compare them; None where no output is free of balances, or the schedules are too few.

    Args:
        runs: of several schedules.
        balances: outputs and the terms of their balances.
    """
    outputs, inputs = runs.names(Causality.OUTPUT), runs.names(Causality.INPUT)
    balanced = [outputs.index(output) for output, _ in balances]
    free = [place for place in range(len(outputs)) if place not in balanced]
    if not free or len(np.unique(runs.schedule)) < _SCHEDULES:
        return None
    width = np.maximum(np.ptp(runs.outputs, axis=(0, 1)), 1e-300)[free]
    truth = runs.outputs[:, 1:, free] / width
    moving = [place for place in range(len(inputs)) if np.ptp(runs.inputs[..., place]) > 0.0]
    rest = np.array([v.start or 0.0 for v in with_causality(runs.variables, Causality.INPUT)])
    scale = np.maximum(np.abs(runs.inputs - rest).max(axis=(0, 1)), 1e-300)
    drive = (runs.inputs - rest) / scale
    state = runs.outputs[:, 1:, balanced]
    state = (state - state.mean(axis=(0, 1))) / np.maximum(state.std(axis=(0, 1)), 1e-300)

    def error(direct: Sequence[int]) -> float:
        return float(_held_out(_columns(drive[..., list(direct)], state), truth, runs.schedule).max())

    driven = error(moving)
    named = {name for _, terms in balances for term in terms for name, _ in split_term(term)}
    direct = moving
    for k in moving:
        others = [other for other in direct if other != k]
        if inputs[k] in named and others and (without := error(others)) <= _NO_WORSE * driven:
            direct, driven = others, min(without, driven)
    indirect = tuple(inputs[k] for k in moving if k not in direct)
    return Structures(driven, float((_roll(runs, free, moving) / width).max()), indirect)


def _columns(drive: Array, state: Array) -> Array:
    """(run, step, column): inputs, filters of them, balanced outputs, their powers and products."""
    kept = np.exp(-1.0 / _CONSTANTS)
    filters = np.zeros((*drive.shape, len(kept)))
    level = np.zeros((len(drive), drive.shape[2], len(kept)))
    for k in range(drive.shape[1]):
        level = kept * level + (1.0 - kept) * drive[:, k, :, None]
        filters[:, k] = level
    linear = np.concatenate([drive, filters.reshape(*drive.shape[:2], -1), state], axis=-1)
    products = (drive[..., :, None] * state[..., None, :]).reshape(*drive.shape[:2], -1)
    crossed = (drive[..., :, None] * drive[..., None, :]).reshape(*drive.shape[:2], -1)
    return np.concatenate([linear, linear**2, products, crossed, state**3, np.ones((*drive.shape[:2], 1))], axis=-1)


def _held_out(columns: Array, truth: Array, schedule: NDArray[np.int64]) -> Array:
    """Root mean square error (output,) in the median run, of schedules that were left out of the fit in turn."""
    errors = np.empty((len(truth), truth.shape[-1]))
    for fold in _folds(schedule):
        x, y = columns[~fold].reshape(-1, columns.shape[-1]), truth[~fold].reshape(-1, truth.shape[-1])
        size = np.maximum(np.sqrt((x**2).mean(axis=0)), 1e-12)
        gram = (x / size).T @ (x / size) / len(x) + _RIDGE * np.eye(x.shape[1])
        solution = np.linalg.solve(gram, (x / size).T @ y / len(x))
        errors[fold] = np.sqrt(((columns[fold] / size @ solution - truth[fold]) ** 2).mean(axis=1))
    return _typical(errors, schedule)


def _roll(runs: Trajectories, free: Sequence[int], moving: Sequence[int]) -> Array:
    """The same of an affine step of all outputs, fed with its own from the recorded start on, in physical units (free,)."""
    low, high = runs.outputs.min(axis=(0, 1)), runs.outputs.max(axis=(0, 1))
    width = np.maximum(high - low, 1e-300)
    scaled = (runs.outputs - low) / width
    drive = runs.inputs[..., list(moving)]
    drive = (drive - drive.mean(axis=(0, 1))) / np.maximum(drive.std(axis=(0, 1)), 1e-300)
    ones = np.ones((*drive.shape[:2], 1))
    left = np.empty((len(runs), len(width)))
    for fold in _folds(runs.schedule):
        x = np.concatenate([scaled[~fold, :-1], drive[~fold], ones[~fold]], axis=-1)
        solution, *_ = np.linalg.lstsq(x.reshape(-1, x.shape[-1]), scaled[~fold, 1:].reshape(-1, len(width)), rcond=1e-9)
        point, errors = scaled[fold, 0], []
        for k in range(drive.shape[1]):
            point = np.clip(np.concatenate([point, drive[fold, k], ones[fold, k]], axis=-1) @ solution, -10.0, 10.0)
            errors.append((point - scaled[fold, k + 1]) ** 2)
        left[fold] = np.sqrt(np.mean(errors, axis=0))
    error: Array = _typical(left, runs.schedule) * width
    return error[list(free)]


def _typical(errors: Array, schedule: NDArray[np.int64]) -> Array:
    """Median (output,) over schedules of the mean over their runs, of errors (run, output)."""
    rows = [errors[schedule == number].mean(axis=0) for number in np.unique(schedule)]
    typical: Array = np.median(rows, axis=0)
    return typical


def _folds(schedule: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    numbers = np.unique(schedule)
    count = min(_FOLDS, len(numbers))
    return [np.isin(schedule, numbers[k::count]) for k in range(count)]
