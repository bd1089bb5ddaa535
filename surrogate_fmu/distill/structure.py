"""How a plant remembers, as a survey can tell: by its inputs alone and for how long, or by its own outputs.

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
_REACHES = (8.0, 16.0, 32.0, 64.0)  # steps: longest time constant of the filters
_FIRST = 1.5  # steps: shortest
_FILTERS = 5
_RIDGE = 1e-6
_FOLDS = 5
_SCHEDULES = 4  # at least
_NO_WORSE = 1.1  # an error that is larger by less is none


@dataclass(frozen=True)
class Structures:
    """Errors on schedules that the fit has not seen, root mean square, as a share of the range of the worst output.

    Attributes:
        driven: of a static map of filtered inputs and balanced outputs.
        fed_back: of an affine step that is fed with its own outputs.
        memory_steps: the shortest of the filters' longest time constants that does as well as all.
        indirect: inputs that act through balances alone.
    """

    driven: float
    fed_back: float
    memory_steps: int
    indirect: tuple[str, ...]


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

    def error(direct: Sequence[int], reach: float) -> float:
        columns = _columns(drive[..., list(direct)], state, reach)
        return float(_held_out(columns, truth, runs.schedule).max())

    errors = [error(moving, reach) for reach in _REACHES]
    least = min(errors)
    place = next(k for k, value in enumerate(errors) if value <= _NO_WORSE * least)
    named = {name for _, terms in balances for term in terms for name, _ in split_term(term)}
    indirect: list[int] = []
    for k in moving:
        others = [other for other in moving if other != k and other not in indirect]
        if inputs[k] in named and others and error(others, _REACHES[place]) <= _NO_WORSE * errors[place]:
            indirect.append(k)
    fed_back = _roll(runs, free, moving) / width
    return Structures(least, float(fed_back.max()), int(_REACHES[place]), tuple(inputs[k] for k in indirect))


def _columns(drive: Array, state: Array, reach: float) -> Array:
    """(run, step, column): inputs, filters of them, balanced outputs, their powers and products."""
    constants = np.geomspace(_FIRST, reach, _FILTERS)
    kept = np.exp(-1.0 / constants)
    filters = np.zeros((*drive.shape, _FILTERS))
    level = np.zeros((len(drive), drive.shape[2], _FILTERS))
    for k in range(drive.shape[1]):
        level = kept * level + (1.0 - kept) * drive[:, k, :, None]
        filters[:, k] = level
    linear = np.concatenate([drive, filters.reshape(*drive.shape[:2], -1), state], axis=-1)
    products = (drive[..., :, None] * state[..., None, :]).reshape(*drive.shape[:2], -1)
    crossed = (drive[..., :, None] * drive[..., None, :]).reshape(*drive.shape[:2], -1)
    return np.concatenate([linear, linear**2, products, crossed, state**3, np.ones((*drive.shape[:2], 1))], axis=-1)


def _held_out(columns: Array, truth: Array, schedule: NDArray[np.int64]) -> Array:
    """Root mean square error (output,) on schedules that were left out of the fit in turn."""
    total = np.zeros(truth.shape[-1])
    for fold in _folds(schedule):
        x, y = columns[~fold].reshape(-1, columns.shape[-1]), truth[~fold].reshape(-1, truth.shape[-1])
        size = np.maximum(np.sqrt((x**2).mean(axis=0)), 1e-12)
        gram = (x / size).T @ (x / size) / len(x) + _RIDGE * np.eye(x.shape[1])
        solution = np.linalg.solve(gram, (x / size).T @ y / len(x))
        total += ((columns[fold] / size @ solution - truth[fold]) ** 2).mean(axis=1).sum(axis=0)
    return np.sqrt(total / len(truth))


def _roll(runs: Trajectories, free: Sequence[int], moving: Sequence[int]) -> Array:
    """The same of an affine step of all outputs, fed with its own from the recorded start on, in physical units (free,)."""
    low, high = runs.outputs.min(axis=(0, 1)), runs.outputs.max(axis=(0, 1))
    width = np.maximum(high - low, 1e-300)
    scaled = (runs.outputs - low) / width
    drive = runs.inputs[..., list(moving)]
    drive = (drive - drive.mean(axis=(0, 1))) / np.maximum(drive.std(axis=(0, 1)), 1e-300)
    ones = np.ones((*drive.shape[:2], 1))
    total = np.zeros(len(width))
    for fold in _folds(runs.schedule):
        x = np.concatenate([scaled[~fold, :-1], drive[~fold], ones[~fold]], axis=-1)
        solution, *_ = np.linalg.lstsq(x.reshape(-1, x.shape[-1]), scaled[~fold, 1:].reshape(-1, len(width)), rcond=1e-9)
        point, errors = scaled[fold, 0], []
        for k in range(drive.shape[1]):
            point = np.clip(np.concatenate([point, drive[fold, k], ones[fold, k]], axis=-1) @ solution, -10.0, 10.0)
            errors.append((point - scaled[fold, k + 1]) ** 2)
        total += np.mean(errors, axis=0).sum(axis=0)
    error: Array = np.sqrt(total / len(runs)) * width
    return error[list(free)]


def _folds(schedule: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    numbers = np.unique(schedule)
    count = min(_FOLDS, len(numbers))
    return [np.isin(schedule, numbers[k::count]) for k in range(count)]
