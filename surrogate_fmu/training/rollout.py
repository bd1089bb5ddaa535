"""Draw latents and run a generator along recorded conditions, with gradients."""

from typing import Protocol

import torch
from torch import Tensor


class RollingGenerator(Protocol):
    """A generator that can be trained over windows."""

    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        """x (batch, step, condition_dim), z (copies x batch, step, latent_dim) -> y (copies x batch, point, output_dim).

        All points, or those asked; rows of z go round the rows of x, one copy of the batch after the other.
        `near` (batch, step + 1, output_dim) are trajectories that may serve as a first guess.
        """
        ...


def stream(seed: int) -> torch.Generator:
    """A stream of random numbers on the device that tensors are made on."""
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


def draw_latents(count: int, steps: int, run_latent_dim: int, step_latent_dim: int, random: torch.Generator) -> Tensor:
    """Standard normal z (count, steps, latent_dim) on the stream's device; the run part is the same at every step."""
    run = torch.randn(count, 1, run_latent_dim, generator=random, device=random.device).expand(-1, steps, -1)
    step = torch.randn(count, steps, step_latent_dim, generator=random, device=random.device)
    return torch.cat([run, step], dim=2)


class WindowRoller:
    """Rolls a generator under the conditions of a batch of windows, with gradients.

    Args:
        generator: as it is now.
        conditions: (batch, step, condition_dim).
        near: (batch, step + 1, output_dim), the recorded outputs.
        run_latent_dim, step_latent_dim: of the generator.
        random: of the latents.
    """

    def __init__(
        self,
        generator: RollingGenerator,
        conditions: Tensor,
        near: Tensor,
        run_latent_dim: int,
        step_latent_dim: int,
        random: torch.Generator,
    ) -> None:
        self._generator = generator
        self._conditions = conditions
        self._near = near
        self._dims = (run_latent_dim, step_latent_dim)
        self._random = random

    def draw(self, members: int) -> Tensor:
        """Latents of so many members, (member, batch, step, latent_dim)."""
        count, steps = self._conditions.shape[:2]
        return draw_latents(members * count, steps, *self._dims, self._random).reshape(members, count, steps, -1)

    def follow(self, individuals: Tensor) -> Tensor:
        """Latents of given individuals (batch, run_latent_dim) without noise in the steps, (1, batch, step, latent_dim)."""
        given = torch.cat([individuals, individuals.new_zeros(len(individuals), self._dims[1])], dim=1)
        return given[None, :, None].expand(-1, -1, self._conditions.shape[1], -1)

    def log_likelihood(self) -> Tensor | None:
        """Of the recorded outputs, (batch,); None where the generator has no density."""
        if not getattr(self._generator, "components", 0):
            return None
        likelihood: Tensor = self._generator.log_likelihood(self._conditions, self._near)  # type: ignore[attr-defined]
        return likelihood

    def roll(self, latents: Tensor, points: Tensor) -> Tensor:
        """Outputs (member, batch, point, output_dim) for latents (member, batch, step, latent_dim).

        Points (point,) count from 0, the start.
        """
        rolled = self._generator.roll(self._conditions, latents.flatten(0, 1), points, self._near)
        return rolled.reshape(*latents.shape[:2], *rolled.shape[1:])
