"""One trial of a search: a training with given settings, stopped where earlier trials say that it is hopeless, and its judgement.

It depends on its arguments alone, so it may run anywhere, in this process or on a cluster.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import ConfigError, SurrogateError
from surrogate_fmu.schema import SchemaError, decode, encode
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.judge import Judge, Judgement
from surrogate_fmu.training.loop import Trainer, TrainingResult

_UNBOUNDED = 10**9  # updates: the budget ends a trial
_GRACE = 2  # validations before a trial may be stopped; the first is taken before anything was learned


@dataclass(frozen=True)
class Problem:
    """What all trials have in common.

    Attributes:
        training: runs to learn from.
        validation: several individuals per schedule, which judge.
        config: before the settings of a trial.
        budget_cpu_s: CPU seconds of one trial.
        folder: where files that the configuration names are.
        long_conditions: of the judge's long rollouts; see `Judge`.
    """

    training: Trajectories
    validation: Trajectories
    config: TrainingConfig
    budget_cpu_s: float
    folder: Path = Path()
    long_conditions: Array | None = None

    def make_judge(self) -> Judge:
        """The judge, the same for every trial."""
        config, sizes = self.config, self.config.generator
        members = max(64, config.validation_members)
        return Judge(self.validation, sizes.run_latent_dim, sizes.step_latent_dim, members, config.seed + 2, self.long_conditions)

    def with_settings(self, settings: Mapping[str, Any]) -> TrainingConfig:
        """The configuration of a trial.

        Raises:
            ConfigError: as `configured`.
        """
        return dataclasses.replace(configured(self.config, settings), budget_cpu_s=self.budget_cpu_s, updates=_UNBOUNDED)


@dataclass(frozen=True)
class Task:
    """What is asked of a trial.

    Attributes:
        number: of the trial.
        settings: what it tries, by path.
        bars: for each validation, the score that the best so far must not be above; none, and it is not stopped.
    """

    number: int
    settings: Mapping[str, Any]
    bars: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        number: of the trial.
        curve: scores of its validations.
        result: the generator; None when it was stopped or failed.
        judgement: of it.
        error: why it failed; empty when it did not.
    """

    number: int
    curve: tuple[float, ...] = ()
    result: TrainingResult | None = None
    judgement: Judgement | None = None
    error: str = ""

    @property
    def score(self) -> float | None:
        """The judge's, plus one for each rollout that diverged; None when the trial was stopped or failed."""
        return None if self.judgement is None else self.judgement.score + self.judgement.diverged


Engine = Callable[[Callable[[Problem, Task], Outcome], Problem, Iterable[Task]], Iterator[Outcome]]
"""Runs the function for every task and yields what comes, in any order. It takes a task when it has room for one, so that the
choice of its settings may rest on all that was yielded before."""


def in_turn(function: Callable[[Problem, Task], Outcome], problem: Problem, tasks: Iterable[Task]) -> Iterator[Outcome]:
    """One after the other, in this process."""
    return (function(problem, task) for task in tasks)


def run_trial(problem: Problem, task: Task) -> Outcome:
    """Train, unless it becomes hopeless, and judge; what goes wrong with these settings is in the outcome."""
    curve: list[float] = []
    try:
        trainer = Trainer(problem.training, problem.validation, problem.with_settings(task.settings), folder=problem.folder)
        while not trainer.finished:
            progress = trainer.update()
            if progress.validation is not None:
                curve.append(progress.validation.score)
                if _hopeless(curve, task.bars):
                    return Outcome(task.number, tuple(curve))
        result = trainer.result()
        return Outcome(task.number, tuple(curve), result, problem.make_judge().judge(result.generator))
    except SurrogateError as error:
        return Outcome(task.number, tuple(curve), error=str(error))


def _hopeless(curve: list[float], bars: tuple[float, ...]) -> bool:
    """Whether the best score so far is worse than the median of earlier trials at this validation."""
    return _GRACE <= len(curve) <= len(bars) and min(curve) > bars[len(curve) - 1]


def configured(config: TrainingConfig, settings: Mapping[str, Any]) -> TrainingConfig:
    """The configuration with some settings, by path.

    Raises:
        ConfigError: a path leads nowhere, or a value cannot be used there.
    """
    data = encode(config)
    for path, value in settings.items():
        *tables, name = path.split(".")
        table = data
        for key in tables:
            table = table.get(key) if isinstance(table, dict) else None
        if not isinstance(table, dict) or name not in table:
            raise ConfigError(f"the setting {path!r} is unknown; give its path in [training], such as generator.width")
        table[name] = value
    try:
        return decode(TrainingConfig, data)
    except SchemaError as error:
        raise ConfigError(f"the search tries a setting that cannot be used: {error}") from error
