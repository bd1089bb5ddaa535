"""Recording a small plant: equal to driving it, resumable, failures set aside."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.dataset.store import read_trajectories, write_trajectories
from surrogate_fmu.errors import DatasetError, PlantError
from surrogate_fmu.plant.design import Budget, Design, InputDesign, Range
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.protocol import load_plant
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.source import PlantSource
from tests.plant.plants import DRAWN

PLANT = """
import numpy as np
from surrogate_fmu.errors import PlantError
from surrogate_fmu.variables import Causality, Variable


class Tank:
    communication_step_size = 1.0
    variables = (
        Variable("flow", Causality.INPUT, "L/s", start=0.0),
        Variable("level_start", Causality.PARAMETER, "L", start=1.0),
        Variable("level", Causality.OUTPUT, "L"),
    )

    def reset(self, seed, parameters):
        if FAIL(seed):
            raise PlantError(f"seed {seed} bursts")
        self.gain = np.random.default_rng(seed).uniform(0.9, 1.1)
        self.level = parameters["level_start"]
        return {"level": self.level}

    def do_step(self, inputs, communication_step_size):
        self.level += self.gain * inputs["flow"] * communication_step_size
        return {"level": self.level}
"""
DESIGN = Design(
    inputs={"flow": InputDesign(-1.0, 2.0, DRAWN, (2.0, 6.0), includes_zero=True)},
    parameters={"level_start": Range(2.0, 8.0)},
    budgets=(Budget("flow", "level_start", 1.0, 0.0, 10.0, 2.0),),
)


def write_plant(folder: Path, fail: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "tank.py").write_text(PLANT.replace("FAIL(seed)", fail))


def test_schedules_keep_ranges_and_budget_and_do_not_change_when_more_are_drawn():
    few, many = draw_schedules(DESIGN, 9, 40, 1.0, 5), draw_schedules(DESIGN, 30, 40, 1.0, 5)
    for a, b in zip(few, many, strict=False):
        assert np.array_equal(a.inputs["flow"], b.inputs["flow"])
        assert a.parameters == b.parameters
    for schedule in many:
        flow = schedule.inputs["flow"]
        level = schedule.parameters["level_start"] + np.cumsum(flow)
        assert flow.min() >= -1.0
        assert flow.max() <= 2.0
        assert level.min() >= -1e-9
        assert level.max() <= 10.0 + 1e-9
    assert {s.excitations["flow"] for s in many} == set(DRAWN)


def test_recorded_runs_are_those_of_the_plant_and_recording_resumes(tmp_path: Path):
    write_plant(tmp_path / "whole", "False")
    schedules = draw_schedules(DESIGN, 4, 12, 1.0, 1)

    def go():
        return record(PlantSource("tank.py:Tank", tmp_path / "whole"), schedules, 2, 7, tmp_path / "runs", jobs=2)

    first = go()
    files = sorted((tmp_path / "runs").glob("*.npz"))
    assert len(first.trajectories) == len(files) == 8
    plant = load_plant("tank.py:Tank", tmp_path / "whole")
    runs = first.trajectories
    expected = simulate(plant, int(runs.plant_seed[3]), schedules[1].parameters, schedules[1].inputs)
    assert np.array_equal(runs.outputs[3], expected)
    before = {path: path.stat().st_mtime_ns for path in files[1:]}
    files[0].unlink()
    assert np.array_equal(go().trajectories.outputs, runs.outputs)
    assert before == {path: path.stat().st_mtime_ns for path in files[1:]}


def test_failed_runs_are_reported_and_left_out(tmp_path: Path):
    write_plant(tmp_path / "some", "seed % 2")
    schedules = draw_schedules(DESIGN, 6, 5, 1.0, 1)
    recording = record(PlantSource("tank.py:Tank", tmp_path / "some"), schedules, 2, 7, tmp_path / "runs", jobs=1)
    assert len(recording.trajectories) + len(recording.failures) == 12
    assert recording.failures
    assert all("bursts" in failure.reason for failure in recording.failures)
    write_plant(tmp_path / "none", "True")
    with pytest.raises(PlantError, match="none of the 12 runs"):
        record(PlantSource("tank.py:Tank", tmp_path / "none"), schedules, 2, 7, tmp_path / "other", jobs=1)


def test_datasets_are_read_back_and_damage_is_seen(tmp_path: Path):
    write_plant(tmp_path / "stored", "False")
    runs = record(
        PlantSource("tank.py:Tank", tmp_path / "stored"), draw_schedules(DESIGN, 2, 5, 1.0, 1), 1, 7, tmp_path / "r", jobs=1
    ).trajectories
    path = tmp_path / "runs.nc"
    write_trajectories(runs, path)
    read = read_trajectories(path)
    assert read.checksum() == runs.checksum()
    assert read.variables == runs.variables
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError):
        read_trajectories(path)
