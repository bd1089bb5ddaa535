"""Terms on a generator whose law is known: which parameters they prefer, what they refuse, how they add up."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from surrogate_fmu.errors import ConfigError, TrainingError
from surrogate_fmu.training.config import TermConfig
from surrogate_fmu.training.objectives.games.relativistic import Relativistic
from surrogate_fmu.training.objectives.terms import (
    Adversarial,
    Crps,
    Energy,
    EnergyDistance,
    Evidence,
    KernelDiscrepancy,
    MeanError,
    Repulsion,
    Residual,
    SlicedWasserstein,
    Term,
    TermSum,
)
from surrogate_fmu.training.objectives.terms.registry import GAMES, TERMS, make_terms
from surrogate_fmu.training.objectives.terms.term import average
from tests.training.objectives.draws import SHAPES, Scaled, make_draw


def cost(term: Term, slope: float, noise: float, **options: float) -> float:
    term.bind(SHAPES)
    values = []
    for seed in range(8):
        draw = make_draw(Scaled(slope, noise), term.members, seed=seed, **options)
        values.append(average(term.value(draw), draw.weights).item())
    return sum(values) / len(values)


PROPER = {
    "energy": Energy,
    "crps": Crps,
    "mmd": KernelDiscrepancy,
    "energy distance": lambda: EnergyDistance(members=4),
    "energy distance, random features": lambda: EnergyDistance(features=64, members=4),
}


@pytest.mark.parametrize("make", PROPER.values(), ids=PROPER)
def test_proper_terms_prefer_the_true_law(make: Callable[[], Term]):
    true = cost(make(), 1.0, 1.0)
    for slope, noise in ((1.0, 0.4), (1.0, 2.0), (0.3, 1.0)):
        assert true < cost(make(), slope, noise)


def test_sliced_wasserstein_sees_spread_and_is_small_for_the_true_law():
    assert cost(SlicedWasserstein(), 1.0, 1.0) < 0.1 * cost(SlicedWasserstein(), 1.0, 3.0)


@pytest.mark.parametrize("power", [1, 2])
def test_the_mean_is_supervised_and_spread_is_not_rewarded(power: int):
    term = MeanError(power, members=8)
    assert cost(term, 1.0, 0.0) < cost(term, 1.0, 1.0)  # so alone it kills all spread
    assert cost(term, 1.0, 0.0) < cost(term, 0.5, 0.0)


def test_members_repel_only_while_they_are_nearer_than_the_plants_own():
    near, spread, far = (cost(Repulsion(), 1.0, noise) for noise in (0.05, 1.0, 20.0))
    assert near > 3 * spread > 30 * far
    generator = Scaled(1.0, 0.1)
    Repulsion().value(make_draw(generator, 4)).mean().backward()
    assert generator.noise.grad < 0  # more spread costs less


def test_the_evidence_trains_encoder_and_generator_and_its_beta_rises():
    term = Evidence(schedule="annealed", width=8)
    assert [term.beta(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert [Evidence(schedule="cyclical").beta(share) for share in (0.0, 0.0625, 0.2, 0.25)] == [0.0, 0.5, 1.0, 0.0]
    torch.manual_seed(0)
    term.bind(SHAPES)
    generator = Scaled(0.2, 0.2)
    optimiser = torch.optim.Adam([generator.slope, generator.noise, *term.parameters()], lr=0.02)
    for update in range(700):
        draw = make_draw(generator, 1, batch=64, seed=update, share=min(1.0, update / 600))
        optimiser.zero_grad()
        average(term.value(draw), draw.weights).backward()
        optimiser.step()
    assert generator.slope.item() == pytest.approx(1.0, abs=0.25)
    assert abs(generator.noise.item()) == pytest.approx(1.0, abs=0.25)  # what is not x the latents must bring
    assert term.signals()["divergence"] > 0.5


def residual(outputs: dict[str, torch.Tensor], conditions: dict[str, torch.Tensor]) -> torch.Tensor:
    return outputs["y"][:, 1:] - conditions["x"]


def test_a_residual_is_least_where_the_equation_holds():
    term = Residual(residual, scale=1.0)
    assert cost(term, 1.0, 0.0) == pytest.approx(0.0, abs=1e-9)
    assert cost(term, 1.0, 1.0) == pytest.approx(1.0, rel=0.1)
    weak = Residual(residual, weak=True, scale=1.0)
    assert cost(weak, 1.0, 1.0) == pytest.approx(0.5, rel=0.1)  # the mean of two steps
    assert cost(Residual(residual), 1.0, 5.0) == pytest.approx(1.0, rel=0.1)  # in units of what it is
    assert "residual" in term.signals()


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda y, x: y["y"].sum(), r"gave \(\), expected a tensor of \(512,\) or"),
        (lambda y, x: [1.0], "gave list, expected"),
        (lambda y, x: y["y"].detach(), "differentiated"),
        (lambda y, x: x["x"], "does not depend on the outputs"),
    ],
)
def test_residuals_that_cannot_be_used(function: Callable, sentence: str):
    term = Residual(function)
    term.bind(SHAPES)
    with pytest.raises(TrainingError, match=sentence):
        term.value(make_draw(Scaled(), 2))


def test_a_sum_reads_like_the_formula():
    objective = Energy() + 0.1 * Residual(residual) + 2 * Adversarial(Relativistic()).between(0.5)
    assert isinstance(objective, TermSum)
    assert [(weight, type(term)) for weight, term in objective] == [(1.0, Energy), (0.1, Residual), (2.0, Adversarial)]
    assert list(objective)[2][1].begin == 0.5


def test_windows_count_by_their_weights():
    draw = make_draw(Scaled(), 4)
    values = Crps().value(draw)
    weights = torch.zeros(len(values))
    weights[:2] = len(values) / 2.0
    assert average(values, weights).item() == pytest.approx(values[:2].mean().item())


# the likelihood needs a generator with a density: tests/training/test_density.py
@pytest.mark.parametrize("name", [*(name for name in TERMS if name != "likelihood"), *GAMES])
def test_every_term_by_name(name: str):
    ((weight, term),) = make_terms((TermConfig(name, 0.5, 0.25, 0.75),))
    assert (weight, term.begin, term.end) == (0.5, 0.25, 0.75)
    torch.manual_seed(0)
    term.bind(SHAPES)
    generator = Scaled(0.8, 0.5)
    average(term.value(make_draw(generator, term.members, batch=16)), torch.ones(16)).backward()
    assert torch.isfinite(generator.noise.grad) and torch.isfinite(generator.slope.grad)
    assert generator.noise.grad != 0.0
    state = term.state()
    term.value(make_draw(generator, term.members, batch=16))
    term.load(state)


def test_a_residual_from_a_file(tmp_path: Path):
    (tmp_path / "physics.py").write_text("def law(y, x):\n    return y['y'][:, 1:] - x['x']\n")
    ((_, term),) = make_terms((TermConfig("residual", function="physics.py:law", options={"scale": 1.0}),), tmp_path)
    assert cost(term, 1.0, 0.0) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ConfigError, match=r"physics\.py has no function 'lore'"):
        make_terms((TermConfig("residual", function="physics.py:lore"),), tmp_path)


@pytest.mark.parametrize(
    ("configs", "sentence"),
    [
        ((), r"needs \[\[training.terms\]\]"),
        ((TermConfig("energy", 0.0),), "sum to nothing"),
        ((TermConfig("enrgy"),), "'enrgy' is unknown; there are energy"),
        ((TermConfig("energy", options={"gamma": 1.0}),), "option 'gamma' is unknown; there are members"),
        ((TermConfig("r3gan", options={"gama": 1.0}),), "option 'gama' is unknown; there are gamma"),
        ((TermConfig("r3gan", options={"critic": "forest"}),), "'forest' is unknown; there are window"),
        ((TermConfig("energy", options={"members": 1}),), "at least 2 draws"),
        ((TermConfig("energy", begin=0.6, end=0.4),), "0 <= begin < end <= 1"),
        ((TermConfig("energy", function="a.py:b"),), "for the term 'residual' and for games alone"),
        ((TermConfig("residual", function="missing.py:law"),), "'missing.py:law': expected 'file.py:function' with a file under"),
        ((TermConfig("residual"),), "expected 'file.py:function'"),
        ((TermConfig("wgan-gp", options={"weight": 0.0}),), "must be above 0"),
        ((TermConfig("non-saturating", options={"real_label": 0.0}),), "fake_label < real_label"),
    ],
)
def test_terms_that_cannot_be(configs: tuple[TermConfig, ...], sentence: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=sentence):
        make_terms(configs, tmp_path)
