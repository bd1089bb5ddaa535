"""A fleet whose posterior is known: outputs are linear in run latents and step latents, noise is Gaussian."""

import numpy as np
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.calibration.measurements import Measurements
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

RUN_LATENTS, NOISE = 2, 0.3


def make_linear_bundle(step_latents: bool) -> Bundle:
    """level' = 0.9 level + gain u + z[0] + 0.2 z_step, drift = z[1] + 0.5 level; level(0) = offset + 0.5 z[1]."""
    manifest = Manifest(
        name="linear",
        variables=(
            Variable("u", Causality.INPUT, "W", "drive", 0.0, -10.0, 10.0),
            Variable("offset", Causality.PARAMETER, "K", "start", 0.0, -10.0, 10.0),
            Variable("level", Causality.OUTPUT, "K"),
            Variable("drift", Causality.OUTPUT, "K"),
        ),
        step_size=2.0,
        run_latent_dim=RUN_LATENTS,
        step_latent_dim=int(step_latents),
        hidden_dim=1,
        domain={"u": Interval(-5, 5), "offset": Interval(-2, 2), "level": Interval(-20, 20), "drift": Interval(-20, 20)},
    )
    return export_bundle(_Linear(step_latents), manifest)


class _Linear(torch.nn.Module):
    def __init__(self, step_latents: bool) -> None:
        super().__init__()
        self.step_latents = step_latents

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        # reads all of z: who starts a run leaves the step part at 0
        level = x[:, 1:2] + 0.5 * z[:, 1:2] + z[:, 2:].sum(1, keepdim=True)
        return torch.cat([level, z[:, 1:2] + 0.5 * level], 1), level

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        level = 0.9 * h + 0.3 * x[:, 0:1] + z[:, 0:1]
        if self.step_latents:
            level = level + 0.2 * z[:, 2:3]
        return torch.cat([level, z[:, 1:2] + 0.5 * level], 1), level


def outputs_of(unknowns: np.ndarray, inputs: np.ndarray, offset: float) -> np.ndarray:
    """(point, output) of unknowns (2 run latents, then a step latent per step or none), in numpy and float64."""
    steps = unknowns[RUN_LATENTS:] if len(unknowns) > RUN_LATENTS else np.zeros(len(inputs))
    levels = [offset + 0.5 * unknowns[1]]
    for u, z in zip(inputs[:, 0], steps, strict=True):
        levels.append(0.9 * levels[-1] + 0.3 * u + unknowns[0] + 0.2 * z)
    level = np.array(levels)
    return np.stack([level, unknowns[1] + 0.5 * level], axis=1)


def measure(unknowns: np.ndarray, step_count: int, seed: int, offset: float = 0.5) -> Measurements:
    """A noisy run of one unit, with a third of the drifts missing."""
    random = np.random.default_rng(seed)
    inputs = random.uniform(-3, 3, (step_count, 1))
    outputs = outputs_of(unknowns, inputs, offset) + NOISE * random.standard_normal((step_count + 1, 2))
    outputs[::3, 1] = np.nan
    return Measurements(inputs, np.array([offset]), outputs)


def closed_form(measurements: Measurements, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the posterior of the unknowns (dim,)."""
    seen = np.isfinite(measurements.outputs)
    offset = float(measurements.parameters[0])
    rest = outputs_of(np.zeros(dim), measurements.inputs, offset)[seen]
    slopes = np.stack([outputs_of(row, measurements.inputs, offset)[seen] - rest for row in np.eye(dim)], axis=1)
    covariance = np.linalg.inv(slopes.T @ slopes / NOISE**2 + np.eye(dim))
    return covariance @ slopes.T @ (measurements.outputs[seen] - rest) / NOISE**2, covariance
