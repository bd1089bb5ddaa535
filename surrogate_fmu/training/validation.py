"""The score that picks the weights: CRPS on validation runs against that of the plant's own individuals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.training.objectives.energy import fair_crps
from surrogate_fmu.training.rollout import RollingGenerator, draw_latents, stream
from surrogate_fmu.variables import Causality

_SPREAD_WEIGHT = 0.2
_RESOLUTION = 1e-4  # of an output's standard deviation; differences below it count as nothing


@dataclass(frozen=True)
class ValidationScore:
    """Scores per output, in the order of the outputs.

    Attributes:
        crps_ratio: CRPS of the generator over that of the plant's other individuals, pooled over schedules and steps;
            1 is a perfect generator.
        spread_ratio: spread of the members over spread of the individuals, likewise pooled.
        score: what picks the weights: the mean of crps_ratio, plus what a wrong spread costs, to which CRPS is nearly blind.
    """

    crps_ratio: tuple[float, ...]
    spread_ratio: tuple[float, ...]

    @property
    def score(self) -> float:
        return float(np.mean(self.crps_ratio) + _SPREAD_WEIGHT * np.mean(np.abs(np.log(self.spread_ratio))))

    def line(self, names: Sequence[str]) -> str:
        """One line for a terminal."""
        return "  ".join(f"{name} {ratio:.3f}" for name, ratio in zip(names, self.crps_ratio, strict=True))


class Validation:
    """Validation runs, grouped by schedule, and draws that are the same at every call.

    Args:
        trajectories: several individuals per schedule, the same number for each.
        run_latent_dim, step_latent_dim: of the generator.
        members: draws per schedule.
        seed: of the draws.

    Raises:
        DatasetError: a schedule was run with fewer than three individuals, or their numbers differ.

    Attributes:
        plant: (schedule, individual, step, output), the recorded runs without their start.
        conditions: (schedule, step, condition).
        resolution: (output,), differences below it count as nothing.
        floor: (schedule, output), the plant's own CRPS: of each individual against the others.
        names: of the outputs.
    """

    def __init__(self, trajectories: Trajectories, run_latent_dim: int, step_latent_dim: int, members: int, seed: int) -> None:
        numbers, counts = np.unique(trajectories.schedule, return_counts=True)
        fewest = 3 if run_latent_dim + step_latent_dim else 1  # without latents there is no spread to compare
        if counts.min() < fewest or counts.min() != counts.max():
            raise DatasetError(
                f"validation needs at least {fewest} individuals per schedule, the same number for each; got {counts.min()} to "
                f"{counts.max()}; set individuals in [recording.validation] and record again"
            )
        order = np.argsort(trajectories.schedule, kind="stable")
        plant = torch.tensor(trajectories.outputs[order], dtype=torch.float32)[:, 1:]
        self.plant = plant.reshape(len(numbers), -1, *plant.shape[1:])
        first = order.reshape(len(numbers), -1)[:, 0]
        self.conditions = torch.tensor(trajectories.conditions()[first], dtype=torch.float32)
        self._repeated = self.conditions.repeat_interleave(members, dim=0)
        random = stream(seed)
        self._latents = draw_latents(len(self._repeated), trajectories.step_count, run_latent_dim, step_latent_dim, random)
        self._member_count = members
        individuals = self.plant.shape[1]
        others = [[j for j in range(individuals) if j != i] for i in range(individuals)]
        # An output that the inputs fix has no spread to measure by; a small share of its range stands in.
        scale = self.plant.std(dim=(0, 1, 2))
        self.resolution = torch.where(scale > 0, _RESOLUTION * scale, torch.ones_like(scale))
        self.floor = torch.zeros(len(numbers), self.plant.shape[-1])
        if individuals > 1:
            self.floor = torch.stack([_crps(self.plant[:, others[i]], self.plant[:, i]) for i in range(individuals)]).mean(dim=0)
        self.names = trajectories.names(Causality.OUTPUT)

    def score(self, generator: RollingGenerator) -> ValidationScore:
        """Score a generator as it is."""
        members = self.members(generator)
        crps = self.crps(members)
        spread, plant_spread = (
            torch.maximum(ensemble.var(dim=1, correction=min(1, ensemble.shape[1] - 1)).mean(dim=(0, 1)).sqrt(), self.resolution)
            for ensemble in (members, self.plant)
        )
        ratio = crps.mean(dim=0) / torch.maximum(self.floor.mean(dim=0), self.resolution)
        return ValidationScore(tuple(ratio.tolist()), tuple((spread / plant_spread).tolist()))

    def members(self, generator: RollingGenerator) -> Tensor:
        """Draws under every schedule, (schedule, member, step, output)."""
        with torch.no_grad():
            rolled = generator.roll(self._repeated, self._latents)
        return rolled.reshape(-1, self._member_count, *rolled.shape[1:])[:, :, 1:]

    def crps(self, members: Tensor) -> Tensor:
        """CRPS of members (schedule, member, step, output), averaged over individuals and steps, (schedule, output)."""
        return torch.stack([_crps(members, self.plant[:, i]) for i in range(self.plant.shape[1])]).mean(dim=0)


def _crps(members: Tensor, observed: Tensor) -> Tensor:
    """Members (schedule, member, step, output), observed (schedule, step, output) -> (schedule, output)."""
    return fair_crps(members.transpose(0, 1), observed).mean(dim=1)
