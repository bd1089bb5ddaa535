"""The judge of a race: one score for all candidates, from the plant's own runs, and intervals that tell a lead from luck.

    score = 1/2 CRPS / plant's own + 1/2 energy score of windows / plant's own + 0.2 |log spread ratio|

averaged over outputs and validation schedules. A perfect generator has 1. The plant's own is the score of a schedule's other
individuals, so it is the floor that no model of the same law can beat but by luck. Intervals come from the bootstrap over schedules
(Efron, 1979), paired: every candidate is scored on the same resampled schedules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.objectives.energy import fair_energy_score
from surrogate_fmu.training.objectives.terms.term import flat_windows
from surrogate_fmu.training.rollout import RollingGenerator, draw_latents
from surrogate_fmu.training.validation import Validation

_SPREAD_WEIGHT = 0.2
_RESAMPLES = 2000
_LEVEL = 0.9
_REPEATS = 20  # of a recorded schedule, where no long conditions are given
_REPEATED_MEMBERS = 32
_REACH = 3.0  # ranges of an output around its recorded range; beyond it a rollout has diverged


@dataclass(frozen=True)
class Judgement:
    """What the judge saw of one candidate.

    Attributes:
        score: 1 is perfect.
        low, high: 90 % interval of the score.
        crps_ratio, path_ratio, spread_ratio: its parts; 1 is the plant's own.
        spread_skill: spread over error of the ensemble mean at the first, the middle and the last step; 1 is calibrated.
        diverged: members of long rollouts that left the range of the plant, of `long_members`.
        long_members: how many there were.
        parts: (schedule, 3): CRPS ratio, path ratio, and the spread's two variances behind the interval.
    """

    score: float
    low: float
    high: float
    crps_ratio: float
    path_ratio: float
    spread_ratio: float
    spread_skill: tuple[float, float, float]
    diverged: int
    long_members: int
    parts: Array


class Judge:
    """Scores generators on validation runs.

    Args:
        trajectories: several individuals per schedule, the same number for each.
        run_latent_dim, step_latent_dim: of the generators.
        members: draws per schedule.
        seed: of draws and resamples.
        long_conditions: (member, step, condition), physical units, of the long rollouts; no members, no rollouts. None repeats
            recorded schedules twenty times, which is legal for plants alone whose outputs no input integrates to.

    Raises:
        DatasetError: a schedule has too few individuals.
        TrainingError: the long conditions have another shape.
    """

    def __init__(
        self,
        trajectories: Trajectories,
        run_latent_dim: int,
        step_latent_dim: int,
        members: int,
        seed: int,
        long_conditions: Array | None = None,
    ) -> None:
        self._validation = Validation(trajectories, run_latent_dim, step_latent_dim, members, seed)
        self._dims = (run_latent_dim, step_latent_dim)
        self._seed = seed
        plant = self._validation.plant  # (schedule, individual, step, output)
        self._scale = torch.maximum(plant.var(dim=1).mean(dim=(0, 1)).sqrt(), self._validation.resolution)
        individuals = plant.shape[1]
        others = [[j for j in range(individuals) if j != i] for i in range(individuals)]
        self._floor_path = (
            torch.stack([self._path(plant[:, others[i]], plant[:, i]) for i in range(individuals)]).mean().clamp_min(1e-6)
        )
        self._long = self._repeated() if long_conditions is None else torch.tensor(long_conditions, dtype=torch.float32)
        if self._long.ndim != 3 or self._long.shape[2] != self._validation.conditions.shape[2]:
            raise TrainingError(
                f"long conditions have the shape {tuple(self._long.shape)}; expected (member, step, condition), "
                f"{self._validation.conditions.shape[2]} conditions as the validation runs have"
            )
        self._low, self._high = plant.amin(dim=(0, 1, 2)), plant.amax(dim=(0, 1, 2))
        self._resamples = np.random.default_rng(seed).integers(0, len(plant), (_RESAMPLES, len(plant)))

    def judge(self, generator: RollingGenerator) -> Judgement:
        """Score one candidate."""
        plant, members = self._validation.plant, self._validation.members(generator)
        floor = torch.maximum(self._validation.floor.mean(dim=0), self._validation.resolution)
        crps = self._validation.crps(members) / floor
        path = torch.stack([self._path(members, plant[:, i]) for i in range(plant.shape[1])]).mean(dim=0) / self._floor_path
        variance, plant_variance = (some.var(dim=1).mean(dim=1) for some in (members, plant))  # (schedule, output)
        parts = np.concatenate(
            [crps.mean(dim=1)[:, None].numpy(), path[:, None].numpy(), variance.numpy(), plant_variance.numpy()], axis=1
        ).astype(np.float64)
        resampled = self.score(parts[self._resamples])
        low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        diverged = self._diverged(generator)
        _, spread_ratio = self._figures(parts)
        return Judgement(
            score=float(self.score(parts)),
            low=float(low),
            high=float(high),
            crps_ratio=float(parts[:, 0].mean()),
            path_ratio=float(parts[:, 1].mean()),
            spread_ratio=float(np.exp(np.log(spread_ratio).mean())),
            spread_skill=self._spread_skill(members),
            diverged=diverged,
            long_members=len(self._long),
            parts=parts,
        )

    def score(self, parts: Array) -> Array:
        """The score of parts (..., schedule, part)."""
        base, spread_ratio = self._figures(parts)
        score: Array = base + _SPREAD_WEIGHT * np.abs(np.log(spread_ratio)).mean(axis=-1)
        return score

    def leads(self, first: Judgement, second: Judgement) -> bool:
        """Whether the first is better than the second by more than luck: the paired interval of the difference is below 0."""
        difference = self.score(first.parts[self._resamples]) - self.score(second.parts[self._resamples])
        return bool(np.quantile(difference, _LEVEL) < 0.0)

    def _figures(self, parts: Array) -> tuple[Array, Array]:
        means = parts.mean(axis=-2)
        count = (parts.shape[-1] - 2) // 2
        floor = np.square(self._validation.resolution.numpy())
        variance, plant = (np.maximum(v, floor) for v in (means[..., 2 : 2 + count], means[..., 2 + count :]))
        return 0.5 * (means[..., 0] + means[..., 1]), np.sqrt(variance / plant)

    def _path(self, members: Tensor, observed: Tensor) -> Tensor:
        """members (schedule, member, step, output), observed (schedule, step, output) -> (schedule,)."""
        return fair_energy_score(flat_windows(members.transpose(0, 1) / self._scale), flat_windows(observed / self._scale))

    def _spread_skill(self, members: Tensor) -> tuple[float, float, float]:
        plant, count = self._validation.plant, members.shape[1]
        steps = plant.shape[2]
        figures = []
        for step in (0, steps // 2, steps - 1):
            spread = members[:, :, step].var(dim=1).mean(dim=0) * (1.0 + 1.0 / count)
            error = (members[:, :, step].mean(dim=1, keepdim=True) - plant[:, :, step]).square().mean(dim=(0, 1))
            floor = self._validation.resolution.square()
            figures.append(float((torch.maximum(spread, floor) / torch.maximum(error, floor)).sqrt().log().mean().exp()))
        return figures[0], figures[1], figures[2]

    def _repeated(self) -> Tensor:
        conditions = self._validation.conditions  # (schedule, step, condition)
        return conditions[torch.arange(_REPEATED_MEMBERS) % len(conditions)].repeat(1, _REPEATS, 1)

    def _diverged(self, generator: RollingGenerator) -> int:
        if not len(self._long):
            return 0
        random = torch.Generator().manual_seed(self._seed + 1)
        latents = draw_latents(len(self._long), self._long.shape[1], *self._dims, random)
        with torch.no_grad():
            rolled = generator.roll(self._long, latents)
        width = (self._high - self._low).clamp_min(1e-12)
        inside = (rolled > self._low - _REACH * width) & (rolled < self._high + _REACH * width)
        return int((~(inside & rolled.isfinite()).flatten(1).all(dim=1)).sum())


def pick_winner(judge: Judge, standings: Sequence[tuple[Judgement, float]]) -> tuple[int, list[int]]:
    """The place of the winner, and of those it does not lead by more than luck.

    Args:
        judge: compares.
        standings: what was seen of each candidate, and its complexity.

    Returns:
        The simplest of those that nobody leads and none of whose rollouts diverged, if there are such; then all of them.
    """
    whole = [place for place, (judgement, _) in enumerate(standings) if judgement.diverged == 0] or list(range(len(standings)))
    best = min(whole, key=lambda place: standings[place][0].score)
    tied = [place for place in whole if place == best or not judge.leads(standings[best][0], standings[place][0])]
    winner = min(tied, key=lambda place: (standings[place][1], standings[place][0].score))
    return winner, tied
