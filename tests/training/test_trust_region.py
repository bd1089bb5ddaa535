"""Updates inside a trust region: no update moves what is drawn by more than the bound, and a wild game is held."""

import dataclasses

import pytest
import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.config import Objective, TermConfig
from surrogate_fmu.training.loop import Trainer
from surrogate_fmu.training.rollout import WindowRoller, stream
from surrogate_fmu.training.trust_region import TrustRegion
from tests.training.runs import CONFIG, make_runs

GAME = dataclasses.replace(
    CONFIG,
    objective=Objective.TERMS,
    terms=(TermConfig("r3gan", options={"learning_rate": 0.01}),),
    learning_rate=0.3,
    updates=60,
    validations=60,
)


@pytest.fixture(scope="module")
def runs(toy_bundle: Bundle) -> tuple[Trajectories, Trajectories]:
    return make_runs(toy_bundle, 24, 1, 1), make_runs(toy_bundle, 4, 4, 2)


class Shift(torch.nn.Module):
    """y = 3 w + z at every point."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def roll(self, x: torch.Tensor, z: torch.Tensor, points: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        return 3.0 * self.weight + z[:, points - 1]


@pytest.mark.parametrize(("step", "bound", "kept"), [(1.0, 0.5, 1 / 3), (0.1, 0.5, 1.0), (1.0, 0.0, 1.0)])
def test_a_long_step_is_shortened_and_a_short_one_is_left(step: float, bound: float, kept: float):
    generator = Shift()
    roller = WindowRoller(generator, torch.zeros(4, 5, 1), torch.zeros(4, 6, 1), 0, 1, stream(0))
    region = TrustRegion(bound, torch.tensor([2.0]))  # a step of 1 moves outputs by 3, which are 1.5 units
    with region.around(roller, generator.parameters()):
        generator.weight.data += step
    assert region.kept == pytest.approx(kept)
    assert float(generator.weight.detach()) == pytest.approx(step * kept)


def play(runs: tuple[Trajectories, Trajectories], bound: float) -> tuple[list[float], float]:
    """Validation scores after every update, and the least share of an update that was kept."""
    trainer = Trainer(*runs, dataclasses.replace(GAME, trust_region=bound))
    kept, scores = 1.0, []
    while not trainer.finished:
        progress = trainer.update()
        kept = min(kept, progress.signals["step_kept"])
        scores += [progress.validation.score] if progress.validation else []
    return scores, kept


def relapse(scores: list[float]) -> float:
    """How far scores rise above the best one before."""
    best, worst = scores[0], 0.0
    for score in scores:
        best, worst = min(best, score), max(worst, score - min(best, score))
    return worst


def test_a_wild_game_is_held(runs: tuple[Trajectories, Trajectories]):
    wild, untouched = play(runs, 0.0)
    held, kept = play(runs, 0.1)
    assert untouched == 1.0 and kept < 0.1
    assert relapse(held) < 0.2 < 1.0 < relapse(wild)
    assert held[-1] < wild[-1]


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="trust_region -1 cannot be negative"):
        dataclasses.replace(CONFIG, trust_region=-1.0)
