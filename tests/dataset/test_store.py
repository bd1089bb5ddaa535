"""Datasets on disk: what is written is read, and a file that was damaged or changed is refused."""

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from surrogate_fmu.dataset.store import read_trajectories, write_trajectories
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.variables import Causality, Variable
from tests.dataset.test_trajectories import VARIABLES, make_runs


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_trajectories(make_runs(), tmp_path / "data" / "runs.nc")
    return tmp_path / "data" / "runs.nc"


def test_what_is_written_is_read(stored: Path):
    runs, read = make_runs(), read_trajectories(stored)
    for name in ("inputs", "parameters", "outputs", "plant_seed", "schedule"):
        assert np.array_equal(getattr(read, name), getattr(runs, name)), name
    assert (read.variables, read.communication_step_size, read.provenance) == (runs.variables, 2.0, {"made": "here"})
    assert [path.name for path in stored.parent.iterdir()] == ["runs.nc"]


def test_values_are_kept_to_single_precision(tmp_path: Path):
    runs = dataclasses.replace(make_runs(), outputs=np.full((4, 4, 1), 1 / 3))
    write_trajectories(runs, tmp_path / "runs.nc")
    assert np.array_equal(read_trajectories(tmp_path / "runs.nc").outputs, np.full((4, 4, 1), float(np.float32(1 / 3))))


def test_large_seeds_are_kept_exactly(tmp_path: Path):
    seeds = np.array([2**62 + 1, 3, 2**31 - 1, 0])
    write_trajectories(dataclasses.replace(make_runs(), plant_seed=seeds), tmp_path / "runs.nc")
    assert read_trajectories(tmp_path / "runs.nc").plant_seed.tolist() == seeds.tolist()


def test_a_plant_without_parameters_is_stored(tmp_path: Path):
    runs = dataclasses.replace(make_runs(), variables=(*VARIABLES[:2], VARIABLES[3]), parameters=np.zeros((4, 0)))
    write_trajectories(runs, tmp_path / "runs.nc")
    assert read_trajectories(tmp_path / "runs.nc").parameters.shape == (4, 0)


def test_the_file_describes_itself_to_other_tools(stored: Path):
    with xarray.open_dataset(stored, engine="h5netcdf") as opened:
        assert dict(opened.sizes) == {"run": 4, "step": 3, "point": 4}
        assert (opened["power"].dims, opened["power"].attrs["units"]) == (("run", "step"), "W")
        assert opened["temperature"].dims == ("run", "point")
        assert opened["mass"].attrs["causality"] == "parameter"
        assert opened.attrs["communication_step_size"] == 2.0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(stored: Path, share: float):
    content = stored.read_bytes()
    stored.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match=r"runs\.nc cannot be read as NetCDF .*fetch or record it again"):
        read_trajectories(stored)


@pytest.mark.parametrize(
    ("name", "place"), [("power", (1, 2)), ("mass", (3,)), ("temperature", (0, 0)), ("plant_seed", (2,)), ("schedule", (0,))]
)
def test_a_changed_value_is_refused(stored: Path, name: str, place: tuple[int, ...]):
    with h5py.File(stored, "r+") as file:
        file[name][place] += 1
    with pytest.raises(DatasetError, match="the values do not match the checksum; the file was changed"):
        read_trajectories(stored)


def test_a_changed_step_size_is_refused(stored: Path):
    with h5py.File(stored, "r+") as file:
        file.attrs["communication_step_size"] = 3.0
    with pytest.raises(DatasetError, match="do not match the checksum"):
        read_trajectories(stored)


def test_another_format_is_refused_by_its_name(stored: Path):
    with h5py.File(stored, "r+") as file:
        file.attrs["format"] = "surrogate-fmu trajectories 2"
    with pytest.raises(DatasetError, match="has the format 'surrogate-fmu trajectories 2', this version reads"):
        read_trajectories(stored)


def test_a_netcdf_file_of_another_origin_is_refused(tmp_path: Path):
    xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DatasetError, match="has the format None"):
        read_trajectories(tmp_path / "a.nc")


def test_an_unknown_key_in_the_description_is_refused(stored: Path):
    with h5py.File(stored, "r+") as file:
        entries = json.loads(file.attrs["variables"])
        entries[0]["colour"] = "red"
        file.attrs["variables"] = json.dumps(entries)
    with pytest.raises(DatasetError, match="the description of the variables cannot be used: colour: unknown key"):
        read_trajectories(stored)


def test_a_described_variable_that_is_not_stored_is_named(stored: Path):
    with h5py.File(stored, "r+") as file:
        del file["flow"]
    with pytest.raises(DatasetError, match=r"the variables \['flow'\] are described but not stored"):
        read_trajectories(stored)


@pytest.mark.parametrize("attribute", ["variables", "provenance", "checksum", "communication_step_size"])
def test_a_missing_attribute_is_refused(stored: Path, attribute: str):
    with h5py.File(stored, "r+") as file:
        del file.attrs[attribute]
    with pytest.raises(DatasetError, match=attribute):
        read_trajectories(stored)


def test_a_description_that_is_no_json_is_refused(stored: Path):
    with h5py.File(stored, "r+") as file:
        file.attrs["variables"] = "["
    with pytest.raises(DatasetError, match="variables"):
        read_trajectories(stored)


def test_a_missing_file_is_named_with_the_verb_that_makes_one(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"there is no dataset at .*none\.nc; record one with: surrogate-fmu record"):
        read_trajectories(tmp_path / "none.nc")


@pytest.mark.parametrize("name", ["schedule", "plant_seed", "step"])
def test_a_variable_of_the_files_own_names_is_kept_or_refused(tmp_path: Path, name: str):
    variables = (*VARIABLES[:3], Variable(name, Causality.OUTPUT, "K"))
    runs: Trajectories = dataclasses.replace(make_runs(), variables=variables)
    try:
        write_trajectories(runs, tmp_path / "runs.nc")
    except DatasetError as error:
        assert repr(name) in str(error)
        return
    assert np.array_equal(read_trajectories(tmp_path / "runs.nc").outputs, runs.outputs)
