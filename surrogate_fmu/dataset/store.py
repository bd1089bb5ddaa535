"""Trajectories on disk: NetCDF-4.

Why NetCDF and not Parquet: the data are arrays over (run, step), not rows; names, units and dimensions travel in the
file by a convention that xarray, MATLAB, Julia and the netCDF tools read without this package; compression is inside.

Layout: dimensions `run`, `step`, `point` (= step + 1). Inputs are (run, step), held over the step; outputs are (run, point);
parameters (run). Each has `units`, `long_name` and `causality`. `plant_seed` and `schedule` are integers over `run`.
Global attributes: `format`, `communication_step_size` [s], `variables` and `provenance` (JSON), `checksum`; `face` (JSON) where the
plant is an FMU.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.face import Face
from surrogate_fmu.schema import SchemaError, decode, encode
from surrogate_fmu.variables import Causality, Variable, with_causality

FORMAT = "surrogate-fmu trajectories 1"
_RESERVED = frozenset({"plant_seed", "schedule", "run", "step", "point"})
_ATTRIBUTES = ("variables", "communication_step_size", "provenance", "checksum")
_ARRAYS = {
    Causality.INPUT: ("inputs", ("run", "step")),
    Causality.PARAMETER: ("parameters", ("run",)),
    Causality.OUTPUT: ("outputs", ("run", "point")),
}


def write_trajectories(trajectories: Trajectories, path: Path) -> None:
    """Write a NetCDF-4 file; values are stored as float32, losslessly compressed."""
    columns: dict[str, Any] = {
        "plant_seed": ("run", trajectories.plant_seed.astype("int64"), {"long_name": "seed of the individual"}),
        "schedule": ("run", trajectories.schedule.astype("int64"), {"long_name": "runs with equal numbers had equal inputs"}),
    }
    for variable in trajectories.variables:
        if variable.name in _RESERVED:
            raise DatasetError(f"a variable is called {variable.name!r}, which the file format keeps for itself; rename it")
    for causality, (attribute, dimensions) in _ARRAYS.items():
        array = getattr(trajectories, attribute)
        for column, variable in enumerate(with_causality(trajectories.variables, causality)):
            description = {"units": variable.unit, "long_name": variable.description, "causality": str(causality)}
            columns[variable.name] = (dimensions, array[..., column].astype("float32"), description)
    dataset = xarray.Dataset(
        columns,
        attrs={
            "format": FORMAT,
            "communication_step_size": trajectories.communication_step_size,
            "variables": json.dumps(encode(trajectories.variables)),
            "provenance": json.dumps(trajectories.provenance, sort_keys=True),
            "checksum": trajectories.checksum(),
        }
        | ({} if trajectories.face is None else {"face": json.dumps(encode(trajectories.face))}),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    compression = {name: {"zlib": True, "complevel": 9, "shuffle": True} for name in columns}
    dataset.to_netcdf(partial, engine="h5netcdf", encoding=compression)
    partial.replace(path)


def read_trajectories(path: Path) -> Trajectories:
    """Read what `write_trajectories` wrote.

    Raises:
        DatasetError: the file is missing, truncated, of another format, or its values do not match its checksum.
    """
    if not path.is_file():
        raise DatasetError(f"there is no dataset at {path}; record one with: surrogate-fmu record")
    try:
        with xarray.open_dataset(path, engine="h5netcdf") as opened:
            dataset = opened.load()
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} cannot be read as NetCDF ({error}); it may be truncated: fetch or record it again") from error
    if dataset.attrs.get("format") != FORMAT:
        raise DatasetError(f"{path} has the format {dataset.attrs.get('format')!r}, this version reads {FORMAT!r}")
    lacking = [name for name in _ATTRIBUTES if name not in dataset.attrs]
    if lacking:
        raise DatasetError(f"{path} lacks the attributes {lacking}; fetch or record it again")
    try:
        variables = tuple(decode(Variable, entry) for entry in json.loads(dataset.attrs["variables"]))
        face = decode(Face, json.loads(dataset.attrs["face"])) if "face" in dataset.attrs else None
    except (SchemaError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: the description of the variables cannot be used: {error}") from error
    try:
        provenance = json.loads(dataset.attrs["provenance"])
        step_size = float(dataset.attrs["communication_step_size"])
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: its provenance or step size cannot be used: {error}") from error

    def stack(causality: Causality) -> Any:
        names = [v.name for v in with_causality(variables, causality)]
        missing = [name for name in names if name not in dataset]
        if missing:
            raise DatasetError(f"{path}: the variables {missing} are described but not stored")
        if not names:
            return np.zeros((dataset.sizes["run"], 0))
        return np.stack([dataset[name].to_numpy().astype("float64") for name in names], axis=-1)

    trajectories = Trajectories(
        variables,
        step_size,
        stack(Causality.INPUT),
        stack(Causality.PARAMETER),
        stack(Causality.OUTPUT),
        dataset["plant_seed"].to_numpy(),
        dataset["schedule"].to_numpy(),
        provenance,
        face,
    )
    if trajectories.checksum() != dataset.attrs["checksum"]:
        raise DatasetError(f"{path}: the values do not match the checksum; the file was changed: fetch or record it again")
    return trajectories
