"""Many runs of one bundle at once: the same numbers as that many sessions, in one call of the generator per step."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_generator
from surrogate_fmu.errors import InputError
from surrogate_fmu.manifest import ZMode
from surrogate_fmu.runtime.latent import LatentStream

Array = NDArray[np.float64]


def rollout(
    bundle: Bundle,
    conditions: Array,
    seeds: Sequence[int] | NDArray[np.int64],
    z_mode: ZMode = ZMode.SAMPLED,
    device: str = "cpu",
    progress: Callable[[range], Any] = lambda steps: steps,
) -> Array:
    """Roll a batch of runs out.

    Row r is what `Session(bundle, seed=seeds[r])` gives when parameters and first inputs are set before its start. Equal
    to float32 tolerance, not to the bit: a batched matrix product sums in another order. Nothing is clamped or refused
    outside the training domain, and a run whose values stop being finite goes on with what the generator gives.

    Args:
        bundle: what to run.
        conditions: (batch, step, condition_dim), inputs held over the step and parameters, physical units.
        seeds: (batch,), of the latents.
        z_mode: where the latents come from; `external` is refused, there is no caller to give them.
        device: "cpu", "cuda", "cuda:1".
        progress: wraps the range of steps.

    Returns:
        (batch, step + 1, output_dim), physical units; point 0 is the start.

    Raises:
        InputError: a shape does not fit, or z_mode is `external`.
        DeviceError: this machine has no such device.
    """
    manifest = bundle.manifest
    conditions = np.asarray(conditions, dtype=np.float64)
    if conditions.ndim != 3 or conditions.shape[1] < 1 or conditions.shape[2] != manifest.condition_dim:
        raise InputError(
            f"conditions have the shape {conditions.shape}; expected (batch, step, {manifest.condition_dim}): "
            f"{', '.join(v.name for v in manifest.condition)}"
        )
    if len(seeds) != len(conditions):
        raise InputError(f"there are {len(seeds)} seeds for {len(conditions)} runs; give one seed per run")
    target = find_device(device)
    generator: Any = load_generator(bundle, device)
    step_count = conditions.shape[1]
    latents = torch.from_numpy(_latents(bundle, seeds, step_count, z_mode)).to(target)
    x = torch.from_numpy(conditions.astype(np.float32)).to(target)
    outputs = np.empty((len(conditions), step_count + 1, manifest.output_dim))
    with torch.inference_mode():
        start = latents[:, 0].clone()
        start[:, manifest.run_latent_dim :] = 0.0
        y, hidden = generator.initial(x[:, 0], start)
        outputs[:, 0] = y.cpu().numpy()
        for step in progress(range(step_count)):
            y, hidden = generator(x[:, step], latents[:, step], hidden)
            outputs[:, step + 1] = y.cpu().numpy()
    return outputs


def _latents(bundle: Bundle, seeds: Sequence[int] | NDArray[np.int64], step_count: int, z_mode: ZMode) -> NDArray[np.float32]:
    manifest = bundle.manifest
    latents = np.zeros((len(seeds), step_count, manifest.latent_dim), np.float32)
    if z_mode is ZMode.EXTERNAL:
        raise InputError("z_mode 'external' needs a caller that gives z at every step; use 'sampled', 'held' or 'mean'")
    if z_mode is ZMode.MEAN:
        return latents
    drawn_count = 1 if z_mode is ZMode.HELD else step_count
    for row, seed in enumerate(seeds):
        stream = LatentStream(int(seed), manifest.run_latent_dim, manifest.step_latent_dim)
        latents[row, :, : manifest.run_latent_dim] = stream.run_latent
        latents[row, :, manifest.run_latent_dim :] = stream.step_latents(0, drawn_count)
    return latents
