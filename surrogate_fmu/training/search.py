"""A search for settings: trials with different ones, chosen by what earlier trials gave, judged as the candidates of a race are.

Settings are named by their path in the configuration: "learning_rate", "generator.width", "energy.path_weight". The study is kept
in a file and goes on where it was stopped. TPE with median pruning and grids are Optuna's (Akiba et al., KDD 2019).
"""

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import ConfigError, SurrogateError, TrainingError
from surrogate_fmu.schema import SchemaError, decode, encode
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.judge import Judge, Judgement
from surrogate_fmu.training.loop import Trainer, TrainingResult

if TYPE_CHECKING:
    import optuna

_PROBLEM = "problem"
_UNBOUNDED = 10**9  # updates: the budget ends a trial


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

    Raises:
        ConfigError: a setting of the space is unknown or cannot have such a value, or a grid has a range.
        TrainingError: the study is one of another problem, or no trial got through.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _check_space(config, space, grid)
    if grid:
        trials = min(trials, math.prod(len(choice) for choice in space.values() if not isinstance(choice, Range)))
    share = budget_cpu_s / trials
    sizes = config.generator
    members = max(64, config.validation_members)
    judge = Judge(validation, sizes.run_latent_dim, sizes.step_latent_dim, members, config.seed + 2, long_conditions)
    study = _open_study(config, space, grid, study_file, training, validation, share, long_conditions)
    best: tuple[float, int, TrainingConfig, TrainingResult, Judgement] | None = None
    while sum(trial.state.is_finished() for trial in study.trials) < trials:
        trial = study.ask()
        settings = {path: _suggest(trial, path, choice) for path, choice in space.items()}
        state, score = optuna.trial.TrialState.COMPLETE, None
        try:
            tried = dataclasses.replace(configured(config, settings), budget_cpu_s=share, updates=_UNBOUNDED)
            result = _train(trial, Trainer(training, validation, tried, folder=folder))
            judgement = judge.judge(result.generator)
            score = judgement.score + judgement.diverged
            if best is None or score < best[0]:
                best = (score, trial.number, tried, result, judgement)
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except SurrogateError as error:
            state = optuna.trial.TrialState.FAIL
            trial.set_user_attr("error", str(error))
        study.tell(trial, score, state=state)
        report(_as_trial(study.trials[trial.number]))
    return _found(study, best, training, validation, config, share, judge, folder)


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


def _open_study(
    config: TrainingConfig,
    space: Space,
    grid: bool,
    study_file: Path | None,
    training: Trajectories,
    validation: Trajectories,
    share: float,
    long_conditions: Array | None,
) -> "optuna.Study":
    import optuna

    sampler = optuna.samplers.TPESampler(seed=config.seed, multivariate=True)
    long_runs = None if long_conditions is None else hashlib.sha256(np.ascontiguousarray(long_conditions).tobytes()).hexdigest()
    problem = json.dumps(
        [training.checksum(), validation.checksum(), encode(config), {p: str(c) for p, c in space.items()}, grid, share, long_runs],
        sort_keys=True,
    )
    if study_file is not None:
        study_file.parent.mkdir(parents=True, exist_ok=True)
    storage = None if study_file is None else f"sqlite:///{study_file}"
    try:
        study = optuna.create_study(
            storage=storage,
            study_name="surrogate-fmu",
            sampler=sampler,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            load_if_exists=True,
        )
    except Exception as error:  # of the database's own kinds
        raise TrainingError(f"the study {study_file} cannot be read ({error}); give another file") from error
    known = study.user_attrs.get(_PROBLEM)
    if known is not None and known != problem:
        raise TrainingError(
            f"the study {study_file} belongs to another problem: data, configuration, space, long rollouts or the share of the "
            "budget differ; give another file, or delete it"
        )
    study.set_user_attr(_PROBLEM, problem)
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


def _train(trial: "optuna.Trial", trainer: Trainer) -> TrainingResult:
    import optuna

    validations = 0
    while not trainer.finished:
        progress = trainer.update()
        if progress.validation is not None and progress.best is not None:
            validations += 1
            trial.report(progress.validation.score, validations)
            if trial.should_prune():
                raise optuna.TrialPruned
    return trainer.result()


def _found(
    study: "optuna.Study",
    best: tuple[float, int, TrainingConfig, TrainingResult, Judgement] | None,
    training: Trajectories,
    validation: Trajectories,
    config: TrainingConfig,
    share: float,
    judge: Judge,
    folder: Path,
) -> Found:
    trials = tuple(_as_trial(trial) for trial in study.trials)
    complete = [trial for trial in trials if trial.score is not None]
    if not complete:
        errors = {trial.user_attrs["error"] for trial in study.trials if "error" in trial.user_attrs}
        raise TrainingError(f"no trial got through: {'; '.join(sorted(errors)) or 'all were pruned'}")
    winner = min(complete, key=lambda trial: trial.score or math.inf)
    if best is not None and best[1] == winner.number:
        return Found(winner, best[2], best[3], best[4], trials)
    # the best one is of an earlier search, which kept its settings and not its weights
    chosen = dataclasses.replace(configured(config, winner.settings), budget_cpu_s=share, updates=_UNBOUNDED)
    trainer = Trainer(training, validation, chosen, folder=folder)
    while not trainer.finished:
        trainer.update()
    result = trainer.result()
    return Found(winner, chosen, result, judge.judge(result.generator), trials)


def _as_trial(trial: "optuna.trial.FrozenTrial") -> Trial:
    states = {"COMPLETE": "complete", "PRUNED": "pruned"}
    score = trial.value if trial.state.name == "COMPLETE" else None
    return Trial(trial.number, dict(trial.params), score, states.get(trial.state.name, "failed"))
