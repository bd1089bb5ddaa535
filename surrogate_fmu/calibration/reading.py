"""Measurements from files: a CSV table, or a dataset of `surrogate-fmu record`.

A table has a head of names, each with its unit in brackets if it is to be checked (`voltage [V]`), and a row per point: `time` [s],
inputs held from there to the next row, outputs at that time. Outputs may be left out or empty; inputs of the last row may be.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.calibration.measurements import (
    STEP_TOLERANCE,
    Measurements,
    arrange,
    check_step_size,
    check_unit,
    measurements_of,
)
from surrogate_fmu.dataset.table import read_table
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.variables import scalar_names

_ROUNDING = 4e-16


def read_measurements(
    path: Path | str, manifest: Manifest, parameters: Mapping[str, float] | None = None, run: int | None = None
) -> Measurements:
    """Read what was measured of one unit.

    Args:
        path: a table (.csv) or a dataset (.nc).
        manifest: of the generator.
        parameters: values by the names of their scalars; they take the place of those in the file.
        run: which run of a dataset, from 0; needed where there are several.

    Raises:
        DatasetError: the file cannot be read, or its names, units, step size or values do not fit the generator.
    """
    path = Path(path)
    if path.suffix == ".nc":
        from surrogate_fmu.dataset.store import read_trajectories

        trajectories = read_trajectories(path)
        if run is None and len(trajectories) != 1:
            raise DatasetError(f"{path} has {len(trajectories)} runs; say which one was the unit's, from 0")
        return measurements_of(trajectories, run or 0, manifest, parameters)
    if run is not None:
        raise DatasetError(f"{path} is a table of one run; the number of a run goes with a dataset (.nc)")
    return _of_table(path, manifest, parameters or {})


def _of_table(path: Path, manifest: Manifest, parameters: Mapping[str, float]) -> Measurements:
    columns = _read_table(path, manifest)
    if "time" not in columns:
        raise DatasetError(f"{path} has no column 'time' [s]; its differences say whether the step fits")
    times = columns.pop("time")
    if len(times) < 2:
        raise DatasetError(f"{path} has {len(times)} rows; at least two are needed, the start and the end of one step")
    _check_times(times, manifest, path)
    for variable in manifest.inputs:
        for name in scalar_names(variable):
            if name in columns:
                columns[name] = columns[name][:-1]
    for variable in manifest.parameters:
        for name in scalar_names(variable):
            if name in columns:
                values = columns[name]
                if np.nanmin(values) != np.nanmax(values):
                    raise DatasetError(f"{path}: the parameter {name!r} changes; it is fixed during a run")
                columns[name] = values[0]
    columns |= {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    return arrange(columns, len(times) - 1, manifest)


def _check_times(times: NDArray[np.float64], manifest: Manifest, path: Path) -> None:
    steps = np.diff(times)
    off = np.abs(steps - manifest.step_size) > STEP_TOLERANCE * manifest.step_size + _ROUNDING * np.abs(times[1:])
    if not np.isfinite(times).all() or off.any():
        check_step_size(float(np.median(steps)), manifest, str(path))
        bad = int(np.flatnonzero(off | ~np.isfinite(steps))[0])
        raise DatasetError(
            f"{path}: the time goes from {times[bad]:g} s to {times[bad + 1]:g} s at row {bad + 2}; rows must be "
            f"{manifest.step_size:g} s apart, with empty cells where outputs are missing"
        )


def _read_table(path: Path, manifest: Manifest) -> dict[str, NDArray[np.float64]]:
    columns: dict[str, NDArray[np.float64]] = {}
    for name, column in read_table(path).items():
        columns[name] = column.seconds(name, path) if name == "time" else column.values
        if name != "time" and column.unit is not None:
            check_unit(name, column.unit, manifest)
    return columns
