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


def draw_latents(count: int, steps: int, run_latent_dim: int, step_latent_dim: int, random: torch.Generator) -> Tensor:
    """Standard normal z (count, steps, latent_dim); the run part is the same at every step."""
    run = torch.randn(count, 1, run_latent_dim, generator=random).expand(-1, steps, -1)
    return torch.cat([run, torch.randn(count, steps, step_latent_dim, generator=random)], dim=2)
