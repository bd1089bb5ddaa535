"""Active rounds: what is chosen next, when they end, and the verb that records in them."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.distill.rounds import Round, committee_disagreement, draw_schedules_by_weight, run_rounds
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.rounds import RoundsConfig
from tests.plant.plants import CONFIG as PLAN
from tests.plant.plants import write_config
from tests.training.runs import CONFIG, make_runs

ROUNDS = RoundsConfig(first_share=0.2, first=8, growth=0.5, updates=20, draws=4, patience=2, tolerance=0.0)


def test_what_is_unsure_is_drawn_and_what_is_taken_is_not():
    disagreement = np.array([0.1, 3.0, 0.1, 3.0, 0.1, 3.0, 0.1, 0.0])
    counts = np.zeros(8)
    for seed in range(300):
        chosen = draw_schedules_by_weight(disagreement, [1], 2, np.random.default_rng(seed))
        assert len(set(chosen)) == 2
        counts[chosen] += 1
    assert counts[1] == 0 and counts[[3, 5]].min() > 280 and counts[7] <= counts[0] + 2
    assert draw_schedules_by_weight(disagreement, [], 0, np.random.default_rng(0)) == []
    assert len(draw_schedules_by_weight(np.zeros(4), [0], 2, np.random.default_rng(0))) == 2, "all alike: any will do"


class Ramp:
    """Follows the input, and one kind of it diverges where that is large."""

    def __init__(self, offset: float, diverges: bool = False) -> None:
        self._offset, self._diverges = offset, diverges

    def roll(self, conditions: Tensor, latents: Tensor) -> Tensor:
        """(run, step, condition) -> (run, step + 1, output)."""
        path = torch.cat([torch.zeros_like(conditions[:, :1]), conditions * (1.0 + self._offset)], dim=1)
        return torch.where(path.abs().amax(dim=1, keepdim=True) > 5.0, torch.inf, path) if self._diverges else path


def test_where_a_training_diverges_is_what_is_least_known():
    """It is drawn next, and what is recorded already is not drawn again in its place."""
    pool = np.ones((6, 10, 1)) * np.array([1.0, 9.0, 2.0, 0.5, 8.0, 1.5])[:, None, None]
    found = committee_disagreement([Ramp(0.0), Ramp(0.1, diverges=True)], pool, np.ones(1), CONFIG, 1)
    assert np.isfinite(found).all() and (found[[1, 4]] >= found.max()).all()
    for seed in range(50):
        chosen = draw_schedules_by_weight(found, [0, 1], 3, np.random.default_rng(seed))
        assert len(set(chosen)) == 3 and not {0, 1}.intersection(chosen)
    (all_of_them,) = {tuple(committee_disagreement([Ramp(0.0, True), Ramp(0.1, True)], 9.0 * pool, np.ones(1), CONFIG, 1))}
    assert np.isfinite(all_of_them).all()


@pytest.fixture(scope="module")
def pool(toy_bundle: Bundle) -> tuple[Trajectories, Trajectories]:
    return make_runs(toy_bundle, 60, 1, 1), make_runs(toy_bundle, 4, 4, 2)


def rounds_of(pool: tuple[Trajectories, Trajectories], rounds: RoundsConfig, most: int) -> tuple[list[list[int]], list[Round]]:
    runs, validation = pool
    asked: list[list[int]] = []
    found: list[Round] = []

    def record(places: Sequence[int]) -> Trajectories:
        asked.append(list(places))
        return runs.select(places)

    result = run_rounds(record, runs.conditions(), validation, CONFIG, rounds, most, found.append)
    assert result.checksum() == runs.select(asked[-1]).checksum()
    return asked, found


def test_rounds_grow_what_is_there_until_all_is_recorded(pool: tuple[Trajectories, Trajectories]):
    asked, found = rounds_of(pool, dataclasses.replace(ROUNDS, patience=99), 40)
    assert [len(places) for places in asked] == [8, 12, 18, 27, 40]
    assert asked[0] == list(range(8)), "first what a recording without rounds would take"
    for before, after, step in zip(asked, asked[1:], found, strict=False):
        assert after == before + list(step.chosen) and len(set(after)) == len(after)
    assert found[-1].why == "all that may be recorded are" and not found[-1].chosen
    assert all(step.disagreement > 0.0 for step in found)
    assert asked == rounds_of(pool, dataclasses.replace(ROUNDS, patience=99), 40)[0]


def test_rounds_end_when_the_score_stands(pool: tuple[Trajectories, Trajectories]):
    asked, found = rounds_of(pool, dataclasses.replace(ROUNDS, tolerance=0.9), 40)
    assert len(asked) == 3 and found[-1].why == "the score has not fallen by 90% in 2 rounds"


TRAINING = """
[training]
updates = 20
batch_size = 8
window_steps = [2, 5]
validations = 2
validation_members = 8

[training.generator]
run_latent_dim = 1
memory_dim = 4
width = 8
"""


def test_the_verb_records_in_rounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = re.sub(r"validation = \{.*\}", "validation = { schedules = 2, individuals = 4, seed = 2 }", PLAN)
    text = re.sub(r"train = \{ schedules = \d+", "train = { schedules = 12", text)
    config = write_config(
        tmp_path, text + TRAINING + "\n[recording.rounds]\nfirst = 4\ngrowth = 1.0\nupdates = 10\ndraws = 4\npatience = 9\n"
    )
    with pytest.raises(ConfigError, match="scored on the validation set, and there is none"):
        main_raising(["record", str(config), "--rounds", "--set", "train", "--jobs", "1"])
    assert main(["record", str(config), "--rounds", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert "4 schedules: score " in said and "4 more where it is unsure" in said
    assert "12 schedules: score " in said and "all that may be recorded are" in said
    (file,) = tmp_path.glob("data/train.nc")
    first = read_trajectories(file)
    assert list(first.schedule) == [place // 2 for place in range(24)]
    file.unlink()
    assert main(["record", str(config), "--rounds", "--jobs", "2"]) == 0
    assert read_trajectories(file).checksum() == first.checksum()


def main_raising(words: list[str]) -> None:
    from surrogate_fmu.cli.main import make_parser

    parsed = make_parser().parse_args(words)
    parsed.run(parsed)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"committee": 1}, "committee 1: only two trainings or more can disagree"),
        ({"first_share": 0.0}, "first_share 0 must be above 0 and at most 1"),
        ({"growth": -1.0}, "growth -1 above 0"),
        ({"pool": 0}, "pool, updates, draws and patience must be at least 1"),
        ({"tolerance": 1.0}, "tolerance 1 must be from 0 to below 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_rounds_that_cannot_be_are_refused(change: dict[str, float], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        RoundsConfig(**change)
