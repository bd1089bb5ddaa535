"""A race: several recipes train the same generator on the same data, each with an equal share of the budget; the judge picks."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import SurrogateError, TrainingError
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.judge import Judge, Judgement, pick_winner
from surrogate_fmu.training.loop import Progress, Trainer, TrainingResult
from surrogate_fmu.training.recipes import Recipe
from surrogate_fmu.training.validation import ValidationScore
from surrogate_fmu.training.watch import Watch

_SLICE_S = 0.5  # CPU seconds that a candidate trains before the next one has its turn
_UNBOUNDED = 10**9  # updates: the budget ends a training


@dataclass
class Candidate:
    """One recipe on its way.

    Attributes:
        recipe: what it trains with.
        config: of its training.
        watch: what went wrong so far.
        progress: where it stands.
        latest: its last validation score.
        failed: why it could not go on.
        result: when it is through.
        judgement: the judge's.
    """

    recipe: Recipe
    config: TrainingConfig
    watch: Watch = field(default_factory=Watch)
    progress: Progress | None = None
    latest: ValidationScore | None = None
    failed: str = ""
    result: TrainingResult | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True)
class Race:
    """How a race ended.

    Attributes:
        candidates: in the order of their scores, those that failed last.
        winner: the one to take.
        tied: names of those that nobody leads by more than luck, the winner among them.
    """

    candidates: tuple[Candidate, ...]
    winner: Candidate
    tied: tuple[str, ...]


def race(
    training: Trajectories,
    validation: Trajectories,
    config: TrainingConfig,
    recipes: Sequence[Recipe],
    budget_cpu_s: float,
    report: Callable[[Sequence[Candidate]], None] = lambda candidates: None,
    folder: Path = Path(),
    long_conditions: Array | None = None,
) -> Race:
    """Train every recipe, in turns, and judge.

    Args:
        training: runs to learn from.
        validation: several individuals per schedule; they pick each candidate's weights, and the winner.
        config: what all have in common.
        recipes: two or more.
        budget_cpu_s: CPU seconds of all trainings together; each gets an equal share, and a learning rate that falls over it.
        report: called whenever a candidate has had its turn.
        folder: where files that the configuration names are.
        long_conditions: of the judge's long rollouts; see `Judge`.

    Raises:
        TrainingError: no candidate got through, or the data do not fit.
    """
    share = budget_cpu_s / len(recipes)
    candidates = [Candidate(r, dataclasses.replace(r.configure(config), budget_cpu_s=share, updates=_UNBOUNDED)) for r in recipes]
    trainers = {c.recipe.name: Trainer(training, validation, c.config, folder=folder) for c in candidates}
    while running := [c for c in candidates if not c.failed and not trainers[c.recipe.name].finished]:
        for candidate in running:
            _take_turn(candidate, trainers[candidate.recipe.name])
            report(candidates)
    sizes = config.generator
    members = max(64, config.validation_members)
    judge = Judge(validation, sizes.run_latent_dim, sizes.step_latent_dim, members, config.seed + 2, long_conditions)
    for candidate in candidates:
        if not candidate.failed:
            candidate.result = trainers[candidate.recipe.name].result()
            candidate.judgement = judge.judge(candidate.result.generator)
    through = sorted((c for c in candidates if c.judgement), key=_score)
    if not through:
        raise TrainingError("no candidate got through: " + "; ".join(f"{c.recipe.name}: {c.failed}" for c in candidates))
    winner, tied = pick_winner(judge, [(c.judgement, c.recipe.complexity) for c in through if c.judgement])
    report(candidates)
    return Race(
        (*through, *(c for c in candidates if c.failed)), through[winner], tuple(through[place].recipe.name for place in tied)
    )


def _take_turn(candidate: Candidate, trainer: Trainer) -> None:
    end = trainer.cpu_s + _SLICE_S
    try:
        while trainer.cpu_s < end and not trainer.finished:
            candidate.progress = trainer.update()
            candidate.watch.see(candidate.progress)
            candidate.latest = candidate.progress.validation or candidate.latest
    except SurrogateError as error:
        candidate.failed = str(error)


def _score(candidate: Candidate) -> float:
    assert candidate.judgement is not None
    return candidate.judgement.score
