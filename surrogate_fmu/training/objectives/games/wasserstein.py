"""The 1-Wasserstein games: the critic is kept Lipschitz by clipped weights (Arjovsky et al., ICML 2017) or by a gradient penalty
(Gulrajani et al., NeurIPS 2017).

    W1(real, fake) = sup over 1-Lipschitz D of E D(real) - E D(fake)
    penalty        = weight * E (|dD/dy|_2 - 1)^2 at points between real and fake
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surrogate_fmu.training.objectives.games.protocol import Critic, Unconstrained, gradient_norms


@dataclass(frozen=True)
class WassersteinClipping:
    """Weights are clipped after each step.

    Attributes:
        limit: largest weight of the critic.
    """

    limit: float = 0.05

    def __post_init__(self) -> None:
        if self.limit <= 0.0:
            raise ValueError(f"limit {self.limit:g} of the critic's weights must be above 0")

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return critic(fake).mean() - critic(real).mean()

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return -critic(fake).mean()

    def constrain(self, critic: nn.Module) -> None:
        """Clip."""
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.clamp_(-self.limit, self.limit)


@dataclass(frozen=True)
class WassersteinPenalty(Unconstrained):
    """The critic's slope between real and fake is drawn to 1.

    Attributes:
        weight: of the penalty.
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        if self.weight <= 0.0:
            raise ValueError(f"weight {self.weight:g} of the gradient penalty must be above 0")

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        share = torch.rand(len(real), *[1] * (real.dim() - 1), device="cpu").to(real.device)  # of the objective's own stream
        between = torch.lerp(fake.detach(), real.detach(), share)
        penalty = (gradient_norms(critic, between) - 1.0).square().mean()
        return critic(fake).mean() - critic(real).mean() + self.weight * penalty

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return -critic(fake).mean()
