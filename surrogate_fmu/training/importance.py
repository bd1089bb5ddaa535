"""Importance weights: train on runs of one design for another one, w(x) = p_target(x) / p_source(x).

A weighted mean over n runs is as sure as one over (sum w)^2 / sum w^2 runs, the effective sample size (Kong, 1992). The ratio may
be known; from samples of both designs a classifier finds it: w = P(target | x) / P(source | x) * n_source / n_target (Sugiyama,
Suzuki, Kanamori, "Density Ratio Estimation in Machine Learning", 2012).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from surrogate_fmu.dataset.trajectories import Array
from surrogate_fmu.errors import TrainingError

_LEAST_SHARE = 0.1
_ITERATIONS = 400
_WEIGHT_DECAY = 1e-3


def effective_sample_size(weights: Array) -> float:
    """(sum w)^2 / sum w^2 of weights (run,)."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def check_weights(weights: Array | None, runs: int) -> Tensor | None:
    """Weights (run,) with mean 1, float32; None stays None.

    Raises:
        TrainingError: they are not one per run, not finite, negative, sum to nothing, or leave less than a tenth of the runs.
    """
    if weights is None:
        return None
    weights = np.asarray(weights, np.float64)
    if weights.shape != (runs,):
        raise TrainingError(f"importance weights have the shape {weights.shape}, expected one for each of {runs} runs")
    if not np.isfinite(weights).all() or weights.min() < 0.0 or weights.sum() == 0.0:
        raise TrainingError("importance weights must be finite and not negative, with a sum above 0")
    size = effective_sample_size(weights)
    if size < _LEAST_SHARE * runs:
        raise TrainingError(
            f"the importance weights leave an effective sample of {size:.1f} of {runs} runs, less than a tenth: few would decide "
            "all; record runs of the target design, or choose a target nearer to what was recorded"
        )
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def density_ratio(source: Array, target: Array, seed: int = 0, width: int = 0) -> Array:
    """The ratio of densities at the source samples, found by a classifier.

    Args:
        source: (run, feature), what was recorded.
        target: (sample, feature), what is wanted.
        seed: of the classifier's weights.
        width: hidden units; 0 takes a logistic regression on the features, their squares and products, which is exact between
            normal distributions.

    Returns:
        (run,), with mean 1.

    Raises:
        TrainingError: the two have other features.
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise TrainingError(f"source {source.shape} and target {target.shape} must be (sample, feature) with the same features")
    both = np.concatenate([source, target])
    scaled = (both - both.mean(axis=0)) / np.where(both.std(axis=0) > 0, both.std(axis=0), 1.0)
    if width == 0:
        rows, columns = np.triu_indices(scaled.shape[1])
        scaled = np.concatenate([scaled, scaled[:, rows] * scaled[:, columns]], axis=1)
    features = torch.tensor(scaled, dtype=torch.float32)
    sign = torch.cat([-torch.ones(len(source)), torch.ones(len(target))])
    balance = torch.cat([torch.full((len(source),), 0.5 / len(source)), torch.full((len(target),), 0.5 / len(target))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = features.shape[1]
        hidden = [nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()] if width else []
        classifier = nn.Sequential(*hidden, nn.Linear(width or size, 1), nn.Flatten(0))
    optimiser = torch.optim.LBFGS(classifier.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        decay = sum(parameter.square().sum() for parameter in classifier.parameters())
        value: Tensor = (balance * softplus(-sign * classifier(features))).sum() + _WEIGHT_DECAY / len(features) * decay
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        ratio = classifier(features[: len(source)]).double().exp().numpy()
    found: Array = ratio / ratio.mean()
    return found
