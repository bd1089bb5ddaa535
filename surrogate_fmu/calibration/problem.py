"""The inverse problem: standard normal unknowns, through the generator, to residuals in standard deviations of the noise.

Unknowns u (member, dim) are run latents, then parameters, then the step latents of every step of the window. All are standard
normal before anything is measured; a parameter that is uniform in low to high is low + (high - low) Phi(u).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_differentiable
from surrogate_fmu.calibration.measurements import Measurements
from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.manifest import Interval
from surrogate_fmu.variables import scalar_names

_NOT_FINITE = 1e6  # residual of a member whose outputs are not finite, in standard deviations
_JACOBIAN_ROWS = 256  # residuals that are differentiated at once


class Problem:
    """What the generator says of a measured run, and how far it is off.

    Args:
        bundle: the generator.
        measurements: of the window.
        estimate: parameters that are unknown, with their ranges; None is that of the training data.
        device: "cpu", "cuda", "cuda:1".

    Raises:
        ConfigError: nothing is unknown, or a name is no scalar parameter.
        DatasetError: nothing or too little was measured, or a parameter is neither known nor estimated.
        BundleError, DeviceError: the bundle cannot be read, or not run there.

    Attributes:
        noise: standard deviations (output,), physical units; to be set before residuals are asked for.
        static_dim: unknowns that hold for the run: run latents and parameters.
        dim: all unknowns.
        measured: which numbers were measured (point, output).
    """

    def __init__(
        self, bundle: Bundle, measurements: Measurements, estimate: Mapping[str, Interval | None], device: str = "cpu"
    ) -> None:
        manifest = bundle.manifest
        self.manifest, self.step_count = manifest, measurements.step_count
        self._device = find_device(device)
        self._generator: Any = load_differentiable(bundle, device)
        labels = [name for variable in manifest.condition for name in scalar_names(variable)]
        self._columns, ranges = _estimated(bundle, estimate, labels)
        self._ranges = ranges[0].to(self._device), ranges[1].to(self._device)
        self.static_dim = manifest.run_latent_dim + len(self._columns)
        self.dim = self.static_dim + self.step_count * manifest.step_latent_dim
        if self.dim == 0:
            raise ConfigError(
                f"{manifest.name} is deterministic: it has no latents that could be inferred; name parameters to estimate"
            )
        known = np.array([*np.full(measurements.inputs.shape[1], 0.0), *measurements.parameters])
        lacking = [labels[column] for column in np.flatnonzero(np.isnan(known)) if column not in self._columns]
        if lacking:
            raise DatasetError(f"nothing says what {', '.join(map(repr, lacking))} was; give its value, or have it estimated")
        self.measured = np.isfinite(measurements.outputs)
        if not self.measured.any():
            raise DatasetError("no output was measured in the window: every value is missing; give outputs of the unit")
        if self.measured.sum() < self.static_dim:
            raise DatasetError(
                f"the window has {self.measured.sum()} measured values for {self.static_dim} unknowns (run latents and "
                "parameters); measure more outputs or more steps"
            )
        rows = np.concatenate([measurements.inputs, np.tile(measurements.parameters, (self.step_count, 1))], axis=1)
        self._conditions = torch.from_numpy(np.nan_to_num(rows).astype(np.float32)).to(self._device)
        self._observed = torch.from_numpy(np.nan_to_num(measurements.outputs)).to(self._device)
        self._mask = torch.from_numpy(self.measured).to(self._device)
        self.noise: NDArray[np.float64] = np.ones(manifest.output_dim)

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Unknowns before anything is measured, (count, dim)."""
        return torch.randn(count, self.dim, generator=random).to(self._device)

    def run_latents(self, unknowns: Tensor) -> Tensor:
        """(member, run_latent_dim)."""
        return unknowns[:, : self.manifest.run_latent_dim]

    def parameters(self, unknowns: Tensor) -> Tensor:
        """Values of the estimated parameters, physical units (member, estimated)."""
        scores = unknowns[:, self.manifest.run_latent_dim : self.static_dim]
        low, width = self._ranges
        values: Tensor = low + width * torch.special.ndtr(scores)
        return values

    def step_latents(self, unknowns: Tensor) -> Tensor:
        """(member, step, step_latent_dim)."""
        size = self.manifest.step_latent_dim
        return unknowns[:, self.static_dim :].reshape(len(unknowns), -1 if size else self.step_count, size)

    def start(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (member, output) and hidden state at the start."""
        latent = torch.cat(
            [self.run_latents(unknowns), torch.zeros(len(unknowns), self.manifest.step_latent_dim, device=self._device)], dim=1
        )
        y, h = self._generator.initial(self._condition_rows(unknowns, 0, 1)[0], latent)
        return y, h

    def advance(self, unknowns: Tensor, hidden: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Outputs (member, step, output) of the steps from point first to point last, and the hidden state after them."""
        steps = self.step_latents(unknowns)[:, first:last].transpose(0, 1)
        latent = torch.cat([self.run_latents(unknowns)[None].expand(last - first, -1, -1), steps], dim=2)
        y, h = self._generator.rollout(self._condition_rows(unknowns, first, last), latent, hidden)
        return y.transpose(0, 1), h

    def simulate(self, unknowns: Tensor, last: int | None = None) -> Tensor:
        """Outputs up to a point, of the whole window by default: (member, point, output), physical units."""
        last = self.step_count if last is None else last
        y, hidden = self.start(unknowns)
        if last == 0:
            return y[:, None]
        following, _ = self.advance(unknowns, hidden, 0, last)
        return torch.cat([y[:, None], following], dim=1)

    def residuals(self, outputs: Tensor, first: int = 0) -> Tensor:
        """Outputs minus measurements in standard deviations of the noise: (member, measured values).

        Args:
            outputs: (member, point, output).
            first: the point that they begin with.
        """
        last = first + outputs.shape[1]
        scale = torch.from_numpy(self.noise).to(self._device)
        scaled = (outputs - self._observed[first:last]) / scale
        return scaled[:, self._mask[first:last]].nan_to_num(_NOT_FINITE, _NOT_FINITE, -_NOT_FINITE).float()

    def jacobian(self, unknowns: Tensor) -> Tensor:
        """Derivatives of the residuals at one point (dim,): (measured values, dim).

        Row i is the gradient of residual i in copy i of the unknowns, so one pass back gives many rows.
        """
        count = int(self.measured.sum())
        parts = []
        for first in range(0, count, _JACOBIAN_ROWS):
            rows = torch.arange(first, min(first + _JACOBIAN_ROWS, count), device=self._device)
            copies = unknowns.detach().repeat(len(rows), 1).requires_grad_()
            picked = self.residuals(self.simulate(copies))[torch.arange(len(rows), device=self._device), rows]
            parts.append(torch.autograd.grad(picked.sum(), copies)[0])
        return torch.cat(parts)

    def _condition_rows(self, unknowns: Tensor, first: int, last: int) -> Tensor:
        """(step, member, condition_dim)."""
        rows = self._conditions[first:last, None].expand(-1, len(unknowns), -1)
        if not self._columns:
            return rows
        rows = rows.clone()
        rows[:, :, self._columns] = self.parameters(unknowns)[None].expand(last - first, -1, -1)
        return rows


def _estimated(
    bundle: Bundle, estimate: Mapping[str, Interval | None], labels: list[str]
) -> tuple[list[int], tuple[Tensor, Tensor]]:
    manifest = bundle.manifest
    known = [variable.name for variable in manifest.parameters if not variable.shape]
    for name in estimate:
        if name not in known:
            raise ConfigError(f"{name!r} cannot be estimated; parameters that can are {', '.join(map(repr, known)) or 'none'}")
    ranges = [interval or manifest.domain[name] for name, interval in estimate.items()]
    low = torch.tensor([interval.min for interval in ranges])
    return [labels.index(name) for name in estimate], (low, torch.tensor([i.max for i in ranges]) - low)
