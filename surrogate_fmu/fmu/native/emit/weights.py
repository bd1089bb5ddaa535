"""The constants of a model as one array: linear weights in panels as the kernels want them, all else row by row."""

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.fmu.native.graph import Constant, constant

NAME = "sf_weights"
BLOCK = 16
"""Outputs of a panel: SF_BLOCK in c/kernels.h."""


class WeightPool:
    """Collects constants; equal ones are kept once. Every entry starts at a multiple of 64 bytes.

    Args:
        float64: the element type is double instead of float.
    """

    def __init__(self, float64: bool) -> None:
        self.dtype = np.dtype("<f8" if float64 else "<f4")
        self._arrays: list[NDArray[np.floating]] = []
        self._offsets: dict[tuple[bytes, int], int] = {}
        self._known: dict[tuple[Constant, bool], int] = {}
        self._transposes: dict[Constant, Constant] = {}
        self._size = 0

    def plain(self, constant: Constant) -> int:
        """Where a constant lies, row-major, counted in numbers."""
        key = (constant, False)
        if key not in self._known:
            self._known[key] = self._add(constant.array.reshape(-1))
        return self._known[key]

    def panels(self, weight: Constant) -> int:
        """Where a weight (in, out) lies in panels (out / BLOCK, in, BLOCK), the last padded with zeros."""
        key = (weight, True)
        if key not in self._known:
            inputs, outputs = weight.shape
            padded = np.zeros((inputs, -(-outputs // BLOCK) * BLOCK), self.dtype)
            padded[:, :outputs] = weight.array
            self._known[key] = self._add(padded.reshape(inputs, -1, BLOCK).transpose(1, 0, 2).reshape(-1))
        return self._known[key]

    def transposed(self, weight: Constant) -> Constant:
        """The transpose of a weight; one for all uses of it."""
        if weight not in self._transposes:
            self._transposes[weight] = constant(np.ascontiguousarray(weight.array.T))
        return self._transposes[weight]

    def content(self) -> bytes:
        """The array, little-endian; never empty, as C has no empty arrays."""
        pieces = [array.tobytes() for array in self._arrays] or [bytes(64)]
        return b"".join(piece + bytes(-len(piece) % 64) for piece in pieces)

    def _add(self, array: NDArray[np.floating]) -> int:
        array = np.ascontiguousarray(array, dtype=self.dtype)
        key = (array.tobytes(), array.size)
        if key not in self._offsets:
            self._offsets[key] = self._size
            self._arrays.append(array)
            self._size += -(-array.nbytes // 64) * 64 // self.dtype.itemsize
        return self._offsets[key]
