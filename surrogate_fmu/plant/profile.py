"""Recorded signals as excitations: pieces of them, at the plant's communication step."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.plant.design import InputDesign
from surrogate_fmu.plant.profile_files import read_signal

Array = NDArray[np.float64]
_ROUNDING = 1e-9  # of a step
_UNSAID = "1"  # what an FMU that says no unit has for one


@dataclass(frozen=True)
class Profile:
    """A recorded signal, each value held until the next one.

    Attributes:
        path: of the file; signals of one file are cut at the same place.
        times: (row,) ascending [s].
        values: (row,) within the range of the input, in its unit.
    """

    path: Path
    times: Array
    values: Array

    def resample(self, begin: float, step_count: int, step_size: float) -> Array:
        """Means (step,) over steps [s] from a time [s] on: what is integrated keeps its integral."""
        edges = begin + step_size * np.arange(step_count + 1)
        first = max(0, int(np.searchsorted(self.times, edges[0], side="right")) - 1)
        last = int(np.searchsorted(self.times, edges[-1], side="left")) + 1
        times, values = self.times[first:last], self.values[first:last]
        integral = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(times))])
        return np.asarray(np.diff(np.interp(edges, times, integral)) / step_size)

    def checksum(self) -> str:
        """SHA-256 of times and values."""
        return hashlib.sha256(self.times.tobytes() + self.values.tobytes()).hexdigest()


@dataclass(frozen=True)
class Window:
    """Where runs may begin in a profile: `begin` [s], and up to `choices - 1` steps later."""

    begin: float
    choices: int


def read_profile(name: str, entry: InputDesign, unit: str, folder: Path) -> Profile:
    """Read the recorded signal of an input.

    Args:
        name: of the input.
        entry: its design, with a profile.
        unit: of the input.
        folder: that the file is looked for in.

    Raises:
        ConfigError, DatasetError: as `read_signal`; the unit differs, times do not ascend, or a value is missing or outside
            min to max.
    """
    assert entry.profile is not None
    path, column = folder / entry.profile.file, entry.profile.column or name
    signal = read_signal(path, column, entry.profile.time)
    times, values = signal.times, signal.values
    if signal.unit not in (None, unit) and unit != _UNSAID:
        raise DatasetError(f"{path}: the unit of {column!r} is {signal.unit!r}, {name} has {unit!r}; convert the recording")
    if len(times) < 2:
        raise DatasetError(f"{path}: {column!r} has {len(times)} rows; a signal needs at least two")
    backwards = np.flatnonzero(~(np.diff(times) > 0.0) | ~np.isfinite(times[1:]))
    if len(backwards):
        row = backwards[0]
        raise DatasetError(
            f"{path}: the time goes from {times[row]:g} s to {times[row + 1]:g} s at row {row + 2}; it must ascend from row to row"
        )
    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing):
        raise DatasetError(
            f"{path}: {column!r} is {values[missing[0]]:g} at {times[missing[0]]:g} s; fill it, or cut the recording"
        )
    outside = np.flatnonzero((values < entry.min) | (values > entry.max))
    if len(outside):
        row = outside[0]
        raise DatasetError(
            f"{path}: {column!r} is {values[row]:g} at {times[row]:g} s, outside min {entry.min:g} to max {entry.max:g} of {name}; "
            "widen the range, or cut the recording"
        )
    return Profile(path, times, values)


def find_windows(profiles: Mapping[str, Profile], step_count: int, step_size: float) -> dict[str, Window]:
    """Where runs of so many steps [s] may begin; the same place for all signals of a file.

    Raises:
        ConfigError: a file is shorter than a run.
    """
    windows = {}
    for name, profile in profiles.items():
        together = [other for other in profiles.values() if other.path == profile.path]
        begin, end = max(other.times[0] for other in together), min(other.times[-1] for other in together)
        choices = int((end - begin) / step_size + _ROUNDING) - step_count + 1
        if choices < 1:
            raise ConfigError(
                f"{profile.path} lasts {max(0.0, end - begin):g} s from its first to its last row, a run takes {step_count} steps, "
                f"{step_count * step_size:g} s; give a longer recording, or fewer steps"
            )
        windows[name] = Window(float(begin), choices)
    return windows
