"""Searches on the toy: settings by path, a study that goes on, what cannot be searched."""

import dataclasses
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError, TrainingError
from surrogate_fmu.training.search import Range, configured, parse_space, search
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
