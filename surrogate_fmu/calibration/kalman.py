"""Ensemble Kalman inversion with perturbed observations, the data taken in several times with inflated noise.

ES-MDA (Emerick and Reynolds, Computers and Geosciences 55, 2013): the noise variance is multiplied by a_i with sum 1 / a_i = 1.
The a_i come from the misfit as it falls (Iglesias and Yang, Inverse Problems 37, 2021): with n values and misfits m = |r|^2 / 2
of the members, 1 / a = max(n / (2 mean m), sqrt(n / (2 var m))).
"""

import math

import torch
from torch import Tensor

from surrogate_fmu.calibration.problem import Problem

_SMALLEST_SHARE = 0.01  # 1 / a: bounds the count of passes


def infer_by_kalman(problem: Problem, prior: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lead members drawn before anything is measured to the posterior.

    Args:
        problem: with its noise set.
        prior: (member, dim).
        random: of the perturbations.

    Returns:
        Unknowns (member, dim), and the logarithms of their weights (member,), which are equal.
    """
    unknowns, taken = prior, 0.0
    with torch.no_grad():
        while taken < 1.0:
            residuals = problem.residuals(problem.simulate(unknowns))
            share = min(_share(residuals), 1.0 - taken)
            taken = 1.0 if taken + share > 1.0 - 1e-9 else taken + share
            unknowns = _update(unknowns, residuals, 1.0 / share, random)
    return unknowns, torch.zeros(len(unknowns), device=unknowns.device)


def _share(residuals: Tensor) -> float:
    misfits = 0.5 * residuals.double().square().sum(1)
    half = 0.5 * residuals.shape[1]
    mean, variance = float(misfits.mean()), float(misfits.var())
    return max(half / max(mean, 1e-12), math.sqrt(half / max(variance, 1e-12)), _SMALLEST_SHARE)


def _update(unknowns: Tensor, residuals: Tensor, inflation: float, random: torch.Generator) -> Tensor:
    """u - C_ug (C_gg + a)^-1 (r + sqrt(a) noise), by the singular values of the members' deviations."""
    noise = torch.randn(residuals.shape, generator=random).to(residuals.device)
    scale = math.sqrt(len(unknowns) - 1)
    deviations = (unknowns - unknowns.mean(0)) / scale
    left, values, right = torch.linalg.svd((residuals - residuals.mean(0)) / scale, full_matrices=False)
    factors = values / (values.square() + inflation)
    innovations = (residuals + math.sqrt(inflation) * noise) @ right.mT
    updated: Tensor = unknowns - (innovations * factors) @ (left.mT @ deviations)
    return updated
