"""`surrogate-fmu record` on a small plant: files, exit codes, words."""

from pathlib import Path

import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories
from tests.plant.plants import CONFIG, write_config


def test_all_sets_are_recorded_beside_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = write_config(tmp_path / "recorded_all")
    assert main(["record", str(config), "--jobs", "2"]) == 0
    train, validation = (read_trajectories(config.parent / "data" / f"{split}.nc") for split in ("train", "validation"))
    assert (len(train), len(validation), train.step_count) == (6, 3, 5)
    assert train.communication_step_size == 2.0
    assert train.provenance["set"] == {"schedules": 3, "individuals": 2, "seed": 1}
    assert train.provenance["plant"] == "tank.py:Tank"
    assert set(train.provenance["design"]["inputs"]) == {"flow", "ambient"}
    assert "train.nc: 6 runs of 5 steps" in capsys.readouterr().out


def test_one_set_goes_into_another_folder_and_twice_gives_equal_data(tmp_path: Path):
    config = write_config(tmp_path / "recorded_one")
    checksums = set()
    for folder in ("a", "b"):
        assert main(["record", str(config), "--set", "validation", "--jobs", "1", "-o", str(tmp_path / folder)]) == 0
        assert not (tmp_path / folder / "train.nc").exists()
        checksums.add(read_trajectories(tmp_path / folder / "validation.nc").checksum())
    assert len(checksums) == 1
    assert not (config.parent / "data").exists()


def test_failed_runs_are_named_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = write_config(tmp_path / "recorded_bursting", CONFIG.replace("tank.py:Tank", "tank.py:Bursting"))
    assert main(["record", str(config), "--set", "train", "--jobs", "1"]) == 4
    said = capsys.readouterr()
    kept = len(read_trajectories(config.parent / "data" / "train.nc"))
    assert 0 < kept < 6
    assert said.out.count("left out: plant seed") == 6 - kept
    assert "burst at step 3" in said.out
    assert f"error: {6 - kept} runs failed and were left out; the datasets hold the others" in said.err


@pytest.mark.parametrize(
    ("before", "after", "options", "message"),
    [
        ("", "", ["--set", "test"], "recording.sets: there is no set 'test'; there are train, validation"),
        ("", "", ["--jobs", "0"], "--jobs 0 must be at least 1"),
        (
            'temperature = "K"',
            'temperature = "degC"',
            [],
            "variables.temperature: the unit is 'degC' here, the plant tank.py:Tank has 'K'",
        ),
        ('area = "m2"\n', "", [], "the plant tank.py:Tank has the variable 'area', it is missing here; add area = \"m2\""),
        ("tank.py:Tank", "tank.py:Tub", [], "tank.py has no class 'Tub'"),
        ("steps = 5", "steps = five", [], "not TOML"),
    ],
)
def test_what_cannot_be_recorded_exits_with_2_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, options: list[str], message: str
):
    config = write_config(tmp_path / "recorded_wrong", CONFIG.replace(before, after, 1))
    assert main(["record", str(config), *options]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert not (config.parent / "data").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[recording.design.inputs.ambient]", "[recording.design.inputs.temperature]"),
        ("level_start = {", "level = {"),
    ],
)
def test_a_design_that_drives_what_is_no_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str
):
    """The design leaves out an input of the plant, or names an output in its place."""
    config = write_config(tmp_path / "recorded_design", CONFIG.replace(before, after, 1))
    assert main(["record", str(config), "--set", "validation", "--jobs", "1"]) == 2
    assert "surrogate.toml" in capsys.readouterr().err


def test_a_missing_configuration_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["record", str(tmp_path / "none.toml")]) == 2
    assert "there is no configuration at" in capsys.readouterr().err
