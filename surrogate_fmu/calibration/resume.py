"""Going on from a posterior: the measured inputs are replayed with every member, and the unit stands where it was last measured."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_differentiable, unspecialised
from surrogate_fmu.calibration.posterior import Posterior
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.ensemble import Standing
from surrogate_fmu.runtime.run_state import RunState, encode_run
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.runtime.snapshot import seal_snapshot
from surrogate_fmu.runtime.tunable import TunableParameters


def replay(bundle: Bundle, posterior: Posterior, members: Sequence[int] | NDArray[np.int64], device: str = "cpu") -> Standing:
    """Where members stand after the measured window.

    Args:
        bundle: that the posterior belongs to.
        posterior: of a unit.
        members: their numbers, which may come several times.
        device: "cpu", "cuda", "cuda:1".

    Raises:
        ConfigError: the posterior belongs to another bundle.
        BundleError, DeviceError: the bundle cannot be read, or not run there.
    """
    posterior.check_bundle(bundle)
    target, generator = find_device(device), load_differentiable(bundle, device)
    chosen = np.asarray(members, np.int64)
    parameters, steps = posterior.parameters[chosen], posterior.step_count
    inputs = np.broadcast_to(posterior.inputs[:, None], (steps, len(chosen), posterior.inputs.shape[1]))
    conditions = np.concatenate([inputs, np.broadcast_to(parameters, (steps, *parameters.shape))], axis=2)
    run_latents = posterior.run_latents[chosen].astype(np.float32)
    repeated = np.broadcast_to(run_latents, (steps, *run_latents.shape))
    latents = np.concatenate([repeated, posterior.step_latents[chosen].swapaxes(0, 1)], axis=2)
    x, z = (torch.from_numpy(array.astype(np.float32)).to(target) for array in (conditions, latents))
    with torch.inference_mode(), unspecialised():
        start = z[0].clone()
        start[:, run_latents.shape[1] :] = 0.0
        _, hidden = generator.initial(x[0], start)
        outputs, hidden = generator.rollout(x, z, hidden)
    return Standing(run_latents, hidden.cpu().numpy(), outputs[-1].cpu().numpy(), steps)


def member_snapshot(
    bundle: Bundle,
    posterior: Posterior,
    member: int,
    seed: int = 0,
    domain_policy: DomainPolicy = DomainPolicy.WARN,
) -> bytes:
    """The unit as one member of its posterior sees it, for `Session.restore`; it stands at the end of the window.

    Args:
        bundle: that the posterior belongs to.
        posterior: of the unit.
        member: its number.
        seed: of the step latents from now on.
        domain_policy: what to do outside the training domain.

    Raises:
        ConfigError: the posterior belongs to another bundle.
    """
    standing = replay(bundle, posterior, [member])
    manifest = bundle.manifest
    condition = (*posterior.inputs[-1].tolist(), *posterior.parameters[member].tolist())
    run = RunState(
        seed,
        ZMode.EXTERNAL if manifest.run_latent_dim else ZMode.SAMPLED,
        domain_policy,
        condition,
        tuple(standing.run_latents[0].tolist()) if manifest.run_latent_dim else (0.0,) * manifest.latent_dim,
        standing.step_index,
        standing.hidden[0],
        tuple(standing.outputs[0].tolist()),
        start=TunableParameters(manifest).values(condition),
    )
    return seal_snapshot(bytes.fromhex(bundle.digest), encode_run(run))


def open_member(bundle: Bundle, posterior: Posterior, member: int, seed: int = 0, device: str = "cpu") -> Session:
    """A session that goes on where the measured window ends, as one member of the posterior.

    Raises:
        ConfigError: the posterior belongs to another bundle.
        DeviceError: this machine has no such device.
    """
    session = Session(bundle, device=device)
    session.restore(member_snapshot(bundle, posterior, member, seed))
    return session
