"""The least squares game (Mao et al., ICCV 2017).

critic     min 1/2 E (D(real) - 1)^2 + 1/2 E D(fake)^2
generator  min 1/2 E (D(fake) - 1)^2
"""

from dataclasses import dataclass

from torch import Tensor

from surrogate_fmu.training.objectives.games.protocol import Critic, Unconstrained


@dataclass(frozen=True)
class LeastSquares(Unconstrained):
    """Pulls scores to labels, so that the generator's gradient does not vanish for fakes far from the real ones."""

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return 0.5 * ((critic(real) - 1.0).square().mean() + critic(fake).square().mean())

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return 0.5 * (critic(fake) - 1.0).square().mean()
