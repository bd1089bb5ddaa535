"""The energy score of windows as an objective, with recognition of individuals beside it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.encoders.run import RunEncoder
from surrogate_fmu.training.generators.state_space import StateSpaceGenerator
from surrogate_fmu.training.objectives.energy import path_score
from surrogate_fmu.training.objectives.protocol import Batch, RollMembers
from surrogate_fmu.training.objectives.reconstruction import draw_posterior, negative_elbo
from surrogate_fmu.training.objectives.units import scale_tensors

_FORGETTING = 0.3  # of a run's known spread at each visit
_FLOOR = 0.05  # of the pooled spread; below it differences between individuals are noise


class ScoringObjective:
    """Fair energy score, plus the evidence lower bound of the same generator as a decoder of recorded runs.

    Scored alone, a recorded run is one draw of an unknown individual, and its difference from the others is noise to the
    fit. An encoder that says which individual it was turns that noise into signal: given its latents, the generator must
    follow the very run. The energy score sees to it that latents drawn from the normal give the right law.

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

    def __init__(self, config: TrainingConfig, generator: StateSpaceGenerator, scaling: Scaling, run_count: int) -> None:
        self._config = config.energy
        self._pooled, self._condition_mean, self._condition_std, self._output_mean, self._output_std = scale_tensors(scaling)
        self._spread = self._pooled.repeat(run_count, 1)
        self._mean = self._output_mean.repeat(run_count, config.window_steps[1], 1)
        self._random = torch.Generator().manual_seed(config.seed + 2)
        self._encoder: RunEncoder | None = None
        run_latent_dim = config.generator.run_latent_dim
        if self._config.reconstruction_weight > 0.0 and run_latent_dim:
            width = self._config.encoder_width
            self._encoder = RunEncoder(generator.output_dim, len(self._condition_mean), run_latent_dim, width)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._encoder.parameters() if self._encoder else ()

    def loss(self, roll_members: RollMembers, batch: Batch, share: float) -> Tensor:
        observed = batch.observed[:, 1:]
        spread = torch.maximum(self._spread[batch.runs], _FLOOR * self._pooled)
        # Between pooled and local: relative errors count, and a window of no spread cannot drown the others.
        unit = (self._pooled**self._config.pooling * spread ** (1.0 - self._config.pooling))[:, None]
        if self._encoder is None:
            members = roll_members(self._config.members)[:, :, 1:]
            self._remember(batch, members)
            return path_score(members / unit, observed / unit, self._config.path_weight)
        mean = self._mean[batch.runs, : observed.shape[1]]
        level = (mean - self._output_mean) / self._output_std
        condition = (batch.conditions - self._condition_mean) / self._condition_std
        centre, log_variance = self._encoder((observed - mean) / unit, level, condition)
        rolled = roll_members(self._config.members, draw_posterior(centre, log_variance, self._random))[:, :, 1:]
        members, recognised = rolled[:-1], rolled[-1]
        self._remember(batch, members)
        score = path_score(members / unit, observed / unit, self._config.path_weight)
        bound = negative_elbo((recognised - observed) / unit, centre, log_variance)
        return score + self._config.reconstruction_weight * bound

    def _remember(self, batch: Batch, members: Tensor) -> None:
        """Mean and spread of the members under each schedule, for the next visit of these runs."""
        runs, steps = batch.runs, members.shape[2]
        with torch.no_grad():
            self._spread[runs] = torch.lerp(self._spread[runs], members.var(dim=0).mean(dim=1).sqrt(), _FORGETTING)
            self._mean[runs, :steps] = torch.lerp(self._mean[runs, :steps], members.mean(dim=0), _FORGETTING)

    def state(self) -> dict[str, Any]:
        encoder = self._encoder.state_dict() if self._encoder else {}
        return {"spread": self._spread, "mean": self._mean, "random": self._random.get_state(), "encoder": encoder}

    def load(self, state: dict[str, Any]) -> None:
        self._spread, self._mean = state["spread"], state["mean"]
        self._random.set_state(state["random"])
        if self._encoder:
            self._encoder.load_state_dict(state["encoder"])
