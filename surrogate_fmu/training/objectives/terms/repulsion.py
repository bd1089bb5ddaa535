"""Diversity: members of different latents repel each other (mode seeking: Mao et al., CVPR 2019, with a kernel in z)."""

import torch
from torch import Tensor

from surrogate_fmu.training.objectives.terms.term import Draw, Term, flat_windows


class Repulsion(Term):
    """The mean over pairs of members of exp(-|y_i - y_j|^2 / 2 w^2) (1 - k(z_i, z_j)), k Gaussian in z.

    Outputs are in units of the conditional spread, so members that are farther apart than the plant's own no longer repel.

    Args:
        width: w.
        members: draws per window, at least 2.
    """

    def __init__(self, width: float = 0.5, members: int = 4) -> None:
        if width <= 0.0 or members < 2:
            raise ValueError(f"width {width:g} must be above 0 and members {members} at least 2")
        self._width = width
        self.members = members

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        outputs, latents = flat_windows(draw.members), flat_windows(draw.latents)
        count = len(outputs)
        near = (-0.5 * (outputs[:, None] - outputs[None]).square().sum(dim=3) / self._width**2).exp()
        alike = (-0.5 * (latents[:, None] - latents[None]).square().sum(dim=3)).exp()
        pairs = near * (1.0 - alike)
        return (pairs.sum(dim=(0, 1)) - torch.diagonal(pairs).sum(dim=1)) / (count * (count - 1))
