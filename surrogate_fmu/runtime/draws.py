"""The latents of one run, drawn ahead."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.manifest import Manifest, ZMode
from surrogate_fmu.runtime.latent import LatentStream
from surrogate_fmu.runtime.run_state import RunState

_AHEAD_MAX = 64  # steps drawn in one call of the generator of bits
_AHEAD_NUMBERS = 1024  # of a block: what a run in use keeps in memory


class LatentDraws:
    """z of any step of one run, by its z_mode; a block of steps is drawn at a time and kept.

    Args:
        manifest: of the model.
        seed: of the run.
        z_mode: where its latents come from.

    Attributes:
        tensors: the rows of the block `tensors_of` on the device of the stepper that uses the run, which sets both.
    """

    __slots__ = ("_ahead", "_drawn", "_first", "_fixed", "_run_latent_dim", "_step_latent_dim", "_stream", "tensors", "tensors_of")

    def __init__(self, manifest: Manifest, seed: int, z_mode: ZMode) -> None:
        self._stream: LatentStream | None = None
        self._fixed: NDArray[np.float32] | None = None
        self._step_latent_dim = manifest.step_latent_dim
        self._run_latent_dim = manifest.run_latent_dim
        self._first = -1
        self._drawn = np.empty((0, manifest.latent_dim), np.float32)
        self.tensors: Sequence[Any] = ()
        self.tensors_of: NDArray[np.float32] | None = None
        self._ahead = max(1, min(_AHEAD_MAX, _AHEAD_NUMBERS // max(1, manifest.latent_dim)))
        if z_mode is ZMode.MEAN:
            self._fixed = np.zeros((1, manifest.latent_dim), np.float32)
        elif z_mode is not ZMode.EXTERNAL:
            stream = LatentStream(seed, manifest.run_latent_dim, manifest.step_latent_dim)
            if z_mode is ZMode.HELD or not manifest.step_latent_dim:
                self._fixed = np.concatenate([stream.run_latent, stream.step_latents(0, 1)[0]])[None]
            else:
                self._stream = stream

    def at(self, run: RunState, step: int) -> NDArray[np.float32]:
        """z of a step, (latent_dim,); not to be written to."""
        block, row = self.block(run, step)
        return block[row]  # type: ignore[no-any-return]

    def block(self, run: RunState, step: int) -> tuple[NDArray[np.float32], int]:
        """The block (steps, latent_dim) that a step lies in, and its row there. The same object until another one is drawn."""
        if self._fixed is not None:
            return self._fixed, 0
        if self._stream is None:
            given = np.ndarray((1, len(run.external_latent)), np.float32, array("f", run.external_latent))
            if given.shape[1] < self._run_latent_dim + self._step_latent_dim:
                stream = LatentStream(run.seed, 0, self._step_latent_dim)
                given = np.concatenate([given, stream.step_latents(step, 1)], axis=1)
            return given, 0
        row = step % self._ahead
        if step - row != self._first:
            steps = self._stream.step_latents(step - row, self._ahead)
            run_part = np.broadcast_to(self._stream.run_latent, (self._ahead, len(self._stream.run_latent)))
            self._drawn, self._first = np.concatenate([run_part, steps], axis=1), step - row
        return self._drawn, row
