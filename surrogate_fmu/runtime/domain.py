"""The training domain as a box, and the distance from it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.manifest import Manifest
from surrogate_fmu.variables import Variable

Array = NDArray[np.float64]


class DomainBox:
    """Ranges of some variables side by side, one entry per scalar."""

    def __init__(self, manifest: Manifest, variables: Sequence[Variable]) -> None:
        self.labels = [label for v in variables for label in scalar_names(v)]
        ranges = [manifest.domain[v.name] for v in variables for _ in range(v.size)]
        self._low = np.array([r.min for r in ranges], dtype=np.float64)
        self._high = np.array([r.max for r in ranges], dtype=np.float64)
        width = self._high - self._low
        self._width = np.where(width > 0, width, 1.0)

    def distance(self, values: Array) -> float:
        """How far outside the worst entry of `values` (size,) lies, in widths of its range; 0 inside."""
        return float(self._excess(values).max(initial=0.0))

    def clamp(self, values: Array) -> Array:
        """The nearest values inside."""
        return np.clip(values, self._low, self._high)

    def describe(self, values: Array) -> str:
        """The entry farthest outside, in words."""
        worst = int(self._excess(values).argmax())
        return (
            f"{self.labels[worst]} = {values[worst]:.6g} lies outside the training range "
            f"[{self._low[worst]:.6g}, {self._high[worst]:.6g}]"
        )

    def _excess(self, values: Array) -> Array:
        return np.maximum(np.maximum(self._low - values, values - self._high), 0.0) / self._width


def scalar_names(variable: Variable) -> list[str]:
    """Names of the scalars of a variable: its own, or `name[i,j]` counted from 1 as FMI 2 does."""
    if not variable.shape:
        return [variable.name]
    return [f"{variable.name}[{','.join(str(i + 1) for i in index)}]" for index in np.ndindex(variable.shape)]
