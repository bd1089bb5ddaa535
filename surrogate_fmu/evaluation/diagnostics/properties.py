"""What a run is like, as a vector: the same for plant and surrogate, so that their laws can be compared."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
KINDS = ("mean", "spread along the run", "end", "lag-1 correlation", "largest step")


def property_names(outputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the properties, in order."""
    return tuple(f"{output}: {kind}" for output in outputs for kind in KINDS)


def run_properties(runs: Array, reference: Array) -> Array:
    """Properties of runs (schedule, run, point, output) as (schedule, run, property).

    They are those of the deviation from the mean over the reference's runs (schedule, run, point, output) under the same schedule,
    in units of the reference's spread along all runs: what is the schedule's doing is taken off.
    """
    mean = reference[:, :, 1:].mean(axis=1, keepdims=True)
    unit = np.sqrt(((reference[:, :, 1:] - mean) ** 2).mean(axis=(0, 1, 2))) + 1e-12
    deviation = (runs[:, :, 1:] - mean) / unit
    centred = deviation - deviation.mean(axis=2, keepdims=True)
    power = (centred**2).mean(axis=2)
    along = (centred[:, :, 1:] * centred[:, :, :-1]).sum(axis=2) / np.maximum(power * centred.shape[2], 1e-12)
    step = np.abs(np.diff(deviation, axis=2)).max(axis=2) if deviation.shape[2] > 1 else np.zeros_like(power)
    parts = [deviation.mean(axis=2), np.sqrt(power), deviation[:, :, -1], along, step]
    stacked: Array = np.stack(parts, axis=-1)
    return stacked.reshape(*stacked.shape[:2], -1)


def flat(properties: Array) -> Array:
    """(schedule, run, property) as (sample, property)."""
    return properties.reshape(-1, properties.shape[-1])
