"""The hinge game (Lim and Ye, 2017; Miyato et al., ICLR 2018, with spectral normalization of the critic).

critic     min E max(0, 1 - D(real)) + E max(0, 1 + D(fake))
generator  min -E D(fake)
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu

from surrogate_fmu.training.objectives.games.protocol import Critic, Unconstrained


@dataclass(frozen=True)
class Hinge(Unconstrained):
    """Lets the critic rest where it is right by a margin."""

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return relu(1.0 - critic(real)).mean() + relu(1.0 + critic(fake)).mean()

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return -critic(fake).mean()
