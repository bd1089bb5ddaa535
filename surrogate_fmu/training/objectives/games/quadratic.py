"""The 2-Wasserstein game: a dual of optimal transport with a quadratic cost and an L2 regularisation (Seguy et al., ICLR 2018).

    critic     max E D(real_i) - E D(fake_j) - 1 / (4 e) E_ij max(0, D(real_i) - D(fake_j) - c_ij)^2,
               with c_ij = |real_i - fake_j|^2 / 2n
    generator  min -E D(fake)

with n numbers in a window. At the optimum the gradient of D at a fake points to where transport takes it and is as long as the way
is far: a spring, where that of the 1-Wasserstein critic has length 1 near and far.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu

from surrogate_fmu.training.objectives.games.protocol import Critic, Unconstrained


@dataclass(frozen=True)
class QuadraticTransport(Unconstrained):
    """Transport at a quadratic cost.

    Attributes:
        softness: e, of the regularisation.
    """

    softness: float = 0.05

    def __post_init__(self) -> None:
        if self.softness <= 0.0:
            raise ValueError(f"softness {self.softness:g} must be above 0")

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        real_score, fake_score = critic(real), critic(fake)
        gaps = real.flatten(1)[:, None] - fake.detach().flatten(1)[None]
        cost = 0.5 * gaps.square().mean(dim=2)
        excess = relu(real_score[:, None] - fake_score[None] - cost)
        return fake_score.mean() - real_score.mean() + excess.square().mean() / (4.0 * self.softness)

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return -critic(fake).mean()
