"""A race on the toy: equal shares, one judge, ties to the simplest, failures set aside."""

import dataclasses

import numpy as np
import pytest
import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training import race as race_module
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.judge import Judge, Judgement, pick_winner
from surrogate_fmu.training.race import race
from surrogate_fmu.training.recipes import RECIPES, find_recipes
from tests.training.runs import CONFIG, STEPS, make_runs

Runs = tuple[Trajectories, Trajectories]


@pytest.fixture(scope="module")
def runs(toy_bundle: Bundle) -> Runs:
    return make_runs(toy_bundle, 60, 1, 1), make_runs(toy_bundle, 6, 10, 2)


class Replay:
    """Replays recorded individuals as the members of a generator, changed as one likes."""

    def __init__(self, runs: Trajectories, change=lambda deviation, mean: mean + deviation) -> None:
        grouped = torch.tensor(runs.outputs, dtype=torch.float32).reshape(len(set(runs.schedule)), -1, STEPS + 1, 2)
        mean = grouped.mean(dim=1, keepdim=True)
        self._outputs = change(grouped - mean, mean)

    def roll(self, x, z, points=None, near=None):
        if x.shape[1] > STEPS:  # long rollouts
            return self._outputs[:1, :1, -1:].expand(len(x), 1, x.shape[1] + 1, 2)[:, 0]
        members = len(z) // len(self._outputs)
        return self._outputs[:, torch.arange(members) % self._outputs.shape[1]].flatten(0, 1)


def judged(toy_bundle: Bundle, change=lambda deviation, mean: mean + deviation) -> tuple[Judge, Judgement]:
    judge = Judge(make_runs(toy_bundle, 6, 40, 7), 2, 1, 40, seed=0)
    # the same schedules, other individuals
    return judge, judge.judge(Replay(make_runs_of(toy_bundle), change))


def make_runs_of(bundle: Bundle) -> Trajectories:
    """The runs of seed 7 with other individuals."""
    from surrogate_fmu.runtime.ensemble import rollout

    first = make_runs(bundle, 6, 40, 7)
    seeds = np.arange(5000, 5000 + len(first))
    return dataclasses.replace(first, outputs=rollout(bundle, first.conditions(), seeds), plant_seed=seeds)


def test_the_plants_own_law_has_the_score_one(toy_bundle: Bundle):
    _, judgement = judged(toy_bundle)
    assert judgement.score == pytest.approx(1.0, abs=0.08)
    assert judgement.low < judgement.score < judgement.high
    assert judgement.spread_skill == pytest.approx((1.0, 1.0, 1.0), abs=0.2)
    assert judgement.diverged == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda deviation, mean: mean + 0.3 * deviation,
        lambda deviation, mean: mean + 2.0 * deviation,
        lambda deviation, mean: mean + deviation + deviation.std(),
        # the marginals of every step, and no run keeps its place: only the score of whole windows can see it
        lambda deviation, mean: mean + torch.stack([deviation[:, :, k].roll(3 * k, 1) for k in range(STEPS + 1)], dim=2),
    ],
    ids=["too narrow", "too wide", "shifted", "without memory"],
)
def test_what_is_wrong_costs(toy_bundle: Bundle, change):
    judge, right = judged(toy_bundle)
    _, wrong = judged(toy_bundle, change)
    assert judge.leads(right, wrong) and not judge.leads(wrong, right)


def test_ties_go_to_the_simplest_and_divergence_disqualifies(toy_bundle: Bundle):
    judge, right = judged(toy_bundle)
    _, nearly = judged(toy_bundle, lambda deviation, mean: mean + 1.002 * deviation)
    _, wrong = judged(toy_bundle, lambda deviation, mean: mean + 0.3 * deviation)
    assert pick_winner(judge, [(right, 1.0), (right, 0.5), (wrong, 0.0)]) == (1, [0, 1])
    gone = dataclasses.replace(right, diverged=3, score=0.5)
    assert pick_winner(judge, [(gone, 0.0), (wrong, 2.0)])[0] == 1
    assert pick_winner(judge, [(nearly, 0.0), (wrong, 0.0)])[0] == 0


def test_a_race_gives_equal_shares_and_a_winner(runs: Runs):
    seen = []
    ended = race(*runs, CONFIG, find_recipes("energy, crps, wgan-gp, mse"), 4.0, lambda c: seen.append(c[0].progress.share))
    assert {c.recipe.name for c in ended.candidates} == {"energy", "crps", "wgan-gp", "mse"}
    scores = [c.judgement.score for c in ended.candidates]
    assert scores == sorted(scores) and ended.winner.recipe.name in ended.tied
    tied = [RECIPES[name].complexity for name in ended.tied]
    assert ended.winner.recipe.complexity == min(tied)
    assert all(c.progress.share == 1.0 and c.result.cpu_s >= 1.0 for c in ended.candidates)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(set(seen)) > 1


def test_a_candidate_that_fails_is_set_aside(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    original = race_module.Trainer.update

    def update(self):
        if self._config.terms and self._config.terms[0].name == "mmd":
            raise TrainingError("the loss is nan at update 3")
        return original(self)

    monkeypatch.setattr(race_module.Trainer, "update", update)
    ended = race(*runs, CONFIG, find_recipes("crps,mmd"), 1.0)
    assert ended.winner.recipe.name == "crps" and ended.candidates[-1].failed == "the loss is nan at update 3"
    with pytest.raises(TrainingError, match="no candidate got through: mmd: the loss is nan"):
        race(*runs, CONFIG, [RECIPES["mmd"]], 1.0)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("energy,enrgy", "'enrgy' is unknown; there are energy"),
        ("energy", "two or more"),
        ("crps,crps", "two or more"),
        ("", "two or"),
    ],
)
def test_recipes_that_cannot_race(names: str, sentence: str):
    with pytest.raises(TrainingError, match=sentence):
        find_recipes(names)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains(name: str, runs: Runs):
    start = CONFIG
    if name in ("gaussian", "mixture"):  # a density of both outputs, without a balance
        start = dataclasses.replace(CONFIG, generator=GeneratorConfig(2, 3, 4, 12, ("temperature_start",)))
    config = dataclasses.replace(RECIPES[name].configure(start), updates=3)
    trainer = race_module.Trainer(*runs, config)
    while not trainer.finished:
        progress = trainer.update()
    assert np.isfinite(progress.loss) and "gradient" in progress.signals
