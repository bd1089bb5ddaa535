"""The energy score of windows as an objective, with recognition of individuals beside it."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.generators.wiener import WienerGenerator
from surrogate_fmu.training.objectives.energy import path_score
from surrogate_fmu.training.objectives.protocol import Batch
from surrogate_fmu.training.objectives.recognition import EncoderRecognition, PosteriorRecognition, Recognition
from surrogate_fmu.training.objectives.units import scale_tensors
from surrogate_fmu.training.rollout import WindowRoller, stream

_FORGETTING = 0.3  # of a run's known spread at each visit
_FLOOR = 0.05  # of the pooled spread; below it differences between individuals are noise


class ScoringObjective:
    """Fair energy score of drawn members, plus a loss for following recognised individuals.

    Scored alone, a recorded run is one draw of an unknown individual, and its difference from the others is noise to the
    fit. Recognising which individual it was turns that noise into signal: given its latents, the generator must follow the
    very run. The energy score sees to it that latents drawn from the normal give the right law.

    Every window's outputs are measured in units of the spread between individuals under its own schedule. A weight that
    depends on the condition alone keeps a score proper. It matters: individuals are alike at rest and differ at full load,
    and in one common unit the quiet schedules would not count. The spread under a schedule is taken from the generator's
    members at earlier visits of the window, never from the draws that are being scored.

    Args:
        config: members, weights and seed.
        generator: what is trained.
        scaling: of the training data; its pooled conditional spread stands in until a window was visited.
        run_count: runs in the training data.
    """

    def __init__(self, config: TrainingConfig, generator: Generator, scaling: Scaling, run_count: int) -> None:
        self._config = config.energy
        self._learning_rate = config.learning_rate
        self._pooled, *scales = scale_tensors(scaling)
        self._spread = self._pooled.repeat(run_count, 1)
        output_mean = scales[2]
        self._mean = output_mean.repeat(run_count, config.window_steps[1], 1)
        self._random = stream(config.seed + 3)
        self._updates = 0
        self._recognition: Recognition | None = None
        if self._config.reconstruction_weight > 0.0 and generator.run_latent_dim:
            if isinstance(generator, WienerGenerator):
                self._recognition = PosteriorRecognition(config, generator, run_count)
            else:
                self._recognition = EncoderRecognition(config, generator, (scales[0], scales[1], scales[2], scales[3]))

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._recognition.parameters() if self._recognition else ()

    def learning_rate(self, share: float) -> float:
        return self._learning_rate

    def after_update(self, generators: Sequence[Generator]) -> None:
        if self._recognition:
            self._recognition.after_update(generators)

    def loss(self, roller: WindowRoller, batch: Batch, share: float) -> Tensor:
        steps = batch.conditions.shape[1]
        points = torch.arange(1, steps + 1)
        if 0 < self._config.points < steps:
            points = 1 + torch.randperm(steps, generator=self._random)[: self._config.points].sort().values
        spread = torch.maximum(self._spread[batch.runs], _FLOOR * self._pooled)
        # Between pooled and local: relative errors count, and a window of no spread cannot drown the others.
        unit = (self._pooled**self._config.pooling * spread ** (1.0 - self._config.pooling))[:, None]
        expected = self._mean[batch.runs, :steps]
        terms = []
        if self._updates % self._config.interval == 0 or self._recognition is None:
            members = roller.roll(roller.draw(self._config.members), points)
            self._remember(batch.runs, members, points)
            terms.append(path_score(members / unit, batch.observed[:, points] / unit, self._config.path_weight))
        if self._recognition is not None:
            weight = self._config.reconstruction_weight
            terms.append(weight * self._recognition.loss(roller, batch, unit, expected, points))
        self._updates += 1
        return torch.stack(terms).sum()

    def _remember(self, runs: Tensor, members: Tensor, points: Tensor) -> None:
        """Mean and spread of the members under each schedule, for the next visit of these runs."""
        with torch.no_grad():
            self._spread[runs] = torch.lerp(self._spread[runs], members.var(dim=0).mean(dim=1).sqrt(), _FORGETTING)
            here = (runs[:, None], points - 1)
            self._mean[here] = torch.lerp(self._mean[here], members.mean(dim=0), _FORGETTING)

    def signals(self) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        recognition = self._recognition.state() if self._recognition else {}
        random = self._random.get_state()
        return {
            "spread": self._spread, "mean": self._mean, "random": random, "updates": self._updates, "recognition": recognition
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        self._spread, self._mean, self._updates = state["spread"], state["mean"], state["updates"]
        self._random.set_state(state["random"])
        if self._recognition:
            self._recognition.load(state["recognition"])
