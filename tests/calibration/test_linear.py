"""Where outputs are linear and noise is Gaussian, the posterior is known: every method finds it."""

from dataclasses import replace

import numpy as np
import pytest

from surrogate_fmu.calibration.calibrate import calibrate
from surrogate_fmu.calibration.config import CalibrationConfig, Method
from surrogate_fmu.manifest import Interval
from tests.calibration.linear import NOISE, closed_form, make_linear_bundle, measure

MEMBERS = 4000
GIVEN = {"level": NOISE, "drift": NOISE}


@pytest.fixture(scope="module", params=[False, True], ids=["run latents", "step latents too"])
def world(request: pytest.FixtureRequest):
    unknowns = np.random.default_rng(5).standard_normal(2 + 6 * request.param)
    return make_linear_bundle(request.param), measure(unknowns, 6, seed=3)


@pytest.mark.parametrize("method", list(Method))
def test_the_posterior_is_that_of_the_closed_form(world, method: Method):
    bundle, measurements = world
    posterior = calibrate(bundle, measurements, CalibrationConfig(method, MEMBERS, seed=1, noise=GIVEN))
    unknowns = np.concatenate([posterior.run_latents, posterior.step_latents[:, :, 0:1].reshape(MEMBERS, -1)], axis=1)
    mean, covariance = closed_form(measurements, unknowns.shape[1])
    found = posterior.weights @ unknowns
    spread = np.sqrt(np.diag(covariance))
    least = 1000  # independent draws: five standard errors of a mean are then 0.16 spreads
    assert posterior.diagnostics.effective_sample_size > least
    np.testing.assert_allclose((found - mean) / spread, 0.0, atol=5 / np.sqrt(least))
    deviations = unknowns - found
    measured = np.einsum("m,mi,mj->ij", posterior.weights, deviations, deviations)
    scale = np.outer(spread, spread)
    np.testing.assert_allclose(measured / scale, covariance / scale, atol=5 * np.sqrt(2 / least))


def test_gradients_give_the_closed_form_itself(world):
    bundle, measurements = world
    posterior = calibrate(bundle, measurements, CalibrationConfig(Method.GRADIENT, MEMBERS, noise=GIVEN))
    assert posterior.diagnostics.effective_sample_size == pytest.approx(MEMBERS, rel=1e-2)


@pytest.mark.parametrize("method", list(Method))
def test_a_unit_beyond_the_fleet_is_called_so_and_one_of_it_is_not(world, method: Method):
    bundle, measurements = world
    config = CalibrationConfig(method, 500, noise=GIVEN)
    assert not calibrate(bundle, measurements, config).diagnostics.outside_prior
    strange = replace(measurements, outputs=measurements.outputs + np.where(np.arange(7) % 2, 3.0, -3.0)[:, None])
    assert calibrate(bundle, strange, config).diagnostics.outside_prior


@pytest.mark.parametrize("method", list(Method))
def test_an_unknown_parameter_is_found_within_its_range(method: Method):
    bundle = make_linear_bundle(False)
    measurements = measure(np.array([0.3, -0.6]), 8, seed=7, offset=1.2)
    unknown = replace(measurements, parameters=np.array([np.nan]))
    config = CalibrationConfig(method, 1000, noise=GIVEN, estimate={"offset": Interval(-3.0, 3.0)})
    posterior = calibrate(bundle, unknown, config)
    offsets = posterior.parameters[:, 0]
    assert offsets.min() > -3.0 and offsets.max() < 3.0
    mean = posterior.weights @ offsets
    spread = np.sqrt(posterior.weights @ (offsets - mean) ** 2)
    assert abs(mean - 1.2) < 4 * spread and spread < 0.6 < 6.0 / np.sqrt(12)


def test_equal_seeds_give_equal_members(world):
    bundle, measurements = world
    for method in Method:
        first, second = (calibrate(bundle, measurements, CalibrationConfig(method, 64, seed=9)) for _ in range(2))
        assert np.array_equal(first.run_latents, second.run_latents) and np.array_equal(first.weights, second.weights)


def test_misfit_falls_to_the_noise_and_nothing_is_said_of_what_was_not_measured(world):
    bundle, measurements = world
    found = calibrate(bundle, measurements.only(bundle.manifest, ["level"]), CalibrationConfig(noise=GIVEN)).diagnostics
    assert found.misfit_after[0] < 2 * NOISE < found.misfit_before[0]
    assert np.isnan([found.misfit_after[1], found.misfit_before[1]]).all()
