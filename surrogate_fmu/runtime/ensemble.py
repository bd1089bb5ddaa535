"""Many runs of one bundle at once: the same numbers as that many sessions, in one call of the generator per step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_rollout
from surrogate_fmu.errors import InputError
from surrogate_fmu.manifest import ZMode
from surrogate_fmu.runtime.domain import DomainBox
from surrogate_fmu.runtime.latent import LatentStream

Array = NDArray[np.float64]

_CHUNK_NUMBERS = 4_000_000  # of conditions, latents and outputs that a chunk of `rollout` holds at once


@dataclass(frozen=True)
class Standing:
    """Where members stand that go on from somewhere within a run.

    Attributes:
        run_latents: (member, run_latent_dim), in place of those of the seeds.
        hidden: (member, hidden_dim).
        outputs: (member, output_dim), physical units.
        step_index: steps since the start of the run.
    """

    run_latents: NDArray[np.float32]
    hidden: NDArray[np.float32]
    outputs: NDArray[np.float32]
    step_index: int

    def select(self, members: slice) -> "Standing":
        """Only these members."""
        return Standing(self.run_latents[members], self.hidden[members], self.outputs[members], self.step_index)


class RolloutRun:
    """Runs of many members that go on a chunk of steps at a time; the loop over the steps is inside TorchScript.

    Member r is what `Session(bundle, seed=seeds[r])` gives when parameters and first inputs are set before its start. Equal
    to float32 tolerance, not to the bit: a batched matrix product sums in another order. Nothing is clamped or refused
    outside the training domain, and a run whose values stop being finite goes on with what the generator gives.

    Args:
        bundle: what to run.
        conditions: inputs held over the step and parameters, physical units: (step, condition_dim) for all members alike, or
            (member, step, condition_dim).
        seeds: (member,), of the latents.
        z_mode: where the latents come from; `external` is refused, there is no caller to give them.
        device: "cpu", "cuda", "cuda:1".
        standing: where the members go on from; None is the start of a run. Point 0 is then where they stand, and the first step
            is the one after `standing.step_index`.

    Raises:
        InputError: a shape does not fit, or z_mode is `external`.
        DeviceError: this machine has no such device.
    """

    def __init__(
        self,
        bundle: Bundle,
        conditions: Array,
        seeds: Sequence[int] | NDArray[np.int64],
        z_mode: ZMode = ZMode.SAMPLED,
        device: str = "cpu",
        standing: Standing | None = None,
    ) -> None:
        manifest = bundle.manifest
        conditions = np.asarray(conditions, dtype=np.float64)
        if conditions.ndim not in (2, 3) or conditions.shape[-2] < 1 or conditions.shape[-1] != manifest.condition_dim:
            raise InputError(
                f"conditions have the shape {conditions.shape}; expected (batch, step, {manifest.condition_dim}): "
                f"{', '.join(v.name for v in manifest.condition)}"
            )
        if conditions.ndim == 3 and len(seeds) != len(conditions):
            raise InputError(f"there are {len(seeds)} seeds for {len(conditions)} runs; give one seed per run")
        if z_mode is ZMode.EXTERNAL:
            raise InputError("z_mode 'external' needs a caller that gives z at every step; use 'sampled', 'held' or 'mean'")
        if standing is not None and len(standing.run_latents) != len(seeds):
            raise InputError(f"{len(standing.run_latents)} members stand, there are {len(seeds)} seeds; give one per member")
        self.step_count = conditions.shape[-2]
        self._standing = standing
        self._manifest = manifest
        self._device = find_device(device)
        self._generator: Any = load_rollout(bundle, device)
        self._conditions = conditions
        self._z_mode = z_mode
        self._streams = [LatentStream(int(seed), manifest.run_latent_dim, manifest.step_latent_dim) for seed in seeds]
        self._output_box = DomainBox(manifest, manifest.outputs)
        self._distances = _condition_distances(DomainBox(manifest, manifest.condition), conditions, len(seeds))
        self._step = -1  # the last point that was given; -1 is before the start
        self._hidden = torch.empty(0)

    @property
    def member_count(self) -> int:
        """Members of the rollout."""
        return len(self._streams)

    def advance(self, count: int) -> tuple[NDArray[np.float32], Array]:
        """The next points.

        Args:
            count: of points, at least 1; at the end of the run there may be fewer. The first point of all is the start.

        Returns:
            Outputs (member, point, output_dim) in physical units, and for each member (member,) the largest distance from the
            training domain so far, that of its conditions of the whole run included.
        """
        first = self._step + 1
        last = min(first + count - 1, self.step_count)
        points = np.empty((self.member_count, last - first + 1, self._manifest.output_dim), np.float32)
        with torch.inference_mode():
            if first == 0:
                points[:, 0] = self._begin()
            begin, end = max(first - 1, 0), last  # steps from point begin to point end
            if end > begin:
                x, z = self._condition_rows(begin, end), self._latents(begin, end)
                y, self._hidden = self._generator.rollout(x, z, self._hidden)
                points[:, points.shape[1] - (end - begin) :] = y.cpu().numpy().swapaxes(0, 1)
        self._step = last
        distances = self._output_box.distances(points.reshape(-1, points.shape[2])).reshape(points.shape[:2])
        self._distances = np.maximum(self._distances, distances.max(axis=1))
        return points, self._distances

    def _begin(self) -> NDArray[np.float32]:
        """Outputs (member, output_dim) at point 0; sets the hidden state."""
        if self._standing is not None:
            self._hidden = torch.from_numpy(self._standing.hidden).to(self._device)
            return self._standing.outputs
        latent = self._latents(0, 1)
        latent[:, :, self._manifest.run_latent_dim :] = 0.0
        y, self._hidden = self._generator.initial(self._condition_rows(0, 1)[0], latent[0])
        outputs: NDArray[np.float32] = y.cpu().numpy()
        return outputs

    def _condition_rows(self, begin: int, end: int) -> torch.Tensor:
        """(step, member, condition_dim)."""
        with np.errstate(over="ignore"):
            rows = torch.from_numpy(self._conditions[..., begin:end, :].astype(np.float32)).to(self._device)
        if rows.ndim == 2:
            return rows[:, None].expand(-1, self.member_count, -1)
        return rows.transpose(0, 1)

    def _latents(self, begin: int, end: int) -> torch.Tensor:
        """(step, member, latent_dim)."""
        manifest = self._manifest
        latents = np.zeros((end - begin, self.member_count, manifest.latent_dim), np.float32)
        first = 0 if self._standing is None else self._standing.step_index
        if self._z_mode is not ZMode.MEAN:
            held = self._z_mode is ZMode.HELD
            for member, stream in enumerate(self._streams):
                latents[:, member, : manifest.run_latent_dim] = stream.run_latent
                steps = stream.step_latents(0, 1) if held else stream.step_latents(first + begin, end - begin)
                latents[:, member, manifest.run_latent_dim :] = steps
        if self._standing is not None:
            latents[:, :, : manifest.run_latent_dim] = self._standing.run_latents
        return torch.from_numpy(latents).to(self._device)


def rollout(
    bundle: Bundle,
    conditions: Array,
    seeds: Sequence[int] | NDArray[np.int64],
    z_mode: ZMode = ZMode.SAMPLED,
    device: str = "cpu",
    progress: Callable[[range], Any] = lambda chunks: chunks,
) -> Array:
    """Roll a batch of runs out; see `RolloutRun`.

    Args:
        bundle: what to run.
        conditions: (batch, step, condition_dim), inputs held over the step and parameters, physical units.
        seeds: (batch,), of the latents.
        z_mode: where the latents come from; `external` is refused, there is no caller to give them.
        device: "cpu", "cuda", "cuda:1".
        progress: wraps the range of chunks.

    Returns:
        (batch, step + 1, output_dim), physical units; point 0 is the start.

    Raises:
        InputError: a shape does not fit, or z_mode is `external`.
        DeviceError: this machine has no such device.
    """
    conditions = np.asarray(conditions, dtype=np.float64)
    if conditions.ndim != 3:
        raise InputError(
            f"conditions have the shape {conditions.shape}; expected (batch, step, {bundle.manifest.condition_dim}): "
            f"{', '.join(v.name for v in bundle.manifest.condition)}"
        )
    run = RolloutRun(bundle, conditions, seeds, z_mode, device)
    manifest = bundle.manifest
    numbers = max(1, len(conditions) * (manifest.condition_dim + manifest.latent_dim + manifest.output_dim))
    size = max(1, _CHUNK_NUMBERS // numbers)
    outputs = np.empty((len(conditions), run.step_count + 1, manifest.output_dim))
    for first in progress(range(0, run.step_count + 1, size)):
        points, _ = run.advance(size)
        outputs[:, first : first + points.shape[1]] = points
    return outputs


def _condition_distances(box: DomainBox, conditions: Array, member_count: int) -> Array:
    distances = box.distances(conditions.reshape(-1, conditions.shape[-1])).reshape(conditions.shape[:-1]).max(axis=-1)
    return np.broadcast_to(distances, (member_count,)).copy()
