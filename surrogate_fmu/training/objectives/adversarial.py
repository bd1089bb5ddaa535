"""The R3GAN game over windows."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.critics.window import WindowCritic
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.objectives import r3gan
from surrogate_fmu.training.objectives.protocol import Batch, RollMembers
from surrogate_fmu.training.objectives.scoring import ScoringObjective
from surrogate_fmu.training.objectives.units import scale_tensors


class AdversarialObjective:
    """Critic and generator in turn, after a warm-up on the energy score.

    Individuals differ by a few percent of an output's range, which a critic that sees raw outputs takes long to notice. It
    therefore sees the deviation from the generator's own ensemble mean, in units of the conditional spread; the mean itself
    and the condition stand beside it. The mean is held constant in both players' gradients.
    """

    def __init__(self, config: TrainingConfig, generator: Generator, scaling: Scaling, run_count: int) -> None:
        self._config = config.r3gan
        self._members = config.energy.members
        self._warm_up = ScoringObjective(config, generator, scaling, run_count)
        condition_dim = len(scaling.condition_mean)
        self._critic = WindowCritic(generator.output_dim, condition_dim, self._config.critic_width)
        self._optimiser = torch.optim.Adam(self._critic.parameters(), lr=self._config.critic_learning_rate, betas=(0.5, 0.99))
        self._spread, self._condition_mean, self._condition_std, self._output_mean, self._output_std = scale_tensors(scaling)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._warm_up.parameters()

    def learning_rate(self, share: float) -> float:
        in_game = share >= self._config.warm_up_fraction
        return self._config.generator_learning_rate if in_game else self._warm_up.learning_rate(share)

    def after_update(self, generators: Sequence[Generator]) -> None:
        self._warm_up.after_update(generators)

    def loss(self, roll_members: RollMembers, batch: Batch, share: float) -> Tensor:
        if share < self._config.warm_up_fraction:
            return self._warm_up.loss(roll_members, batch, share)
        steps = batch.conditions.shape[1]
        members = roll_members(self._members, torch.arange(1, steps + 1))
        mean = members.detach().mean(dim=0)
        # Each member is paired with the observation under the same condition.
        count = members.shape[0]
        real = ((batch.observed[:, 1:] - mean) / self._spread).repeat(count, 1, 1)
        fake = ((members - mean) / self._spread).flatten(0, 1)
        level = ((mean - self._output_mean) / self._output_std).repeat(count, 1, 1)
        condition = ((batch.conditions - self._condition_mean) / self._condition_std).repeat(count, 1, 1)

        def critic(window: Tensor) -> Tensor:
            score: Tensor = self._critic(window, level, condition)
            return score

        self._optimiser.zero_grad()
        r3gan.critic_loss(critic, real, fake, self._config.gamma).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return r3gan.generator_loss(critic, real, fake)

    def state(self) -> dict[str, Any]:
        return {"warm_up": self._warm_up.state(), "critic": self._critic.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self._warm_up.load(state["warm_up"])
        self._critic.load_state_dict(state["critic"])
        self._optimiser.load_state_dict(state["optimiser"])
