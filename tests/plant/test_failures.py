"""Recording plants that fail, are interrupted, or change; and finding plants by name."""

import re
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.plant.design import Design, Excitation, InputDesign, Range
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.protocol import Plant, load_plant
from surrogate_fmu.plant.record import Recording, record
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from tests.plant.plants import PLANT, write_plant

STEPS = 5
DESIGN = Design(
    inputs={
        "flow": InputDesign(-1.0, 1.0, (Excitation.STEPS,), (2.0, 6.0)),
        "ambient": InputDesign(280.0, 300.0, (Excitation.RAMPS,), (2.0, 6.0)),
    },
    parameters={"level_start": Range(1.0, 2.0)},
)
SCHEDULES = draw_schedules(DESIGN, 3, STEPS, 2.0, 9)


def record_plant(
    folder: Path,
    reference: str,
    jobs: int = 1,
    settings: PlantSettings | None = None,
    **options: object,
) -> Recording:
    return record(PlantSource(reference, folder, settings or PlantSettings()), SCHEDULES, 2, 4, folder / "runs", jobs, **options)


def test_recorded_runs_equal_direct_simulation_whatever_the_number_of_jobs(tmp_path: Path):
    folder = write_plant(tmp_path / "equal")
    recording = record_plant(folder, "tank.py:Tank", jobs=2, provenance={"why": "a test"})
    runs, plant = recording.trajectories, load_plant("tank.py:Tank", folder)
    assert recording.failures == ()
    assert (len(runs), runs.step_count, runs.provenance) == (6, STEPS, {"why": "a test"})
    assert runs.schedule.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(runs.plant_seed.tolist())) == 6
    for run in range(6):
        schedule = SCHEDULES[runs.schedule[run]]
        expected = simulate(plant, int(runs.plant_seed[run]), schedule.parameters, schedule.inputs)
        assert np.array_equal(runs.outputs[run], expected)
        assert np.array_equal(runs.inputs[run], np.stack([schedule.inputs["flow"], schedule.inputs["ambient"]], axis=-1))
        # A parameter that the design leaves out has the plant's start value.
        assert runs.parameters[run].tolist() == [schedule.parameters["level_start"], 3.0]


def test_only_missing_runs_are_simulated_again(tmp_path: Path):
    folder = write_plant(tmp_path / "resumed")
    first = record_plant(folder, "tank.py:Tank").trajectories
    files = sorted((folder / "runs").glob("*.npz"))
    assert len(files) == 6
    removed, kept = files[:2], {path: path.stat().st_mtime_ns for path in files[2:]}
    for path in removed:
        path.unlink()
    counted: list[int] = []

    def count(done: object, total: int) -> object:
        counted.append(total)
        return done

    assert record_plant(folder, "tank.py:Tank", progress=count).trajectories.checksum() == first.checksum()
    assert {path: path.stat().st_mtime_ns for path in files[2:]} == kept
    assert all(path.exists() for path in removed)
    assert counted == [6]


def test_a_changed_plant_is_recorded_anew(tmp_path: Path):
    """A run's file stands for all that determines the run, and the plant does."""
    leaking = PLANT.replace("uniform(0.0, 0.1)", "uniform(0.2, 0.3)")
    assert leaking != PLANT
    folder = write_plant(tmp_path / "changed")
    write_plant(folder, "leaking.py", leaking)
    first = record_plant(folder, "tank.py:Tank").trajectories
    second = record_plant(folder, "leaking.py:Tank").trajectories
    plant = load_plant("leaking.py:Tank", folder)
    expected = simulate(plant, int(second.plant_seed[0]), SCHEDULES[0].parameters, SCHEDULES[0].inputs)
    assert np.array_equal(second.outputs[0], expected)
    assert first.checksum() != second.checksum()


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("tank.py:Bursting", "the tank of seed .* burst at step 3"),
        ("tank.py:Diverging", "not finite at step 2: .*'temperature': .*nan"),
        (
            "tank.py:Overflowing",
            r"beyond 3\.4e\+38, the most that a dataset holds, at step 2: .*'temperature': .*does the plant diverge",
        ),
    ],
)
def test_failed_runs_are_left_out_and_reported_with_seed_schedule_and_reason(tmp_path: Path, reference: str, reason: str):
    folder = write_plant(tmp_path / reference.replace(":", "_"))
    recording = record_plant(folder, reference)
    whole = record(
        PlantSource("tank.py:Tank", folder), SCHEDULES, 2, 4, tmp_path / "whole", 1
    ).trajectories  # the same seeds, none of which fails
    odd = whole.plant_seed % 2 == 1
    assert 0 < odd.sum() < 6
    assert recording.trajectories.checksum() == whole.select(~odd).checksum()
    assert sorted((f.plant_seed, f.schedule) for f in recording.failures) == sorted(
        zip(whole.plant_seed[odd].tolist(), whole.schedule[odd].tolist(), strict=True)
    )
    for failure in recording.failures:
        assert re.search(reason, failure.reason)
    assert len(list((folder / "runs").iterdir())) == 6 - odd.sum()


