"""`calibrate`: measurements of one unit in, an ensemble of the latents that explain them out."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import unspecialised
from surrogate_fmu.calibration.config import CalibrationConfig, Method
from surrogate_fmu.calibration.gradient import infer_by_gradient
from surrogate_fmu.calibration.kalman import infer_by_kalman
from surrogate_fmu.calibration.measurements import Measurements
from surrogate_fmu.calibration.particles import infer_by_particles
from surrogate_fmu.calibration.posterior import Diagnostics, Posterior
from surrogate_fmu.calibration.problem import Problem
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.variables import scalar_names

Array = NDArray[np.float64]
_METHODS: dict[Method, Callable[[Problem, Tensor, torch.Generator], tuple[Tensor, Tensor]]] = {
    Method.GRADIENT: infer_by_gradient,
    Method.ENKF: infer_by_kalman,
    Method.PARTICLES: infer_by_particles,
}
_OUTSIDE = 1e-3
_RESOLUTION = 1e-4  # of an output's range in the training data: the least noise that is reckoned with unless it is given


def calibrate(
    bundle: Bundle, measurements: Measurements, config: CalibrationConfig | None = None, device: str = "cpu"
) -> Posterior:
    """Infer which unit was measured.

    Args:
        bundle: a surrogate of the fleet; its latents are standard normal before anything is measured.
        measurements: of the unit, from the start of its run; outputs may be missing.
        config: method, noise, parameters to estimate.
        device: "cpu", "cuda", "cuda:1".

    Raises:
        ConfigError: a name in the configuration is not known, or the bundle is deterministic.
        DatasetError: the measurements do not fit the bundle, or are too few.
        BundleError, DeviceError: the bundle cannot be read, or not run there.
    """
    with unspecialised():
        return _calibrate(bundle, measurements, config or CalibrationConfig(), device)


def _calibrate(bundle: Bundle, measurements: Measurements, config: CalibrationConfig, device: str) -> Posterior:
    problem = Problem(bundle, measurements, config.estimate, device)
    random = torch.Generator().manual_seed(config.seed)
    prior = problem.draw(config.members, random)
    with torch.no_grad():
        before = problem.simulate(prior).cpu().double().numpy()
    spread = _over_measured(before.var(axis=0), problem)
    problem.noise = _noise(problem, config, spread)
    unknowns, log_weights = _METHODS[config.method](problem, prior, random)
    weights = torch.softmax(log_weights.double(), 0).cpu().numpy()
    effective = float(1.0 / (weights**2).sum())
    if config.method is Method.GRADIENT:
        weights = np.full(config.members, 1.0 / config.members)
    with torch.no_grad():
        after = problem.simulate(unknowns).cpu().double().numpy()
        p_value = _p_value(problem, unknowns, torch.from_numpy(weights).to(unknowns))
    diagnostics = Diagnostics(
        effective,
        _misfit(before, np.full(len(before), 1.0 / len(before)), measurements, problem),
        _misfit(after, weights, measurements, problem),
        tuple(spread.tolist()),
        p_value,
        p_value < _OUTSIDE,
    )
    parameters = np.tile(measurements.parameters, (len(weights), 1))
    names = [name for variable in bundle.manifest.parameters for name in scalar_names(variable)]
    estimated = problem.parameters(unknowns).cpu().double().numpy()
    for place, name in enumerate(config.estimate):
        parameters[:, names.index(name)] = estimated[:, place]
    return Posterior(
        bundle.digest,
        config.method,
        tuple(config.estimate),
        problem.run_latents(unknowns).cpu().double().numpy(),
        problem.step_latents(unknowns).cpu().double().numpy(),
        measurements.inputs,
        parameters,
        weights,
        problem.noise,
        diagnostics,
    )


def _noise(problem: Problem, config: CalibrationConfig, spread: Array) -> Array:
    """(output,)."""
    outputs = problem.manifest.outputs
    unknown = [name for name in config.noise if name not in [variable.name for variable in outputs]]
    if unknown:
        raise ConfigError(f"noise is given for {', '.join(map(repr, unknown))}; outputs are {', '.join(v.name for v in outputs)}")
    names = [variable.name for variable in outputs for _ in range(variable.size)]
    widths = np.array([problem.manifest.domain[name].max - problem.manifest.domain[name].min for name in names])
    shared = np.maximum(config.noise_share * np.nan_to_num(spread), _RESOLUTION * np.where(widths > 0, widths, 1.0))
    return np.array([config.noise.get(name, value) for name, value in zip(names, shared, strict=True)])


def _over_measured(squares: Array, problem: Problem) -> Array:
    """Root mean square over the measured points (point, output) -> (output,); not a number where there are none."""
    count = problem.measured.sum(axis=0)
    total = np.where(problem.measured, squares, 0.0).sum(axis=0)
    mean: Array = np.sqrt(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
    return mean


def _misfit(outputs: Array, weights: Array, measurements: Measurements, problem: Problem) -> tuple[float, ...]:
    squares = np.einsum("m,mpo->po", weights, (outputs - np.nan_to_num(measurements.outputs)) ** 2)
    return tuple(_over_measured(squares, problem).tolist())


def _p_value(problem: Problem, unknowns: Tensor, weights: Tensor) -> float:
    """Chi-squared of what was measured before anything was measured, exact where outputs are linear in the unknowns."""
    best = torch.cat([(weights @ unknowns)[None], unknowns])
    value = (problem.residuals(problem.simulate(best)).double().square().sum(1) + best.double().square().sum(1)).min()
    count = torch.tensor(float(problem.measured.sum()), dtype=torch.float64, device=value.device)
    return float(torch.special.gammaincc(0.5 * count, 0.5 * value))
