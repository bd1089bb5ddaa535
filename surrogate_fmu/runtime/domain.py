"""The training domain as a box, and the distance from it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.manifest import Manifest
from surrogate_fmu.variables import Variable, scalar_names


class DomainBox:
    """Ranges of some variables side by side, one entry per scalar.

    Plain Python: for the handful of scalars of a typical step this is several times faster than array operations.
    """

    def __init__(self, manifest: Manifest, variables: Sequence[Variable]) -> None:
        self._labels = [label for v in variables for label in scalar_names(v)]
        ranges = [manifest.domain[v.name] for v in variables for _ in range(v.size)]
        self._low = np.array([r.min for r in ranges], np.float64)
        self._high = np.array([r.max for r in ranges], np.float64)
        self._width = np.array([(r.max - r.min) or 1.0 for r in ranges], np.float64)
        self._ranges = [(r.min, r.max, (r.max - r.min) or 1.0) for r in ranges]

    def distance(self, values: Sequence[float]) -> float:
        """How far outside the worst entry of `values` (size,) lies, in widths of its range; 0 inside."""
        worst = 0.0
        for value, (low, high, width) in zip(values, self._ranges, strict=True):
            if not low <= value <= high:
                worst = max(worst, (low - value if value < low else value - high) / width)
        return worst

    def distances(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """The same of many rows (rows, size) at once: (rows,); not a number counts as inside."""
        if not rows.shape[1]:
            return np.zeros(len(rows))
        excess = np.maximum(self._low - rows, rows - self._high) / self._width
        return np.fmax(np.fmax.reduce(excess, axis=1), 0.0)  # type: ignore[no-any-return]

    def clamp(self, values: Sequence[float]) -> tuple[float, ...]:
        """The nearest values inside."""
        return tuple(min(max(value, low), high) for value, (low, high, _) in zip(values, self._ranges, strict=True))

    def describe(self, values: Sequence[float]) -> str:
        """The entry farthest outside, in words."""
        excess = [max(low - v, v - high) / width for v, (low, high, width) in zip(values, self._ranges, strict=True)]
        worst = excess.index(max(excess))
        low, high, _ = self._ranges[worst]
        return f"{self._labels[worst]} = {values[worst]:.6g} lies outside the training range [{low:.6g}, {high:.6g}]"