def test_a_plant_that_never_starts_is_an_error(tmp_path: Path):
    folder = write_plant(tmp_path / "stuck")
    with pytest.raises(PlantError, match="none of the 6 runs could be finished; the first failed with: the valve is stuck"):
        record_plant(folder, "tank.py:NeverStarting")


def test_a_defect_of_the_plants_code_is_not_swallowed(tmp_path: Path):
    folder = write_plant(tmp_path / "defect", text=PLANT.replace('parameters.get("level_start", 1.0)', 'parameters["no_such"]'))
    with pytest.raises(KeyError, match="no_such"):
        record_plant(folder, "tank.py:Tank")


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("__import__('os')._exit(3)", "its process died with exit code 3; .*fewer --jobs"),
        ("__import__('time').sleep(600)", "not finished after 2 s"),
    ],
    ids=["dies", "hangs"],
)
def test_a_run_that_takes_its_process_along_is_set_aside_and_the_others_go_on(tmp_path: Path, defect: str, reason: str):
    folder = write_plant(tmp_path / "defect", text=PLANT.replace("self.step += 1", f"self.seed % 2 and {defect}; self.step += 1"))
    recording = record_plant(folder, "tank.py:Tank", settings=PlantSettings(timeout_s=2.0))
    assert 0 < len(recording.failures) < 6
    assert len(recording.trajectories) == 6 - len(recording.failures)
    assert all(failure.plant_seed % 2 and re.search(reason, failure.reason) for failure in recording.failures)
    assert not (recording.trajectories.plant_seed % 2).any()


def test_settings_of_an_fmu_are_refused_for_a_class(tmp_path: Path):
    folder = write_plant(tmp_path / "class")
    with pytest.raises(ConfigError, match=r"how an FMU is driven, and .tank\.py:Tank. is none"):
        record_plant(folder, "tank.py:Tank", settings=PlantSettings(seed="seed"))


def test_a_plant_is_found_by_file_and_class(tmp_path: Path):
    plant = load_plant("tank.py:Tank", write_plant(tmp_path / "found"))
    assert isinstance(plant, Plant)
    assert plant.communication_step_size == 2.0


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tank.py", "plant 'tank.py': expected 'file.py:ClassName'"),
        ("none.py:Tank", "plant 'none.py:Tank': expected .*found no 'none.py'"),
        ("tank.py:Tnak", "plant 'tank.py:Tnak': tank.py has no class 'Tnak'"),
        ("tank.py:Unfinished", "Unfinished is no plant; it needs variables, communication_step_size, reset, do_step"),
    ],
)
def test_a_reference_that_names_no_plant_is_refused(tmp_path: Path, reference: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_plant(reference, write_plant(tmp_path / f"refused_{hash(reference)}"))


def test_a_missing_package_is_named_and_a_later_try_is_not_spoilt(tmp_path: Path):
    folder = write_plant(tmp_path / "missing", text="import no_such_solver\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="needs the package 'no_such_solver', which is not installed"):
            load_plant("tank.py:Tank", folder)


def test_plants_in_folders_of_the_same_name_are_told_apart(tmp_path: Path):
    first = write_plant(tmp_path / "one" / "tank_model")
    second = write_plant(tmp_path / "two" / "tank_model", text=PLANT.replace("= 2.0", "= 5.0"))
    assert load_plant("tank.py:Tank", first).communication_step_size == 2.0
    assert load_plant("tank.py:Tank", second).communication_step_size == 5.0
