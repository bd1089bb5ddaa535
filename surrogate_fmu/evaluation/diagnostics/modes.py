"""Two modes of an output: found in the plant's own runs, then counted in the surrogate's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_APART = 2.0  # Ashman's D from which two normal laws count as two modes
_LEAST = 0.05  # share of the points that a mode must hold
_ITERATIONS = 200


@dataclass(frozen=True)
class Modes:
    """Where two modes are.

    Attributes:
        low, high: their centres; a run is in a mode when it was last nearer to its centre than a quarter of the way.
        share: of the points in the upper one.
    """

    low: float
    high: float
    share: float

    def occupancy(self, values: Array) -> float:
        """Share of points in the upper mode."""
        return float((values > 0.5 * (self.low + self.high)).mean())

    def transitions(self, runs: Array) -> float:
        """Changes of the mode per step of runs (run, point), counted when the other mode is truly reached."""
        quarter = 0.25 * (self.high - self.low)
        side = np.where(runs > self.high - quarter, 1, np.where(runs < self.low + quarter, -1, 0))
        changes = 0
        for row in side:
            reached = row[row != 0]
            changes += int(np.count_nonzero(reached[1:] != reached[:-1]))
        return changes / float(max(1, runs.shape[0] * (runs.shape[1] - 1)))


def find_modes(values: Array) -> Modes | None:
    """The two modes of values (sample,), or None where one normal law or no clear valley describes them.

    Two normal laws by expectation maximisation; they count as modes when Ashman's D = sqrt(2) |m1 - m2| / sqrt(s1^2 + s2^2) is
    above 2 (Ashman, Bird, Zepf, AJ 108, 1994) and the density has a valley between them.
    """
    if values.std() <= 1e-9 * (np.abs(values).max() + 1.0):
        return None
    scaled = (values - values.mean()) / values.std()
    means, widths, share = np.quantile(scaled, [0.2, 0.8]), np.array([0.5, 0.5]), 0.5
    for _ in range(_ITERATIONS):
        density = np.exp(-0.5 * ((scaled[:, None] - means) / widths) ** 2) / widths * np.array([1.0 - share, share])
        weight = density / np.maximum(density.sum(axis=1, keepdims=True), 1e-300)
        total = np.maximum(weight.sum(axis=0), 1e-9)
        means = (weight * scaled[:, None]).sum(axis=0) / total
        widths = np.maximum(np.sqrt((weight * (scaled[:, None] - means) ** 2).sum(axis=0) / total), 0.02)
        share = float(total[1] / total.sum())
    apart = np.sqrt(2.0) * abs(means[1] - means[0]) / np.sqrt((widths**2).sum())
    if apart < _APART or not _LEAST < share < 1.0 - _LEAST:
        return None
    low, high = sorted(means)
    middle = np.mean((scaled > low + 0.4 * (high - low)) & (scaled < low + 0.6 * (high - low))) / 0.2
    sides = min(np.mean(np.abs(scaled - m) < 0.1 * (high - low)) / 0.2 for m in (low, high))
    if middle > 0.7 * sides:
        return None
    scale, centre = values.std(), values.mean()
    return Modes(float(centre + scale * low), float(centre + scale * high), share)
