"""The energy score of windows as an objective."""

from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.objectives.energy import path_score
from surrogate_fmu.training.objectives.protocol import RollMembers


class ScoringObjective:
    """Fair energy score with outputs in units of their conditional spread."""

    def __init__(self, config: TrainingConfig, scaling: Scaling) -> None:
        self._config = config.energy
        self._weight = torch.tensor(1.0 / scaling.conditional_std, dtype=torch.float32)

    def loss(self, roll_members: RollMembers, conditions: Tensor, observed: Tensor, share: float) -> Tensor:
        members = roll_members(self._config.members)
        return path_score(members * self._weight, observed * self._weight, self._config.path_weight)

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        pass
