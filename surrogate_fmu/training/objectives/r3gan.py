"""The R3GAN objective: relativistic pairing with R1 and R2 (Huang et al., NeurIPS 2024; pairing: Jolicoeur-Martineau, ICLR 2019).

critic:     min E softplus(D(fake) - D(real)) + gamma / 2 (E |dD/d real|^2 + E |dD/d fake|^2)
generator:  min E softplus(D(real) - D(fake))
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus


def critic_loss(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    """real, fake (batch, ...) under the same conditions, row by row -> ()."""
    real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    real_score, fake_score = critic(real), critic(fake)
    penalty = _gradient_penalty(real_score, real) + _gradient_penalty(fake_score, fake)
    return softplus(fake_score - real_score).mean() + 0.5 * gamma * penalty


def generator_loss(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """real, fake (batch, ...) under the same conditions, row by row -> ()."""
    return softplus(critic(real) - critic(fake)).mean()


def _gradient_penalty(score: Tensor, window: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(score.sum(), window, create_graph=True)
    # Per scalar of the window, so that gamma means the same for short and long windows.
    return gradient.square().flatten(1).mean(dim=1).mean()
