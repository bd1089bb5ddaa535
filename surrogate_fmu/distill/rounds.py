"""Active rounds: train a little, record more where the surrogate is unsure, stop when the validation score has stopped falling.

What is unsure is where trainings that differ in their seed alone disagree about the mean (query by committee: Seung, Opper and
Sompolinsky, COLT 1992; for regression: Burbidge, Rowland and King, IDEAL 2007), in units of the plant's own spread. Schedules
to record next are drawn from a pool with the disagreement as their weight, not taken from its top, which would be the same
place many times over. The law of outputs given inputs is not changed by the choice of inputs, so a generator may learn from what
was chosen so.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate_fmu.dataset.scaling import measure_scaling
from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.plant.rounds import RoundsConfig
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.loop import train
from surrogate_fmu.training.rollout import RollingGenerator, draw_latents

_CHUNK = 4096  # runs rolled at once
_SHARPNESS = 2.0  # the weight of a schedule is this power of its disagreement


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        recorded: schedules so far.
        score: mean validation score of the committee; see `ValidationScore`.
        disagreement: mean over the pool, in units of the conditional spread.
        chosen: places in the pool of the schedules to record next; none where the rounds end.
        why: they end; empty where they do not.
    """

    recorded: int
    score: float
    disagreement: float
    chosen: tuple[int, ...]
    why: str


def run_rounds(
    record: Callable[[Sequence[int]], Trajectories],
    pool: Array,
    validation: Trajectories,
    config: TrainingConfig,
    rounds: RoundsConfig,
    most: int,
    report: Callable[[Round], None] = lambda found: None,
) -> Trajectories:
    """Record in rounds.

    Args:
        record: gives the runs of schedules, named by their places in the pool in the order in which they were chosen; called
            with a list that grows, of which the first part was there before.
        pool: (schedule, step, condition), inputs and parameters of all schedules that may be recorded; the first ones are what a
            recording without rounds would take.
        validation: runs that no round adds to.
        config: of the training; the committee's is cut to the updates of the rounds.
        rounds: how.
        most: schedules to record at most.
        report: called after every round.

    Returns:
        The runs that were recorded.

    Raises:
        TrainingError: the committee cannot be trained on what was recorded.
    """
    most = min(most, len(pool))
    taken = list(range(min(most, max(rounds.first, round(rounds.first_share * most)))))
    random, scores = np.random.default_rng((config.seed, 4)), []
    while True:
        runs = record(taken)
        generators, score = _committee(runs, validation, config, rounds)
        scores.append(score)
        why = _ended(scores, rounds) or ("all that may be recorded are" if len(taken) >= most else "")
        unit = measure_scaling(runs, validation).conditional_std
        disagreement = committee_disagreement(generators, pool, unit, config, rounds.draws)
        count = 0 if why else min(most - len(taken), max(1, round(rounds.growth * len(taken))))
        chosen = draw_schedules_by_weight(disagreement, taken, count, random)
        report(Round(len(taken), score, float(disagreement.mean()), tuple(chosen), why))
        if why:
            return runs
        taken += chosen


def committee_disagreement(
    generators: Sequence[RollingGenerator], pool: Array, unit: Array, config: TrainingConfig, draws: int
) -> Array:
    """How far the means of trainings lie apart under every schedule (schedule,), root mean square in units of `unit` (output,).

    All generators get the same latents, and what the number of draws leaves to chance is taken off. Where a generator diverges
    nothing is known: such a schedule is as unsure as the most unsure one, at least by 1.
    """
    sizes = config.generator
    draws = draws if sizes.run_latent_dim + sizes.step_latent_dim else 1
    conditions, scale = torch.tensor(pool, dtype=torch.float32), torch.tensor(unit, dtype=torch.float32)
    found: list[Tensor] = []
    for part in torch.split(conditions, max(1, _CHUNK // draws)):
        means, noise = [], torch.zeros(len(part))
        for generator in generators:
            random = torch.Generator().manual_seed(config.seed)
            latents = draw_latents(draws * len(part), part.shape[1], sizes.run_latent_dim, sizes.step_latent_dim, random)
            with torch.no_grad():
                rolled = generator.roll(part, latents)[:, 1:] / scale
            members = rolled.reshape(draws, len(part), *rolled.shape[1:])
            means.append(members.mean(dim=0))
            if draws > 1:
                noise += members.var(dim=0).mean(dim=(1, 2)) / draws / len(generators)
        apart = torch.stack(means).var(dim=0).mean(dim=(1, 2))
        found.append((apart - noise).clamp_min(0.0).sqrt())
    total = np.asarray(torch.cat(found), dtype=float)
    finite = np.isfinite(total)
    total[~finite] = total[finite].max(initial=1.0)
    return total


def draw_schedules_by_weight(disagreement: Array, taken: Sequence[int], count: int, random: np.random.Generator) -> list[int]:
    """Places of so many schedules that are not taken yet, without repetition, with weights that grow with the disagreement."""
    weight = np.maximum(disagreement, 1e-3 * max(disagreement.max(), 1e-12)) ** _SHARPNESS
    # The largest of log w + Gumbel noise are such a draw (Efraimidis and Spirakis, Inf. Process. Lett. 97, 2006).
    keys: NDArray[np.float64] = np.log(weight) + random.gumbel(size=len(weight))
    keys[list(taken)] = -np.inf
    order = np.argsort(-keys, kind="stable")
    return [int(place) for place in order[:count]]


def _committee(
    runs: Trajectories, validation: Trajectories, config: TrainingConfig, rounds: RoundsConfig
) -> tuple[list[RollingGenerator], float]:
    shorter = dataclasses.replace(config, updates=min(config.updates, rounds.updates), validations=min(config.validations, 4))
    results = [train(runs, validation, dataclasses.replace(shorter, seed=config.seed + k)) for k in range(rounds.committee)]
    return [result.generator for result in results], float(np.mean([result.best.score for result in results]))


def _ended(scores: Sequence[float], rounds: RoundsConfig) -> str:
    """Why there is no use in more: the best score of the last rounds is no better than the best one before."""
    if len(scores) <= rounds.patience:
        return ""
    before, last = min(scores[: -rounds.patience]), min(scores[-rounds.patience :])
    if last < before * (1.0 - rounds.tolerance):
        return ""
    return f"the score has not fallen by {rounds.tolerance:.0%} in {rounds.patience} rounds"
