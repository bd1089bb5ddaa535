"""Draw latents and run a generator along recorded conditions, with gradients."""

from typing import Protocol

import torch
from torch import Tensor


class RollingGenerator(Protocol):
    """A generator that can be trained over windows."""

    def roll(self, x: Tensor, z: Tensor) -> Tensor:
        """x (batch, step, condition_dim), z (batch, step, latent_dim) -> y (batch, step + 1, output_dim)."""
        ...


def draw_latents(count: int, steps: int, run_latent_dim: int, step_latent_dim: int, random: torch.Generator) -> Tensor:
    """Standard normal z (count, steps, latent_dim); the run part is the same at every step."""
    run = torch.randn(count, 1, run_latent_dim, generator=random).expand(-1, steps, -1)
    return torch.cat([run, torch.randn(count, steps, step_latent_dim, generator=random)], dim=2)
