"""A sum of terms as the objective of a training."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.objectives.protocol import Batch
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes, TermSum, average
from surrogate_fmu.training.objectives.units import scale_tensors
from surrogate_fmu.training.rollout import WindowRoller
from surrogate_fmu.variables import Causality, with_causality


class SumObjective:
    """Weighted terms, all of the same draws.

    Args:
        terms: with their weights.
        config: learning rate and seed.
        generator: what is trained.
        scaling: of the training data.
        training: runs to learn from; for their number and names.
        weights: (run,), importance weights of the training runs with mean 1; None weighs all alike.

    Raises:
        TrainingError: a term does not fit the generator.
    """

    def __init__(
        self,
        terms: TermSum,
        config: TrainingConfig,
        generator: Generator,
        scaling: Scaling,
        training: Trajectories,
        weights: Tensor | None = None,
    ) -> None:
        self._terms = list(terms)
        self._learning_rate = config.learning_rate
        self._weights = torch.ones(len(training)) if weights is None else weights
        self._unit, self._condition_mean, self._condition_std, self._mean, self._std = scale_tensors(scaling)
        shapes = Shapes(
            len(self._mean),
            len(self._condition_mean),
            config.generator.run_latent_dim,
            config.generator.step_latent_dim,
            _names(training, (Causality.OUTPUT,)),
            _names(training, (Causality.INPUT, Causality.PARAMETER)),
            config.seed,
        )
        for _, term in self._terms:
            term.bind(shapes)
        self._signals: dict[str, float] = {}
        self._stream = torch.Generator().manual_seed(config.seed + 10).get_state()

    def loss(self, roller: WindowRoller, batch: Batch, share: float) -> Tensor:
        active = [(weight, term) for weight, term in self._terms if term.begin <= share < term.end or share == term.end == 1.0]
        if not active:
            raise TrainingError(f"no term of the objective counts at {share:.0%} of the training; let begin and end leave no gap")
        latents = roller.draw(max(term.members for _, term in active))
        points = torch.arange(1, batch.observed.shape[1])
        condition = (batch.conditions - self._condition_mean) / self._condition_std
        draw = Draw(
            members=(roller.roll(latents, points) - self._mean) / self._unit,
            observed=(batch.observed[:, 1:] - self._mean) / self._unit,
            start=(batch.observed[:, 0] - self._mean) / self._unit,
            condition=condition,
            latents=latents,
            points=points,
            weights=self._weights[batch.runs],
            share=share,
            roller=roller,
            output_mean=self._mean,
            output_unit=self._unit,
            output_std=self._std,
            condition_mean=self._condition_mean,
            condition_std=self._condition_std,
        )
        total, self._signals = torch.zeros(()), {}
        with torch.random.fork_rng(devices=[]):  # what terms draw comes from a stream of this objective
            torch.set_rng_state(self._stream)
            for weight, term in active:
                value = average(term.value(draw), draw.weights)
                total = total + weight * value
                name = type(term).__name__.lower()
                self._signals |= {name: float(value.detach())} | {f"{name}/{key}": v for key, v in term.signals().items()}
            self._stream = torch.get_rng_state()
        return total

    def parameters(self) -> Iterable[nn.Parameter]:
        return [parameter for _, term in self._terms for parameter in term.parameters()]

    def learning_rate(self, share: float) -> float:
        return self._learning_rate

    def after_update(self, generators: Sequence[Generator]) -> None:
        return None

    def signals(self) -> dict[str, float]:
        return self._signals

    def state(self) -> dict[str, Any]:
        return {str(place): term.state() for place, (_, term) in enumerate(self._terms)} | {"stream": self._stream}

    def load(self, state: dict[str, Any]) -> None:
        for place, (_, term) in enumerate(self._terms):
            term.load(state[str(place)])
        self._stream = state["stream"]


def _names(trajectories: Trajectories, causalities: Sequence[Causality]) -> tuple[str, ...]:
    names: list[str] = []
    for causality in causalities:
        for variable in with_causality(trajectories.variables, causality):
            size = math.prod(variable.shape) if variable.shape else 1
            names += [variable.name] if size == 1 else [f"{variable.name}[{k + 1}]" for k in range(size)]
    return tuple(names)
