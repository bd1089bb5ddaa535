"""A search for settings: trials with different ones, chosen by what earlier trials gave, judged as the candidates of a race are.

Settings are named by their path in the configuration: "learning_rate", "generator.width", "energy.path_weight". The study is kept
in a file and goes on where it was stopped. TPE and grids are Optuna's (Akiba et al., KDD 2019).
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import ConfigError, TrainingError
from surrogate_fmu.schema import encode
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.judge import Judgement
from surrogate_fmu.training.loop import TrainingResult
from surrogate_fmu.training.trial import Engine, Outcome, Problem, Task, configured, in_turn, run_trial

if TYPE_CHECKING:
    import optuna

_PROBLEM = "problem"
_STARTUP_TRIALS = 5  # complete ones before any is stopped


@dataclass(frozen=True)
class Range:
    """Values between two bounds.

    Attributes:
        low, high: bounds, both included.
        log: whether ratios count, not differences.
        whole: whole numbers alone.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0.0):
            raise ValueError(f"a range needs low < high, and low > 0 where ratios count; got {self.low:g} to {self.high:g}")


Space = Mapping[str, Range | Sequence[Any]]
"""Settings by path: a range, or the values to choose from."""

DEFAULT_SPACE: Space = {
    "learning_rate": Range(3e-4, 1e-2, log=True),
    "batch_size": [32, 64, 128, 256],
    "ema_decay": [0.99, 0.995, 0.998, 0.999],
    "generator.width": [24, 32, 48, 64, 96],
    "generator.memory_dim": [1, 2, 4, 8, 16, 32],
}


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0, counted over the whole study.
        settings: what it tried, by path.
        score: the judge's, 1 is perfect; None when it was pruned or failed.
        state: "complete", "pruned" or "failed".
    """

    number: int
    settings: Mapping[str, Any]
    score: float | None
    state: str


@dataclass(frozen=True)
class Found:
    """The best trial of a search.

    Attributes:
        trial: which one.
        config: its settings, whole.
        result: its generator, trained again where the study is from an earlier search.
        judgement: the judge's.
        trials: all of the study, those of earlier searches included.
    """

    trial: Trial
    config: TrainingConfig
    result: TrainingResult
    judgement: Judgement
    trials: tuple[Trial, ...]


def search(
    training: Trajectories,
    validation: Trajectories,
    config: TrainingConfig,
    trials: int,
    budget_cpu_s: float,
    space: Space = DEFAULT_SPACE,
    grid: bool = False,
    study_file: Path | None = None,
    report: Callable[[Trial], None] = lambda trial: None,
    folder: Path = Path(),
    long_conditions: Array | None = None,
    engine: Engine = in_turn,
) -> Found:
    """Look for the best settings.

    Args:
        training: runs to learn from.
        validation: several individuals per schedule, which judge.
        config: what all trials have in common.
        trials: how many the study is to have in the end.
        budget_cpu_s: CPU seconds of all trials together; each gets an equal share.
        space: settings to vary.
        grid: try every combination of the space's values, in place of choosing by what was seen.
        study_file: keeps the study; None keeps it for this search alone.
        report: called after each trial.
        folder: where files that the configuration names are.
        long_conditions: of the judge's long rollouts; see `Judge`.
        engine: runs the trials. A grid, and the first ten trials of TPE, which are random, are the same whatever the engine; later
            ones rest on what was seen when they were asked for, and trials that run at the same time do not see each other.

    Raises:
        DatasetError: a schedule of the validation runs has too few individuals.
        ConfigError: a setting of the space is unknown or cannot have such a value, or a grid has a range.
        TrainingError: the study is one of another problem, or no trial got through.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _check_space(config, space, grid)
    if grid:
        trials = min(trials, math.prod(len(choice) for choice in space.values() if not isinstance(choice, Range)))
    problem = Problem(training, validation, config, budget_cpu_s / trials, folder, long_conditions)
    problem.make_judge()  # data that do not fit are refused here, not once in every trial
    study = _open_study(problem, space, grid, study_file)
    asked: dict[int, optuna.Trial] = {}

    def ask() -> Iterator[Task]:
        for _ in range(trials - sum(trial.state.is_finished() for trial in study.trials)):
            trial = study.ask()
            asked[trial.number] = trial
            settings = {path: _suggest(trial, path, choice) for path, choice in space.items()}
            yield Task(trial.number, settings, _bars(study))

    best: Outcome | None = None
    for outcome in engine(run_trial, problem, ask()):
        _tell(study, asked[outcome.number], outcome)
        if outcome.score is not None and (best is None or best.score is None or outcome.score < best.score):
            best = outcome
        report(_as_trial(study.trials[outcome.number]))
    return _found(study, best, problem)


