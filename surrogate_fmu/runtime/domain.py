"""The training domain as a box, and the distance from it."""

from collections.abc import Sequence

from surrogate_fmu.manifest import Manifest
from surrogate_fmu.variables import Variable, scalar_names


class DomainBox:
    """Ranges of some variables side by side, one entry per scalar.

    Plain Python: for the handful of scalars of a typical step this is several times faster than array operations.
    """

    def __init__(self, manifest: Manifest, variables: Sequence[Variable]) -> None:
        self._labels = [label for v in variables for label in scalar_names(v)]
        ranges = [manifest.domain[v.name] for v in variables for _ in range(v.size)]
        self._ranges = [(r.min, r.max, (r.max - r.min) or 1.0) for r in ranges]

    def distance(self, values: Sequence[float]) -> float:
        """How far outside the worst entry of `values` (size,) lies, in widths of its range; 0 inside."""
        worst = 0.0
        for value, (low, high, width) in zip(values, self._ranges, strict=True):
            if not low <= value <= high:
                worst = max(worst, (low - value if value < low else value - high) / width)
        return worst

    def clamp(self, values: Sequence[float]) -> tuple[float, ...]:
        """The nearest values inside."""
        return tuple(min(max(value, low), high) for value, (low, high, _) in zip(values, self._ranges, strict=True))

    def describe(self, values: Sequence[float]) -> str:
        """The entry farthest outside, in words."""
        excess = [max(low - v, v - high) / width for v, (low, high, width) in zip(values, self._ranges, strict=True)]
        worst = excess.index(max(excess))
        low, high, _ = self._ranges[worst]
        return f"{self._labels[worst]} = {values[worst]:.6g} lies outside the training range [{low:.6g}, {high:.6g}]"
