"""The energy score of windows as an objective."""

from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import EnergyConfig
from surrogate_fmu.training.objectives.energy import path_score
from surrogate_fmu.training.objectives.protocol import Batch, RollMembers

_FORGETTING = 0.3  # of a run's known spread at each visit
_FLOOR = 0.05  # of the pooled spread; below it differences between individuals are noise


class ScoringObjective:
    """Fair energy score, every window's outputs in units of the spread between individuals under its own schedule.

    A weight that depends on the condition alone keeps a score proper. It matters: individuals are alike at rest and differ
    at full load, and in one common unit the quiet schedules would not count. The spread under a schedule is taken from the
    generator's members at earlier visits of the window, never from the draws that are being scored.

    Args:
        config: members and weights.
        scaling: of the training data; its pooled conditional spread stands in until a window was visited.
        run_count: runs in the training data.
    """

    def __init__(self, config: EnergyConfig, scaling: Scaling, run_count: int) -> None:
        self._config = config
        self._pooled = torch.tensor(scaling.conditional_std, dtype=torch.float32)
        self._spread = self._pooled.repeat(run_count, 1)

    def loss(self, roll_members: RollMembers, batch: Batch, share: float) -> Tensor:
        members = roll_members(self._config.members)
        spread = torch.maximum(self._spread[batch.runs], _FLOOR * self._pooled)
        # Between pooled and local: relative errors count, and a window of no spread cannot drown the others.
        unit = (self._pooled**self._config.pooling * spread ** (1.0 - self._config.pooling))[:, None]
        with torch.no_grad():
            seen = members[:, :, 1:].var(dim=0).mean(dim=1).sqrt()
            self._spread[batch.runs] = (1.0 - _FORGETTING) * self._spread[batch.runs] + _FORGETTING * seen
        return path_score(members[:, :, 1:] / unit, batch.observed[:, 1:] / unit, self._config.path_weight)

    def state(self) -> dict[str, Any]:
        return {"spread": self._spread}

    def load(self, state: dict[str, Any]) -> None:
        self._spread = state["spread"]
