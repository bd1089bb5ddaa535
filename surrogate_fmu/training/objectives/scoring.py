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
        self._config, self._generator = config.energy, generator
        self._pooled, self._condition_mean, self._condition_std, self._output_mean, self._output_std = scale_tensors(scaling)
        self._spread = self._pooled.repeat(run_count, 1)
        self._random = torch.Generator().manual_seed(config.seed + 2)
        self._encoder: RunEncoder | None = None
        run_latent_dim, self._step_latent_dim = config.generator.run_latent_dim, config.generator.step_latent_dim
        if self._config.reconstruction_weight > 0.0 and run_latent_dim:
            width = self._config.encoder_width
            self._encoder = RunEncoder(generator.output_dim, len(self._condition_mean), run_latent_dim, width)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._encoder.parameters() if self._encoder else ()

    def loss(self, roll_members: RollMembers, batch: Batch, share: float) -> Tensor:
        members = roll_members(self._config.members)[:, :, 1:]
        observed = batch.observed[:, 1:]
        spread = torch.maximum(self._spread[batch.runs], _FLOOR * self._pooled)
        # Between pooled and local: relative errors count, and a window of no spread cannot drown the others.
        unit = (self._pooled**self._config.pooling * spread ** (1.0 - self._config.pooling))[:, None]
        with torch.no_grad():
            seen = members.var(dim=0).mean(dim=1).sqrt()
            self._spread[batch.runs] = (1.0 - _FORGETTING) * self._spread[batch.runs] + _FORGETTING * seen
        score = path_score(members / unit, observed / unit, self._config.path_weight)
        if self._encoder is None:
            return score
        mean = members.detach().mean(dim=0)
        level = (mean - self._output_mean) / self._output_std
        condition = (batch.conditions - self._condition_mean) / self._condition_std
        centre, log_variance = self._encoder((observed - mean) / unit, level, condition)
        latents = draw_posterior(centre, log_variance, self._random)[:, None].expand(-1, observed.shape[1], -1)
        latents = torch.cat([latents, latents.new_zeros(*latents.shape[:2], self._step_latent_dim)], dim=2)
        error = (self._generator.roll(batch.conditions, latents)[:, 1:] - observed) / unit
        return score + self._config.reconstruction_weight * negative_elbo(error, centre, log_variance)

    def state(self) -> dict[str, Any]:
        encoder = self._encoder.state_dict() if self._encoder else {}
        return {"spread": self._spread, "random": self._random.get_state(), "encoder": encoder}

    def load(self, state: dict[str, Any]) -> None:
        self._spread = state["spread"]
        self._random.set_state(state["random"])
        if self._encoder:
            self._encoder.load_state_dict(state["encoder"])
