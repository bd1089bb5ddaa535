"""Searches on the toy: settings by path, a study that goes on, what cannot be searched."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError, TrainingError
from surrogate_fmu.runtime.ray_farm import run_tasks_on_ray
from surrogate_fmu.training import trial as trial_module
from surrogate_fmu.training.search import Found, Range, parse_space, search
from surrogate_fmu.training.trial import Engine, Outcome, Problem, Task, configured, run_trial
from tests.training.runs import CONFIG, make_runs

SPACE = {"learning_rate": Range(1e-6, 1e-2, log=True), "generator.width": [4, 12]}


@pytest.fixture(scope="module")
def runs(toy_bundle: Bundle) -> tuple[Trajectories, Trajectories]:
    return make_runs(toy_bundle, 40, 1, 1), make_runs(toy_bundle, 4, 8, 2)


def test_a_study_goes_on_where_it_was_stopped(runs, tmp_path: Path):
    seen: list[int] = []
    first = search(*runs, CONFIG, 3, 1.5, SPACE, study_file=tmp_path / "s.db", report=lambda trial: seen.append(trial.number))
    assert seen == [0, 1, 2] and len(first.trials) == 3
    scores = [trial.score for trial in first.trials if trial.score is not None]
    assert first.trial.score == min(scores)
    assert first.config.generator.width == first.trial.settings["generator.width"]
    more = search(*runs, CONFIG, 6, 3.0, SPACE, study_file=tmp_path / "s.db", report=lambda trial: seen.append(trial.number))
    assert seen == [0, 1, 2, 3, 4, 5]
    assert more.trials[:3] == first.trials
    # nothing left to try: the best settings are trained again
    again = search(*runs, CONFIG, 6, 3.0, SPACE, study_file=tmp_path / "s.db")
    assert again.trial == more.trial and again.result.cpu_s >= 0.5


def test_a_grid_tries_all(runs):
    found = search(*runs, CONFIG, 100, 2.0, {"generator.width": [4, 8], "batch_size": [4, 8]}, grid=True)
    tried = sorted((t.settings["generator.width"], t.settings["batch_size"]) for t in found.trials)
    assert tried == [(4, 4), (4, 8), (8, 4), (8, 8)]


def test_a_study_of_another_problem_is_refused(runs, tmp_path: Path):
    search(*runs, CONFIG, 1, 0.3, SPACE, study_file=tmp_path / "s.db")
    with pytest.raises(TrainingError, match="belongs to another problem"):
        search(*runs, dataclasses.replace(CONFIG, seed=9), 1, 0.3, SPACE, study_file=tmp_path / "s.db")
    (tmp_path / "torn.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(TrainingError, match="cannot be read"):
        search(*runs, CONFIG, 1, 0.3, SPACE, study_file=tmp_path / "torn.db")


def side_by_side(count: int, seen: list[Task]) -> Engine:
    """An engine that takes so many tasks at once and is done with the last of them first."""

    def engine(function: Callable, problem: Problem, tasks: Iterable[Task]) -> Iterator[Outcome]:
        tasks = iter(tasks)
        while some := list(itertools.islice(tasks, count)):
            seen.extend(some)
            yield from [function(problem, task) for task in reversed(some)]

    return engine


def tried(found: Found) -> list[dict]:
    return [dict(trial.settings) for trial in found.trials]


@pytest.mark.parametrize(("space", "grid"), [(SPACE, False), ({"generator.width": [4, 8], "batch_size": [4, 8]}, True)])
def test_trials_are_the_same_whoever_runs_them(runs, space, grid: bool):
    alone = search(*runs, CONFIG, 4, 0.8, space, grid)
    told: list[int] = []
    together = search(*runs, CONFIG, 4, 0.8, space, grid, report=lambda t: told.append(t.number), engine=side_by_side(3, []))
    assert tried(together) == tried(alone) and told == [2, 1, 0, 3]
    assert {trial.state for trial in together.trials} == {"complete"}
    assert together.config.generator.width == together.trial.settings["generator.width"]
    assert together.judgement.score + together.judgement.diverged == together.trial.score


def test_a_hopeless_trial_is_stopped(runs):
    problem = Problem(*runs, dataclasses.replace(CONFIG, validations=6), 0.4)
    whole = run_trial(problem, Task(3, {}))
    assert whole.number == 3 and len(whole.curve) > 3 and whole.score == whole.judgement.score + whole.judgement.diverged
    stopped = run_trial(problem, Task(3, {}, bars=(0.0,) * 6))
    assert len(stopped.curve) == 2 and stopped.score is None and stopped.error == ""
    assert run_trial(problem, Task(3, {}, bars=(9e9,) * 6)).score is not None
    assert "batch_size 0 must be above 0" in run_trial(problem, Task(3, {"batch_size": 0})).error


def test_the_bar_is_the_median_of_five_complete_trials(runs):
    seen: list[Task] = []
    curves: dict[int, tuple[float, ...]] = {}
    once = run_trial(Problem(*runs, CONFIG, 0.2), Task(0, {}))

    def engine(function: Callable, problem: Problem, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            seen.append(task)
            curves[task.number] = (9.0, 5.0 + (task.number * 3) % 5, 4.0)[: 2 if task.number == 1 else 3]
            yield dataclasses.replace(once, number=task.number, curve=curves[task.number])

    search(*runs, CONFIG, 7, 1.4, SPACE, engine=engine)
    assert [len(task.bars) for task in seen] == [0] * 5 + [2, 3]
    assert seen[5].bars == (9.0, 7.0) and seen[6].bars == (9.0, 6.5, 4.0)


def test_settings_that_fail_are_told_and_the_search_goes_on(runs, monkeypatch: pytest.MonkeyPatch):
    original = trial_module.Trainer.update

    def update(self):
        if self._config.generator.width == 4:
            raise TrainingError("the loss is nan at update 3")
        return original(self)

    monkeypatch.setattr(trial_module.Trainer, "update", update)
    found = search(*runs, CONFIG, 9, 0.4, {"generator.width": [4, 8]}, grid=True)
    assert {trial.settings["generator.width"]: trial.state for trial in found.trials} == {4: "failed", 8: "complete"}
    with pytest.raises(TrainingError, match="no trial got through: the loss is nan"):
        search(*runs, CONFIG, 9, 0.4, {"generator.width": [4]}, grid=True)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (pip install 'surrogate-fmu[ray]')")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_trials_are_the_same_on_ray(runs, tmp_path: Path):
    alone = search(*runs, CONFIG, 4, 1.2, SPACE)
    spread = search(*runs, CONFIG, 4, 1.2, SPACE, study_file=tmp_path / "s.db", engine=partial(run_tasks_on_ray, worker_count=2))
    assert tried(spread) == tried(alone) and {trial.state for trial in spread.trials} == {"complete"}
    assert spread.trial.score == min(trial.score for trial in spread.trials if trial.score is not None)
    assert spread.result.cpu_s >= 0.3, "the best generator came back from its worker"


@pytest.mark.parametrize(
    ("options", "sentence"), [(["--workers", "2"], "add --engine ray"), (["--engine", "ray", "--workers", "0"], "at least 1")]
)
def test_options_of_engines_that_do_not_go_together(options: list[str], sentence: str, tmp_path: Path, capsys):
    config = Path(__file__).parents[2] / "models" / "double_well" / "surrogate.toml"
    assert main(["search", str(config), "-o", str(tmp_path / "some.bundle"), "--budget", "1s", *options]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("space", "grid", "sentence"),
    [
        ({}, False, "needs settings to vary"),
        ({"genrator.width": [1]}, False, "'genrator.width' is unknown"),
        ({"generator.width.more": [1]}, False, "is unknown"),
        ({"batch_size": [0, 8]}, False, "batch_size 0 must be above 0"),
        ({"learning_rate": ["fast"]}, False, "expected float"),
        ({"learning_rate": Range(0.1, 0.2)}, True, "a grid needs values"),
    ],
)
def test_spaces_that_cannot_be_searched(runs, space, grid: bool, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        search(*runs, CONFIG, 2, 1.0, space, grid=grid)


def test_settings_by_path():
    changed = configured(CONFIG, {"generator.width": 7, "energy.members": 5, "learning_rate": 0.5})
    assert (changed.generator.width, changed.energy.members, changed.learning_rate) == (7, 5, 0.5)
    assert configured(CONFIG, {}) == CONFIG


def test_a_space_from_texts():
    found = parse_space(
        ["learning_rate=1e-4:1e-2:log", "generator.width=32,64", "batch_size=8:64:whole:log", "objective=energy,r3gan"]
    )
    assert found == {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "generator.width": [32, 64],
        "batch_size": Range(8, 64, log=True, whole=True),
        "objective": ["energy", "r3gan"],
    }


@pytest.mark.parametrize("text", ["width", "=3", "width=", "width=2:1", "width=0:1:log", "width=1:2:often", "width=a:b"])
def test_texts_that_are_no_space(text: str):
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_space([text])
