"""Scores of forecasts and climates of a ring of variables, and their bootstrap intervals.

The scores are those of Gagne et al. (JAMES 12, 2020) and Parthipan et al. (GMD 16, 2023): Hellinger distances of the marginal and
of regimes, correlations in time and space, error and spread of ensembles; beside them the fair CRPS and the logarithmic score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
BINS = np.linspace(-15.0, 25.0, 81)  # of X; what lies outside counts in the outermost
_REGIME_BINS = 30
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if abs(self.value) >= 1.0 else 3
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def bootstrap(statistic: Callable[..., float], units: Sequence[Array], seed: int, resamples: int = 500) -> Estimate:
    """A statistic of independent units, which are resampled together.

    The interval is that of the resampled values around their mean, laid about the value: a distance of histograms grows when it is
    resampled, as chance adds to it, and percentiles alone would lie above the value itself.

    Args:
        statistic: of arrays (unit, ...).
        units: the arrays, of equally many units.
        seed: of the resampling.
        resamples: how many.
    """
    random = np.random.default_rng(seed)
    count = len(units[0])
    draws = [random.integers(count, size=count) for _ in range(resamples)]
    found = [statistic(*(part[draw] for part in units)) for draw in draws]
    value = float(statistic(*units))
    low, high = np.quantile(found, [0.025, 0.975]) - np.mean(found) + value
    return Estimate(value, float(low), float(high))


# -- forecasts: members (start, member, point, place), observed (start, observation, point, place) -> (start, point) --------


def crps(members: Array, observed: Array) -> Array:
    """Fair CRPS (Ferro, QJRMS 140, 2014), the mean over observations and places."""
    count = members.shape[1]
    ordered = np.sort(members, axis=1)
    weights = (2.0 * np.arange(1, count + 1) - count - 1).reshape(1, -1, 1, 1)
    gap = (weights * ordered).sum(axis=1) / (count * (count - 1))
    skill = np.mean([np.abs(members - observed[:, i : i + 1]).mean(axis=1) for i in range(observed.shape[1])], axis=0)
    result: Array = (skill - gap).mean(axis=-1)
    return result


def squared_error(members: Array, observed: Array) -> Array:
    """Squared error of the ensemble mean, the mean over observations and places."""
    result: Array = np.square(members.mean(axis=1, keepdims=True) - observed).mean(axis=(1, 3))
    return result


def variance(members: Array) -> Array:
    """What the squared error is on average where observations and members are of one law: (1 + 1 / member) x their variance."""
    result: Array = (1.0 + 1.0 / members.shape[1]) * members.var(axis=1, ddof=1).mean(axis=-1)
    return result


def logarithmic_score(members: Array, observed: Array) -> Array:
    """-log of the normal density with the members' mean and variance [nat], the mean over observations and places."""
    mean, var = members.mean(axis=1, keepdims=True), np.maximum(members.var(axis=1, ddof=1, keepdims=True), _SMALLEST)
    result: Array = (0.5 * (np.log(2.0 * np.pi * var) + (observed - mean) ** 2 / var)).mean(axis=(1, 3))
    return result


# -- climates: paths (run, point, place) -------------------------------------------------------------------------------------


def marginal_counts(paths: Array, bins: Array = BINS) -> Array:
    """Histograms of all places together, (run, bin)."""
    return np.stack([np.histogram(np.clip(path, bins[0], bins[-1]), bins)[0] for path in paths])


def hellinger(first: Array, second: Array) -> float:
    """Hellinger distance of two histograms summed over runs (run, bin, ...): sqrt(1 - sum sqrt(p q)), 0 to 1."""
    p, q = first.sum(axis=0) / first.sum(), second.sum(axis=0) / second.sum()
    return float(np.sqrt(max(0.0, 1.0 - np.sqrt(p * q).sum())))


class Regimes:
    """The plane of the norms of (PC1, PC2) and (PC3, PC4), in which Lorenz '96 has its regimes (Christensen et al., 2015).

    Principal components come in pairs, since the ring looks alike from every place.

    Args:
        truth: (run, point, place), decides components and bins.
    """

    def __init__(self, truth: Array) -> None:
        flat = truth.reshape(-1, truth.shape[-1])
        self._mean = flat.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov(flat.T))
        self._vectors = vectors[:, ::-1][:, :4]
        norms = self._norms(flat)
        self._edges = [np.linspace(0.0, np.quantile(norm, 0.9999), _REGIME_BINS + 1) for norm in norms]

    def counts(self, paths: Array) -> Array:
        """Histograms (run, bin, bin); what lies outside counts in the outermost."""
        return np.stack([self._histogram(path) for path in paths])

    def _histogram(self, path: Array) -> Array:
        first, second = (np.clip(norm, 0.0, edges[-1]) for norm, edges in zip(self._norms(path), self._edges, strict=True))
        return np.histogram2d(first, second, self._edges)[0]

    def _norms(self, flat: Array) -> tuple[Array, Array]:
        scores = (flat - self._mean) @ self._vectors
        return np.hypot(scores[:, 0], scores[:, 1]), np.hypot(scores[:, 2], scores[:, 3])


def correlations(paths: Array, lags: Sequence[int], mean: float, var: float) -> Array:
    """Correlation of X_k now with X_(k + shift) lags later, (run, shift, lag), shifts from 0 to half the ring.

    Args:
        paths: (run, point, place).
        lags: in points.
        mean, var: of X, the same for all runs.
    """
    centred = paths - mean
    shifts = range(paths.shape[-1] // 2 + 1)
    products = [
        [(centred[:, : centred.shape[1] - lag] * np.roll(centred[:, lag:], -shift, axis=2)).mean(axis=(1, 2)) for lag in lags]
        for shift in shifts
    ]
    return np.moveaxis(np.array(products), 2, 0) / var


def correlation_error(first: Array, second: Array) -> float:
    """Root mean square of the difference of two correlations (run, ...), each the mean over its runs."""
    return float(np.sqrt(np.mean((first.mean(axis=0) - second.mean(axis=0)) ** 2)))


def left(paths: Array, low: float, high: float) -> int:
    """Runs (run, point, place) that are not finite, or leave the range by more than its width."""
    width = high - low
    inside = (paths > low - width) & (paths < high + width)
    return int((~inside.all(axis=(1, 2))).sum())
