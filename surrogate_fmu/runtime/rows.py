"""Numbers of many runs as the rows of tensors."""

from array import array
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.manifest import Manifest

_KEPT = 8  # batch sizes whose buffers are kept


class Rows:
    """Gathers the inputs of a batch in buffers that are used again for the next batch of the same size.

    Rows beyond those given repeat the first one, so that padding is always a valid step. On a GPU the buffers are pinned, and
    copied without a stop of the processor.

    Args:
        manifest: of the model.
        device: where the tensors go.
    """

    def __init__(self, manifest: Manifest, device: torch.device) -> None:
        self._widths = (manifest.condition_dim, manifest.latent_dim, manifest.hidden_dim)
        self._device = device
        self._buffers: dict[int, tuple[_Buffer, _Buffer, _Buffer]] = {}

    def condition(self, rows: Sequence[tuple[float, ...]], count: int) -> torch.Tensor:
        """(count, condition_dim) float32; a number beyond the range of float32 becomes infinite."""
        buffer = self._of(count)[0]
        # `array` makes an overflow infinite where numpy would warn
        numbers = array("f", rows[0] if len(rows) == 1 else chain.from_iterable(rows))
        buffer.wait()
        buffer.view[: len(rows)] = np.ndarray((len(rows), self._widths[0]), np.float32, numbers)
        return buffer.filled(len(rows), self._device)

    def latent(self, rows: Sequence[NDArray[np.float32]], count: int) -> torch.Tensor:
        """(count, latent_dim)."""
        return self._of(count)[1].gathered(rows, self._device)

    def hidden(self, rows: Sequence[NDArray[np.float32]], count: int) -> torch.Tensor:
        """(count, hidden_dim)."""
        return self._of(count)[2].gathered(rows, self._device)

    def _of(self, count: int) -> "tuple[_Buffer, _Buffer, _Buffer]":
        found = self._buffers.get(count)
        if found is None:
            if len(self._buffers) >= _KEPT:
                self._buffers.clear()
            pinned = self._device.type == "cuda"
            condition, latent, hidden = (_Buffer(count, width, pinned) for width in self._widths)
            found = self._buffers[count] = (condition, latent, hidden)
        return found


class _Buffer:
    """Memory of (count, width), as an array to write to and as a tensor to read from."""

    def __init__(self, count: int, width: int, pinned: bool) -> None:
        self.tensor = torch.zeros((count, width), pin_memory=pinned)
        self.view = self.tensor.numpy()
        self._count = count
        self._copied: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Wait until the last copy to the device has been made: what it reads must not change before."""
        if self._copied is not None:
            self._copied.synchronize()

    def gathered(self, rows: Sequence[NDArray[np.float32]], device: torch.device) -> torch.Tensor:
        self.wait()
        if self.view.shape[1]:
            for place, row in enumerate(rows):
                self.view[place] = row
        return self.filled(len(rows), device)

    def filled(self, given: int, device: torch.device) -> torch.Tensor:
        if given < self._count:
            self.view[given:] = self.view[0]
        if device.type == "cpu":
            return self.tensor
        there = self.tensor.to(device, non_blocking=True)
        if self._copied is None:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record()
        return there
