"""Draws of a generator whose law is known, for the tests of terms."""

import torch
from torch import Tensor

from surrogate_fmu.training.objectives.terms.term import Draw, Shapes
from surrogate_fmu.training.rollout import WindowRoller

SHAPES = Shapes(1, 1, 0, 1, ("y",), ("x",), seed=0)


class Scaled:
    """y = a x + s z, step by step; a and s may be trained."""

    def __init__(self, slope: float = 1.0, noise: float = 1.0) -> None:
        self.slope = torch.tensor(slope, requires_grad=True)
        self.noise = torch.tensor(noise, requires_grad=True)

    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        """See `RollingGenerator`."""
        y = self.slope * x.repeat(len(z) // len(x), 1, 1) + self.noise * z
        y = torch.cat([torch.zeros_like(y[:, :1]), y], dim=1)
        return y if points is None else y[:, points]


def make_draw(generator: Scaled, members: int, batch: int = 256, steps: int = 2, seed: int = 0, share: float = 0.9) -> Draw:
    """Members beside observations of the law y = x + z."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, steps, 1, generator=random)
    observed = torch.cat([torch.zeros(batch, 1, 1), x + torch.randn(batch, steps, 1, generator=random)], dim=1)
    roller = WindowRoller(generator, x, observed, 0, 1, random)
    latents, points, one = roller.draw(members), torch.arange(1, steps + 1), torch.ones(1)
    return Draw(
        members=roller.roll(latents, points),
        observed=observed[:, 1:],
        start=observed[:, 0],
        condition=x,
        latents=latents,
        points=points,
        weights=torch.ones(batch),
        share=share,
        roller=roller,
        output_mean=0.0 * one,
        output_unit=one,
        output_std=2.0**0.5 * one,
        condition_mean=0.0 * one,
        condition_std=one,
    )
