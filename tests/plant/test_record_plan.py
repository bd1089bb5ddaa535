"""`surrogate-fmu record Slow.fmu --plan plan.toml`: an FMU, and a file that says no more than how it is recorded."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.config import load_config, surrogate_name
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Causality
from tests.plant.plants import CONFIG, write_plant

PLAN = CONFIG[CONFIG.index("[recording]") :]
TRAINING = """
[training]
updates = 3
batch_size = 2
window_steps = [3, 5]
validations = 1
validation_members = 2

[training.energy]
members = 2
encoder_width = 4

[training.generator]
run_latent_dim = 1
memory_dim = 2
width = 4
"""


@pytest.fixture(scope="module")
def tank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tank as an FMU, in a folder with a space."""
    folder = write_plant(tmp_path_factory.mktemp("slow plants"))
    return build_plant_fmu("tank.py:Tank", folder, folder / "Slow-Tank.fmu")


def write_plan(folder: Path, text: str = PLAN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(text)
    return folder / "plan.toml"


def test_an_fmu_and_a_plan_are_enough(tank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, output = write_plan(tmp_path / "plans"), tmp_path / "runs"
    assert main(["record", str(tank), "--plan", str(plan), "--jobs", "2", "-o", str(output)]) == 0
    assert "train.nc: 6 runs of 5 steps" in capsys.readouterr().out
    train, validation = (read_trajectories(output / f"{split}.nc") for split in ("train", "validation"))
    assert (len(train), len(validation), train.step_count, train.communication_step_size) == (6, 3, 5, 2.0)
    assert train.names(Causality.INPUT) == ("flow", "ambient")
    assert train.names(Causality.PARAMETER) == ("level_start",)  # of the design, the others keep their start values
    assert train.names(Causality.OUTPUT) == ("level", "temperature")
    assert np.ptp(train.parameters) > 0.1
    plant = FmuPlant(tank, PlantSettings(parameters=("level_start",)))
    inputs = dict(zip(("flow", "ambient"), train.inputs[0].T, strict=True))
    seen = simulate(plant, int(train.plant_seed[0]), {"level_start": float(train.parameters[0, 0])}, inputs)
    np.testing.assert_allclose(train.outputs[0], seen, rtol=1e-5, atol=1e-5)  # stored as float32
    assert train.provenance["plant"].endswith("Slow-Tank.fmu")


def test_the_same_data_come_out_from_anywhere_and_with_any_number_of_jobs(tank: Path, tmp_path: Path) -> None:
    checksums = set()
    for name, jobs in (("one", "1"), ("two", "2")):
        plan = write_plan(tmp_path / name / "deep")
        assert main(["record", str(tank), "--plan", str(plan), "--set", "train", "--jobs", jobs, "-o", str(tmp_path / name)]) == 0
        checksums.add(read_trajectories(tmp_path / name / "train.nc").checksum())
    assert len(checksums) == 1
    # Where the plan lies is no part of what a run is: nothing is run again.
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "one" / "train.runs").iterdir()}
    plan = write_plan(tmp_path / "elsewhere")
    assert main(["record", str(tank), "--plan", str(plan), "--set", "train", "-o", str(tmp_path / "one")]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one" / "train.runs").iterdir()} == files


def test_the_folder_of_the_plan_is_taken_where_no_other_is_named(tank: Path, tmp_path: Path) -> None:
    text = f'[plant]\noutputs = ["level"]\nparameters = ["level_start", "area"]\n\n{PLAN}'
    plan = write_plan(tmp_path, text)
    assert main(["record", str(tank), "--plan", str(plan), "--set", "validation", "--jobs", "1"]) == 0
    runs = read_trajectories(tmp_path / "data" / "validation.nc")
    assert [v.name for v in runs.variables] == ["flow", "ambient", "level_start", "area", "level"]


def test_what_was_recorded_can_be_trained_on(tank: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    assert main(["record", str(tank), "--plan", str(plan), "--jobs", "2", "-o", str(tmp_path / "runs")]) == 0
    head = CONFIG[: CONFIG.index("[recording]")].replace("tank.py:Tank", "Slow.fmu").replace('area = "m2"\n', "")
    config = tmp_path / "surrogate.toml"
    config.write_text(head.replace("[variables]", 'data = "runs"\n\n[variables]') + PLAN + TRAINING)
    assert main(["train", str(config)]) == 0
    assert [v.name for v in read_bundle(tmp_path / "tank.bundle").manifest.inputs] == ["flow", "ambient"]


def test_the_fmu_takes_the_place_of_the_plant_of_a_whole_configuration(tank: Path, tmp_path: Path) -> None:
    whole = CONFIG.replace('area = "m2"\n', "")
    config = load_config(write_plan(tmp_path, whole), tank)
    assert config.surrogate.name == "tank" and config.plant_source.file.samefile(tank)
    shutil.copy(tank, tmp_path / "9 volts.fmu")
    config = load_config(write_plan(tmp_path), tmp_path / "9 volts.fmu")
    assert (config.surrogate.name, config.surrogate.plant) == ("s_9_volts", "9 volts.fmu")
    assert dict(config.variables) == {"flow": "L/s", "ambient": "K", "level_start": "L", "level": "L", "temperature": "K"}
    assert surrogate_name("Slow-Tank") == "Slow_Tank"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[recording.design.inputs.flow]", "[recording.design.inputs.flaw]", "there is no 'flaw' here; there are flow, ambient"),
        ("level_start = {", "level_strat = {", "has no numeric parameter 'level_strat'; it has level_start, area, seed"),
        ("[recording.design.inputs.ambient]", "[recording.design.inputs.level]", "has no input 'level'; it has flow, ambient"),
        ("[recording]\n", "[recordings]\n", "recordings: unknown key; did you mean 'recording'?"),
        ("[recording]\n", 'surrogate = "tank"\n\n[recording]\n', "surrogate: expected a table of SurrogateSection, got 'tank'"),
        ("[recording]\n", '[variables]\nflow = "m3/s"\n\n[recording]\n', "there is no 'ambient' here; there are flow"),
        ("[recording]\n", "[plant]\ncommunication_step_size = -1.0\n\n[recording]\n", "cannot be negative"),
    ],
)
def test_a_plan_that_does_not_fit_the_fmu_is_refused(
    tank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, message: str
) -> None:
    plan = write_plan(tmp_path, PLAN.replace(before, after, 1))
    assert main(["record", str(tank), "--plan", str(plan), "--jobs", "1"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_an_input_that_the_plan_leaves_out_is_asked_for(tank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = PLAN.index("[recording.design.inputs.ambient]")
    plan = write_plan(tmp_path, PLAN[:start] + PLAN[PLAN.index("[recording.design.parameters]") :])
    assert main(["record", str(tank), "--plan", str(plan), "--jobs", "1"]) == 2
    assert "has the input 'ambient'; say how it is excited, or name it in held" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Slow.fmu"], "Slow.fmu does not say how its inputs are excited; give a plan with [recording]: record Slow.fmu --plan"),
        (["--plan", "plan.toml"], "--plan goes with an FMU: record Slow.fmu --plan plan.toml; got none"),
        (
            ["surrogate.toml", "--plan", "plan.toml"],
            "--plan goes with an FMU: record Slow.fmu --plan plan.toml; got surrogate.toml",
        ),
        (["Slow.fmu", "--plan", "none.toml"], "there is no configuration at none.toml"),
        ([], "record needs a surrogate.toml, or Slow.fmu --plan plan.toml, or --tap SYSTEM.ssp"),
        (["--tap", "s.ssp", "--component", "c", "--step-size", "1", "--plan", "plan.toml"], "neither a surrogate.toml nor --plan"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["record", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_fmu_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", str(tmp_path / "None.fmu"), "--plan", str(write_plan(tmp_path))]) == 2
    assert "there is no FMU at" in capsys.readouterr().err
