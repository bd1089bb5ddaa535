"""Taps in masters that others wrote: a coupled system with the plant, and with the plant inside a tap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.guard import Leader
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig
from surrogate_fmu.fmu.tap.reading import TapRun, read_logs
from surrogate_fmu.manifest import Interval
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.settings import PlantSettings
from tests.fmu.tap.plants import make_surrogate_bundle, plain
from tests.masters.conftest import BuildController
from tests.masters.masters import FMPY, Master
from tests.masters.system import System, controlled

SEEDS = {"first": 7, "second": 8}
POWER_MAX = 25.0  # that the surrogate has learned [W]; the thermostat begins with 30


@pytest.fixture(scope="module")
def slow(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[FmiVersion, Path]:
    folder = tmp_path_factory.mktemp("slow")
    built = {fmi: build_native_fmu(toy_bundle, folder / f"native{fmi[0]}.fmu", BuildConfig(fmi=fmi)) for fmi in FmiVersion}
    return {fmi: plain(path, folder / f"Slow{fmi[0]}.fmu") for fmi, path in built.items()}


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    domain = {"power": Interval(-50.0, POWER_MAX)}
    bundle = make_surrogate_bundle(domain)
    return build_native_fmu(bundle, tmp_path_factory.mktemp("fast") / "Fast.fmu", BuildConfig())


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the taps log to; masters have working directories of their own."""
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "logs"))
    return tmp_path / "logs"


def system_of(plant: Path, controller: Path) -> System:
    return replace(controlled({name: (plant, seed) for name, seed in SEEDS.items()}, controller), steps=30)


def logs_of(folder: Path) -> list[TapRun]:
    """By seed, for masters call their instances as they like."""
    return sorted(read_logs([folder]), key=lambda run: run.parameters["seed"])


def skip_unless_taken(master: Master, fmi: FmiVersion) -> None:
    """A tap is a Python FMU."""
    if not master.takes(Backend.PYTHON, fmi):
        pytest.skip(f"{master.name} does not take Python FMUs of FMI {fmi}")


def test_a_recorder_changes_no_bit(
    master: Master, fmi: FmiVersion, slow: dict[FmiVersion, Path], controller: BuildController, logs: Path, tmp_path: Path
) -> None:
    skip_unless_taken(master, fmi)
    tap = build_tap_fmu(slow[fmi], tmp_path / "tap.fmu", TapConfig()).path
    folders = [tmp_path / name for name in ("bare", "tapped")]
    for folder in folders:
        folder.mkdir()
    bare, tapped = (
        master.run(system_of(plant, controller(fmi, master.own_outputs)), folder)
        for plant, folder in zip((slow[fmi], tap), folders, strict=True)
    )
    tapped.assert_equal(bare)
    runs = logs_of(logs)
    assert [run.parameters["seed"] for run in runs] == [7.0, 8.0]
    for run, columns in zip(runs, (slice(0, 2), slice(3, 5)), strict=True):
        decimals = 17 if bare.decimals is None else bare.decimals
        np.testing.assert_allclose(
            run.plant[1:][: len(bare.values)], bare.values[:, columns], rtol=0.0, atol=0.5001 * 10.0**-decimals
        )


def test_a_guard_hands_over_and_gives_back(
    master: Master, slow: dict[FmiVersion, Path], fast: Path, controller: BuildController, logs: Path, tmp_path: Path
) -> None:
    """The thermostat begins beyond what the surrogate has learned, and comes back."""
    skip_unless_taken(master, FmiVersion.V2)
    guarded = TapConfig(Mode.GUARDED, inside=3)
    tap = build_tap_fmu(slow[FmiVersion.V2], tmp_path / "tap.fmu", guarded, fast).path
    trajectory = master.run(system_of(tap, controller(FmiVersion.V2, master.own_outputs)), tmp_path)
    for run, columns in zip(logs_of(logs), (slice(0, 2), slice(3, 5)), strict=True):
        assert [h.to for h in run.handovers][:2] == [Leader.PLANT, Leader.SURROGATE]
        assert run.handovers[0].reason.startswith("power = ") and run.handovers[0].replayed_steps <= 1
        outside = run.inputs[:, 0] > POWER_MAX
        assert outside.any() and run.plant_leads[outside].all() and not run.plant_leads.all()
        given = run.given[1:][: len(trajectory.values)]
        decimals = 17 if trajectory.decimals is None else trajectory.decimals
        np.testing.assert_allclose(given, trajectory.values[:, columns], rtol=0.0, atol=0.5001 * 10.0**-decimals)


@pytest.mark.parametrize("mode", [Mode.RECORD, Mode.GUARDED])
def test_steps_that_are_taken_twice_count_once(
    mode: Mode, fmi: FmiVersion, slow: dict[FmiVersion, Path], fast: Path, controller: BuildController, logs: Path, tmp_path: Path
) -> None:
    """A master that goes back to a saved state at every step."""
    config = TapConfig(mode, inside=3)
    tap = build_tap_fmu(slow[fmi], tmp_path / "tap.fmu", config, None if mode is Mode.RECORD else fast).path
    system, found = system_of(tap, controller(fmi)), []
    for variant in (system, system.with_rollback()):
        found.append((FMPY.run(variant, tmp_path), logs_of(logs)))
        for log in logs.iterdir():
            log.unlink()
    (once, first), (twice, second) = found
    twice.assert_equal(once)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(two.plant, one.plant)
        np.testing.assert_array_equal(two.inputs, one.inputs)
        assert [(h.communication_point, h.to) for h in two.handovers] == [(h.communication_point, h.to) for h in one.handovers]


def test_the_solver_after_a_handover_is_the_bare_one_with_equal_inputs(
    slow: dict[FmiVersion, Path], fast: Path, controller: BuildController, logs: Path, tmp_path: Path
) -> None:
    """What the solver gives in the system, replayed by the bare plant with the inputs of the log."""
    tap = build_tap_fmu(slow[FmiVersion.V2], tmp_path / "tap.fmu", TapConfig(Mode.GUARDED, inside=3), fast).path
    FMPY.run(system_of(tap, controller(FmiVersion.V2)), tmp_path)
    plant = FmuPlant(
        slow[FmiVersion.V2], PlantSettings(inputs=("power",), outputs=("temperature", "flow"), values={"temperature_start": 290.0})
    )
    for run in logs_of(logs):
        outputs = [plant.reset(int(run.parameters["seed"]), {})]
        outputs += [plant.do_step({"power": power}, 2.0) for power in run.inputs[:, 0]]
        expected = np.array([[point["temperature"], point["flow"]] for point in outputs])
        led = np.flatnonzero(run.plant_leads) + 1
        assert len(led) and led[0] <= 2
        np.testing.assert_array_equal(run.given[led], expected[led])
