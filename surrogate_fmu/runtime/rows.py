"""Numbers of many runs as the rows of tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.manifest import Manifest


class Rows:
    """Makes the tensors of a batch. Rows beyond those given repeat the first one, so that padding is always a valid step.

    On a GPU the rows are gathered in pinned memory, from which they are copied without a stop of the processor.

    Args:
        manifest: of the model.
        device: where the tensors go.
    """

    def __init__(self, manifest: Manifest, device: torch.device) -> None:
        self._manifest = manifest
        self._device = device

    def condition(self, rows: Sequence[tuple[float, ...]], count: int) -> torch.Tensor:
        """(count, condition_dim) float32; a number beyond the range of float32 becomes infinite."""
        tensor, view = self._empty(count, self._manifest.condition_dim)
        with np.errstate(over="ignore"):
            view[: len(rows)] = rows
        return self._finish(tensor, view, len(rows))

    def latent(self, rows: Sequence[NDArray[np.float32]], count: int) -> torch.Tensor:
        """(count, latent_dim)."""
        return self._stacked(rows, count, self._manifest.latent_dim)

    def hidden(self, rows: Sequence[NDArray[np.float32]], count: int) -> torch.Tensor:
        """(count, hidden_dim)."""
        return self._stacked(rows, count, self._manifest.hidden_dim)

    def _stacked(self, rows: Sequence[NDArray[np.float32]], count: int, size: int) -> torch.Tensor:
        tensor, view = self._empty(count, size)
        for place, row in enumerate(rows):
            view[place] = row
        return self._finish(tensor, view, len(rows))

    def _empty(self, count: int, size: int) -> tuple[torch.Tensor, NDArray[np.float32]]:
        tensor = torch.empty((count, size), pin_memory=self._device.type == "cuda")
        return tensor, tensor.numpy()

    def _finish(self, tensor: torch.Tensor, view: NDArray[np.float32], given: int) -> torch.Tensor:
        if given < len(view):
            view[given:] = view[0]
        return tensor if self._device.type == "cpu" else tensor.to(self._device, non_blocking=True)
