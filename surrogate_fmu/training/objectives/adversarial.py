"""The R3GAN game over windows, after a warm-up on the energy score."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.objectives.games.relativistic import Relativistic
from surrogate_fmu.training.objectives.protocol import Batch
from surrogate_fmu.training.objectives.scoring import ScoringObjective
from surrogate_fmu.training.objectives.sum import SumObjective
from surrogate_fmu.training.objectives.terms.adversarial import Adversarial
from surrogate_fmu.training.objectives.terms.term import TermSum
from surrogate_fmu.training.rollout import WindowRoller


class AdversarialObjective:
    """Energy score first, then critic and generator in turn; arguments as those of `SumObjective`."""

    def __init__(self, config: TrainingConfig, generator: Generator, scaling: Scaling, training: Trajectories) -> None:
        self._config = config.r3gan
        self._warm_up = ScoringObjective(config, generator, scaling, len(training))
        game = Adversarial(
            Relativistic(self._config.gamma),
            width=self._config.critic_width,
            learning_rate=self._config.critic_learning_rate,
            members=config.energy.members,
        )
        self._game = SumObjective(TermSum([(1.0, game)]), config, generator, scaling, training)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._warm_up.parameters()

    def learning_rate(self, share: float) -> float:
        in_game = share >= self._config.warm_up_fraction
        return self._config.generator_learning_rate if in_game else self._warm_up.learning_rate(share)

    def after_update(self, generators: Sequence[Generator]) -> None:
        self._warm_up.after_update(generators)

    def loss(self, roller: WindowRoller, batch: Batch, share: float) -> Tensor:
        objective = self._warm_up if share < self._config.warm_up_fraction else self._game
        return objective.loss(roller, batch, share)

    def signals(self) -> dict[str, float]:
        return self._game.signals()

    def state(self) -> dict[str, Any]:
        return {"warm_up": self._warm_up.state(), "game": self._game.state()}

    def load(self, state: dict[str, Any]) -> None:
        self._warm_up.load(state["warm_up"])
        self._game.load(state["game"])