def parse_space(texts: Sequence[str]) -> Space:
    """The space of texts such as "learning_rate=1e-4:1e-2:log", "generator.width=32,64", "generator.memory_dim=1:32:whole".

    Raises:
        ConfigError: a text is none of these.
    """
    space: dict[str, Range | Sequence[Any]] = {}
    for text in texts:
        path, separator, values = text.partition("=")
        try:
            if not separator or not path or not values:
                raise ValueError("it has no values")
            if ":" in values:
                low, high, *kinds = values.split(":")
                if set(kinds) - {"log", "whole"}:
                    raise ValueError(f"unknown {', '.join(sorted(set(kinds) - {'log', 'whole'}))}")
                space[path.strip()] = Range(float(low), float(high), "log" in kinds, "whole" in kinds)
            else:
                space[path.strip()] = [_value(value) for value in values.split(",")]
        except ValueError as error:
            raise ConfigError(
                f"the setting {text!r} cannot be read ({error}); write path=a,b,c or path=low:high, with :log or :whole after it"
            ) from error
    return space


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip()


def _check_space(config: TrainingConfig, space: Space, grid: bool) -> None:
    if not space:
        raise ConfigError("a search needs settings to vary")
    for path, choice in space.items():
        if isinstance(choice, Range):
            if grid:
                raise ConfigError(f"a grid needs values for {path!r}, got a range; write {path}=a,b,c")
            ends = [round(choice.low), round(choice.high)] if choice.whole else [choice.low, choice.high]
        else:
            ends = list(choice)
        for value in ends:
            configured(config, {path: value})


def _open_study(problem: Problem, space: Space, grid: bool, study_file: Path | None) -> "optuna.Study":
    import optuna

    config, long_conditions = problem.config, problem.long_conditions
    sampler = optuna.samplers.TPESampler(seed=config.seed, multivariate=True)
    long_runs = None if long_conditions is None else hashlib.sha256(np.ascontiguousarray(long_conditions).tobytes()).hexdigest()
    content = [problem.training.checksum(), problem.validation.checksum(), encode(config), {p: str(c) for p, c in space.items()}]
    text = json.dumps([*content, grid, problem.budget_cpu_s, long_runs], sort_keys=True)
    if study_file is not None:
        study_file.parent.mkdir(parents=True, exist_ok=True)
    storage = None if study_file is None else f"sqlite:///{study_file}"
    try:
        study = optuna.create_study(
            storage=storage,
            study_name="surrogate-fmu",
            sampler=sampler,
            pruner=optuna.pruners.NopPruner(),  # trials stop themselves, wherever they run
            load_if_exists=True,
        )
    except Exception as error:  # of the database's own kinds
        raise TrainingError(f"the study {study_file} cannot be read ({error}); give another file") from error
    known = study.user_attrs.get(_PROBLEM)
    if known is not None and known != text:
        raise TrainingError(
            f"the study {study_file} belongs to another problem: data, configuration, space, long rollouts or the share of the "
            "budget differ; give another file, or delete it"
        )
    study.set_user_attr(_PROBLEM, text)
    if grid and known is None:
        values = [list(choice) for choice in space.values() if not isinstance(choice, Range)]
        for combination in itertools.product(*values):
            study.enqueue_trial(dict(zip(space, combination, strict=True)))
    return study


def _suggest(trial: "optuna.Trial", path: str, choice: Range | Sequence[Any]) -> Any:
    if not isinstance(choice, Range):
        return trial.suggest_categorical(path, list(choice))
    if choice.whole:
        return trial.suggest_int(path, math.ceil(choice.low), math.floor(choice.high), log=choice.log)
    return trial.suggest_float(path, choice.low, choice.high, log=choice.log)


def _bars(study: "optuna.Study") -> tuple[float, ...]:
    """Medians of the complete trials' scores by validation, as far as enough of them came (Golovin et al., KDD 2017)."""
    curves = [trial.intermediate_values for trial in study.trials if trial.state.name == "COMPLETE"]
    bars: list[float] = []
    while len(at := [curve[len(bars) + 1] for curve in curves if len(bars) + 1 in curve]) >= _STARTUP_TRIALS:
        bars.append(float(np.median(at)))
    return tuple(bars)


def _tell(study: "optuna.Study", trial: "optuna.Trial", outcome: Outcome) -> None:
    import optuna

    for validation, score in enumerate(outcome.curve, 1):
        trial.report(score, validation)
    if outcome.error:
        trial.set_user_attr("error", outcome.error)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    elif outcome.score is None:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, outcome.score)


def _found(study: "optuna.Study", best: Outcome | None, problem: Problem) -> Found:
    trials = tuple(_as_trial(trial) for trial in study.trials)
    complete = [trial for trial in trials if trial.score is not None]
    if not complete:
        errors = {trial.user_attrs["error"] for trial in study.trials if "error" in trial.user_attrs}
        raise TrainingError(f"no trial got through: {'; '.join(sorted(errors)) or 'all were pruned'}")
    winner = min(complete, key=lambda trial: trial.score or math.inf)
    if best is None or best.number != winner.number:
        # the best one is of an earlier search, which kept its settings and not its weights
        best = run_trial(problem, Task(winner.number, winner.settings))
    if best.result is None or best.judgement is None:
        raise TrainingError(f"trial {winner.number + 1}, trained again, did not get through: {best.error}")
    return Found(winner, problem.with_settings(winner.settings), best.result, best.judgement, trials)


def _as_trial(trial: "optuna.trial.FrozenTrial") -> Trial:
    states = {"COMPLETE": "complete", "PRUNED": "pruned"}
    score = trial.value if trial.state.name == "COMPLETE" else None
    return Trial(trial.number, dict(trial.params), score, states.get(trial.state.name, "failed"))
