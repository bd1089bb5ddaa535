"""Where the surrogate cannot be trusted for other reasons than an input outside its domain."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fmpy import extract

from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.errors import SurrogateError
from surrogate_fmu.fmu.build import build_plant_fmu, build_python_fmu, build_remote_fmu
from surrogate_fmu.fmu.config import BuildConfig, OwnOutputs
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.inner import InnerFmu
from surrogate_fmu.fmu.tap.plan import Mode, TapConfig
from surrogate_fmu.fmu.tap.reading import TapRun, read_logs
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from tests.contract.tunable import make_tuned_bundle
from tests.fmu.tap.conftest import CALM, WILD, BuildTap, Run, outputs_of, set_value
from tests.fmu.tap.plants import LighterMass, make_surrogate_bundle, plain, rewritten
from tests.toy import MANIFEST, STEP_SIZE

Drive = Callable[..., Run]
TANK = '''
"""A tank that fails when it is full."""

from surrogate_fmu.errors import PlantError
from surrogate_fmu.variables import Causality, Variable


class Tank:
    """A tank."""

    communication_step_size = 0.5
    variables = (
        Variable("power", Causality.INPUT, "W", "of the pump", 1.0),
        Variable("temperature_start", Causality.PARAMETER, "K", "at the start", 2.0),
        Variable("temperature", Causality.OUTPUT, "K", "of the water"),
        Variable("flow", Causality.OUTPUT, "W", "nothing"),
    )

    def reset(self, seed, parameters):
        self.temperature = parameters["temperature_start"] + 0.1 * seed
        return {"temperature": self.temperature, "flow": 0.0}

    def do_step(self, inputs, communication_step_size):
        self.temperature += communication_step_size * inputs["power"] / 3.0
        if self.temperature > 310.0:
            raise PlantError("the tank boils over, 100 % of it")
        return {"temperature": self.temperature, "flow": 0.0}
'''
POWERS = [CALM, 20.0, 45.0, 30.0, CALM, 0.0]


def built(manifest: Manifest, path: Path) -> Path:
    return build_native_fmu(export_bundle(LighterMass(), replace(manifest, name="other_mass")), path, BuildConfig())


def only_log(logs: Path) -> TapRun:
    (run,) = read_logs([logs])
    return run


def test_a_value_that_the_surrogate_does_not_take_is_the_plants(
    plant: Path, tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path
) -> None:
    variables = tuple(replace(v, max=40.0) if v.name == "power" else v for v in MANIFEST.variables)
    narrow = built(replace(MANIFEST, variables=variables), tmp_path / "narrow.fmu")
    tapped, bare = drive(tap(Mode.GUARDED, narrow, inside=2), POWERS), drive(plant, POWERS)
    run = only_log(logs)
    assert run.plant_leads.tolist() == [False, False, True, True, True, False]
    assert run.handovers[0].reason.startswith("the surrogate does not take 'power' = 45.0: 'power': 45")
    np.testing.assert_array_equal(tapped.outputs[3:6], bare.outputs[3:6])


def test_a_step_that_the_surrogate_cannot_take_leaves_the_plant_alone(
    plant: Path, tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path
) -> None:
    coarse = built(replace(MANIFEST, step_size=4.0), tmp_path / "coarse.fmu")
    tapped, bare = drive(tap(Mode.GUARDED, coarse, inside=1), POWERS), drive(plant, POWERS)
    np.testing.assert_array_equal(tapped.outputs, bare.outputs)
    run = only_log(logs)
    assert run.plant_leads.all() and len(run.handovers) == 1
    assert (
        "the surrogate did not take the step from 0 s: a communication step of 2 s is no whole multiple" in run.handovers[0].reason
    )


def test_a_parameter_that_the_surrogate_does_not_have_leaves_the_plant_alone(
    plant: Path, surrogate: Path, tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path
) -> None:
    change = {'name="temperature_start"': 'name="something_else"'}
    path = tap(Mode.GUARDED, rewritten(surrogate, tmp_path / "other.fmu", change))
    tapped, bare = drive(path, POWERS), drive(plant, POWERS)
    np.testing.assert_array_equal(tapped.outputs, bare.outputs)
    reason = "'temperature_start' is set to 291.0, and the surrogate has no such variable"
    assert only_log(logs).handovers[0].reason == reason
    drive(path, POWERS, start={"temperature_start": 293.15})  # its start value
    assert not read_logs([logs])[1].plant_leads.any()


def test_a_spread_above_its_limit_is_the_plants(tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path) -> None:
    ensemble = build_python_fmu(make_surrogate_bundle(), tmp_path / "ensemble.fmu", ensemble=4)
    drive(tap(Mode.GUARDED, ensemble, spread={"temperature": 1e-4}), POWERS)
    drive(tap(Mode.GUARDED, ensemble, spread={"temperature": 1e4}), POWERS)
    tight, wide = read_logs([logs])
    assert tight.plant_leads.all() and tight.handovers[0].reason.startswith("the spread of 'temperature' is ")
    assert not wide.plant_leads.any()


def test_a_plant_in_python_is_tapped_and_its_failure_told(tmp_path: Path, logs: Path, drive: Drive) -> None:
    """A Python FMU inside a Python FMU."""
    (tmp_path / "tank.py").write_text(TANK)
    tank = build_plant_fmu("tank.py:Tank", tmp_path, tmp_path / "Tank.fmu")
    path = build_tap_fmu(tank, tmp_path / "TankTap.fmu", TapConfig()).path
    powers = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(drive(path, powers, 0.5).outputs, drive(tank, powers, 0.5).outputs)
    with pytest.raises(SurrogateError, match="the tank boils over, 100 % of it"):
        drive(path, [5.0, 5.0, 500.0, 5.0], 0.5)
    assert [run.step_count for run in read_logs([logs])] == [3, 2]


@pytest.mark.parametrize("own_outputs", [OwnOutputs.REAL, OwnOutputs.LOCAL], ids=str)
def test_a_guard_takes_a_surrogate_however_it_says_where_it_is(
    tap: BuildTap, drive: Drive, surrogate: Path, logs: Path, tmp_path: Path, own_outputs: OwnOutputs
) -> None:
    powers = [CALM, WILD, CALM, CALM, CALM]
    told = []
    for partner in (surrogate, build_native_fmu(make_surrogate_bundle(), tmp_path / "F.fmu", BuildConfig(own_outputs=own_outputs))):
        run = drive(tap(Mode.GUARDED, partner, inside=2), powers)
        (log,) = list(logs.iterdir())
        told.append((run.outputs, [(h.communication_point, h.to, h.reason) for h in only_log(logs).handovers]))
        log.unlink()
    np.testing.assert_array_equal(told[1][0], told[0][0])
    assert told[1][1] == told[0][1] and len(told[0][1]) == 2


def test_the_solver_leads_to_the_end_once_a_tunable_parameter_was_moved(logs: Path, tmp_path: Path) -> None:
    """In training it was constant over a run, so the surrogate is not trusted again when it is set back."""
    bundle = make_tuned_bundle()
    native = build_native_fmu(bundle, tmp_path / "native.fmu", BuildConfig())
    slow = plain(native, tmp_path / "Slow.fmu")
    tap = build_tap_fmu(slow, tmp_path / "tap.fmu", TapConfig(Mode.GUARDED, inside=1), native).path
    runs = []
    for number, fmu in enumerate((slow, tap)):
        extract(str(fmu), str(tmp_path / str(number)))
        instance = InnerFmu(tmp_path / str(number), "room")
        set_value(instance, "seed", 5)
        instance.setup_experiment(0.0)
        instance.enter_initialization_mode()
        instance.exit_initialization_mode()
        rows = []
        for step, gain in enumerate((1.0, 1.0, 2.0, 1.0, 1.0)):
            set_value(instance, "power", CALM)
            set_value(instance, "gain", gain)
            instance.advance(step * STEP_SIZE, STEP_SIZE)
            rows.append(outputs_of(instance))
        instance.terminate()
        runs.append(rows)
    assert runs[0] == runs[1]  # the surrogate is the plant here
    log = only_log(logs)
    np.testing.assert_array_equal(log.plant_leads, [False, False, True, True, True])
    (handover,) = log.handovers
    assert handover.reason == "gain = 2 was 1 when the run began, and in training it was constant over a run"


def test_the_end_of_a_run_is_that_of_a_served_surrogate_too(plant: Path, logs: Path, tmp_path: Path) -> None:
    """It gives its place at the service back, while the instance of the tap is still there to be read."""
    bundle = make_surrogate_bundle()
    with Server([bundle], ServeConfig(listen="127.0.0.1:0", session_limit=1)) as server:
        fast = build_remote_fmu(bundle, server.address, tmp_path / "Fast.fmu")
        tap = build_tap_fmu(plant, tmp_path / "tap.fmu", TapConfig(Mode.SHADOW), fast).path
        kept = []
        for number in range(3):
            extract(str(tap), str(tmp_path / str(number)))
            kept.append(InnerFmu(tmp_path / str(number), "room"))
            kept[-1].setup_experiment(0.0)
            kept[-1].enter_initialization_mode()
            kept[-1].exit_initialization_mode()
            kept[-1].advance(0.0, STEP_SIZE)
            kept[-1].terminate()
            assert np.isfinite(outputs_of(kept[-1])).all()
    assert all(np.isfinite(run.surrogate_outputs[1:]).all() for run in read_logs([logs]))
