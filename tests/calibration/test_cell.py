"""The shipped cell: measuring a tenth of a run of an unseen cell says much of the rest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration.run import WINDOW, crps, ratios
from surrogate_fmu import open_member, read_bundle, read_measurements, read_trajectories
from surrogate_fmu.calibration.calibrate import calibrate
from surrogate_fmu.calibration.config import CalibrationConfig, Method
from surrogate_fmu.calibration.measurements import measurements_of
from surrogate_fmu.calibration.resume import replay
from surrogate_fmu.runtime.ensemble import RolloutRun, rollout

CELL = Path("models/dfn_cell")
MEMBERS = 64
MEASURED = ("voltage", "temperature")


@pytest.mark.parametrize("method", list(Method))
def test_a_tenth_of_a_run_takes_a_third_off_the_crps_of_the_rest(method: Method):
    bundle, data = read_bundle(CELL / "dfn_cell.bundle"), read_trajectories(CELL / "data/test.nc")
    runs = np.array([np.flatnonzero(data.schedule == number)[40] for number in np.unique(data.schedule)])
    before, after, conditions = np.empty((12, 1, 4)), np.empty((12, 1, 4)), data.conditions()
    for place, run in enumerate(runs):
        rest = data.outputs[run, WINDOW + 1 :]
        fleet = rollout(bundle, np.repeat(conditions[run][None], MEMBERS, axis=0), np.arange(MEMBERS))
        before[place, 0] = crps(fleet[:, WINDOW + 1 :], rest)
        window = measurements_of(data, int(run), bundle.manifest).until(WINDOW).only(bundle.manifest, MEASURED)
        posterior = calibrate(bundle, window, CalibrationConfig(method, 256))
        assert not posterior.diagnostics.outside_prior
        standing = replay(bundle, posterior, posterior.choose(MEMBERS, seed=0))
        points, _ = RolloutRun(bundle, conditions[run, WINDOW:], np.arange(MEMBERS), standing=standing).advance(200)
        after[place, 0] = crps(points[:, 1:], rest)
    assert ratios(after, before)[-1] < 0.7


def test_a_cell_that_no_cell_of_the_fleet_resembles_is_called_so():
    bundle = read_bundle(CELL / "dfn_cell.bundle")
    window = read_measurements(CELL / "data/test.nc", bundle.manifest, run=3).until(WINDOW)
    shifted = replace(window, outputs=window.outputs + np.array([0.0, 5.0, 0.0, 0.0]))
    assert not calibrate(bundle, window).diagnostics.outside_prior
    assert calibrate(bundle, shifted).diagnostics.outside_prior


def test_an_unknown_charge_at_the_start_is_found_from_the_voltage():
    bundle = read_bundle(CELL / "dfn_cell.bundle")
    window = read_measurements(CELL / "data/test.nc", bundle.manifest, run=3).until(WINDOW).only(bundle.manifest, MEASURED)
    truth = float(window.parameters[0])
    unknown = replace(window, parameters=np.array([np.nan, window.parameters[1]]))
    posterior = calibrate(bundle, unknown, CalibrationConfig(Method.PARTICLES, 1024, estimate={"soc_start": None}))
    found = posterior.weights @ posterior.parameters[:, 0]
    spread = np.sqrt(posterior.weights @ (posterior.parameters[:, 0] - found) ** 2)
    assert abs(found - truth) < 4 * spread + 0.01 and spread < 0.05


def test_a_session_goes_on_as_the_measured_cell():
    bundle = read_bundle(CELL / "dfn_cell.bundle")
    run = read_measurements(CELL / "data/test.nc", bundle.manifest, run=3)
    posterior = calibrate(bundle, run.until(WINDOW), CalibrationConfig(members=64))
    with open_member(bundle, posterior, 0) as cell:
        assert cell.time == WINDOW * 10.0
        now = run.outputs[WINDOW]
        assert abs(cell.outputs["voltage"] - now[0]) < 0.01 and abs(cell.outputs["temperature"] - now[1]) < 0.2
        following = cell.do_step({"current": run.inputs[WINDOW, 0], "ambient_temperature": run.inputs[WINDOW, 1]})
        assert abs(following["voltage"] - run.outputs[WINDOW + 1, 0]) < 0.02
