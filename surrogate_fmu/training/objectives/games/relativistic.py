"""The R3GAN game: relativistic pairing with R1 and R2 (Huang et al., NeurIPS 2024; pairing: Jolicoeur-Martineau, ICLR 2019).

critic     min E softplus(D(fake) - D(real)) + gamma / 2 (E |dD/d real|^2 + E |dD/d fake|^2)
generator  min E softplus(D(real) - D(fake))
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from surrogate_fmu.training.objectives.games.protocol import Critic, Unconstrained


@dataclass(frozen=True)
class Relativistic(Unconstrained):
    """Real and fake are compared in pairs under the same condition.

    Attributes:
        gamma: weight of both penalties, per scalar of the window, so that it means the same for short and long windows.
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.gamma < 0.0:
            raise ValueError(f"gamma {self.gamma:g} cannot be negative")

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
        real_score, fake_score = critic(real), critic(fake)
        penalty = _penalty(real_score, real) + _penalty(fake_score, fake)
        return softplus(fake_score - real_score).mean() + 0.5 * self.gamma * penalty

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return softplus(critic(real) - critic(fake)).mean()


def _penalty(score: Tensor, window: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(score.sum(), window, create_graph=True)
    return gradient.square().flatten(1).mean(dim=1).mean()
