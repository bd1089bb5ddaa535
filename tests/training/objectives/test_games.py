"""Games on critics whose scores are known, and each of them played to its end on a law that is known."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.critics import BODIES, make_critic
from surrogate_fmu.training.objectives.games.cross_entropy import CrossEntropy
from surrogate_fmu.training.objectives.games.hinge import Hinge
from surrogate_fmu.training.objectives.games.least_squares import LeastSquares
from surrogate_fmu.training.objectives.games.protocol import Game
from surrogate_fmu.training.objectives.games.quadratic import QuadraticTransport
from surrogate_fmu.training.objectives.games.relativistic import Relativistic
from surrogate_fmu.training.objectives.games.wasserstein import WassersteinClipping, WassersteinPenalty
from surrogate_fmu.training.objectives.terms.adversarial import Adversarial
from surrogate_fmu.training.objectives.terms.residual import Values
from tests.training.objectives.draws import SHAPES, Scaled, make_draw

REAL, FAKE = torch.tensor([[[2.0]], [[0.5]]]), torch.tensor([[[-1.0]], [[0.0]]])


def first(window: Tensor) -> Tensor:
    return window[:, 0, 0]


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


EXPECTED: list[tuple[Game, float, float]] = [
    (CrossEntropy(), (softplus(-2) + softplus(-0.5) + softplus(-1) + softplus(0)) / 2, (softplus(1) + softplus(0)) / 2),
    (CrossEntropy(saturating=True), None, -(softplus(-1) + softplus(0)) / 2),
    (LeastSquares(), 0.5 * ((1 + 0.25) / 2 + (1 + 0) / 2), 0.5 * (4 + 1) / 2),
    (Hinge(), (0 + 0.5) / 2 + (0 + 1) / 2, 0.5),
    (WassersteinClipping(), -0.5 - 1.25, 0.5),
    (WassersteinPenalty(weight=7.0), -0.5 - 1.25, 0.5),  # the slope is 1: no penalty
    (Relativistic(gamma=0.0), (softplus(-3) + softplus(-0.5)) / 2, (softplus(3) + softplus(0.5)) / 2),
]


@pytest.mark.parametrize(("game", "critic_loss", "generator_loss"), EXPECTED, ids=lambda value: type(value).__name__)
def test_losses_by_hand(game: Game, critic_loss: float | None, generator_loss: float):
    if critic_loss is not None:
        assert game.critic_loss(first, REAL, FAKE).item() == pytest.approx(critic_loss, abs=1e-6)
    assert game.generator_loss(first, REAL, FAKE).item() == pytest.approx(generator_loss, abs=1e-6)


def test_smoothed_labels_make_the_critic_modest():
    def loss(score: float) -> float:
        return (
            CrossEntropy(real_label=0.9).critic_loss(lambda w: torch.full((2,), score) * (1 if w is REAL else 0), REAL, FAKE).item()
        )

    best = min((loss(score), score) for score in (0.5, 1.0, math.log(9.0), 4.0, 8.0))
    assert best[1] == math.log(9.0)  # s(D) = 0.9


def test_noisy_labels_cost_the_sure_critic():
    torch.manual_seed(0)
    sure = lambda w: torch.full((1000,), 5.0)  # noqa: E731
    real = torch.zeros(1000, 1, 1)
    assert CrossEntropy(label_noise=0.2).critic_loss(sure, real, real) != CrossEntropy().critic_loss(sure, real, real)


def test_clipping_keeps_weights_small_and_spectral_norm_keeps_slopes_small():
    critic = nn.Linear(3, 3)
    nn.init.constant_(critic.weight, 2.0)
    WassersteinClipping(0.1).constrain(critic)
    assert critic.weight.abs().max().item() == pytest.approx(0.1)
    torch.manual_seed(0)
    normalised = make_critic("mlp", 1, 1, 16, spectral_norm=True)
    for _ in range(20):
        normalised(*(torch.randn(4, 6, 1) for _ in range(3)))
    normalised.eval()
    for module in normalised.modules():
        if isinstance(module, nn.Linear):
            assert torch.linalg.matrix_norm(module.weight, 2).item() == pytest.approx(1.0, abs=0.05)


def test_a_quadratic_critic_pulls_like_a_spring():
    """Between two points at distance d the trained critic's slope at the fake grows with d; that of W1 does not."""

    def slope(game: Game, distance: float) -> float:
        torch.manual_seed(0)
        critic = nn.Sequential(nn.Flatten(), nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))
        optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
        real, fake = torch.full((32, 1, 1), distance), torch.zeros(32, 1, 1)
        for _ in range(400):
            optimiser.zero_grad()
            game.critic_loss(critic, real, fake).backward()
            optimiser.step()
        at = fake.clone().requires_grad_()
        return torch.autograd.grad(critic(at).sum(), at)[0].mean().item()

    assert slope(QuadraticTransport(), 2.0) > 1.5 * slope(QuadraticTransport(), 0.5) > 0.0
    assert slope(WassersteinPenalty(), 2.0) == pytest.approx(slope(WassersteinPenalty(), 0.5), rel=0.4)


GAMES: dict[str, Adversarial] = {
    "non-saturating": Adversarial(CrossEntropy(real_label=0.9), "mlp", 16, spectral_norm=True, learning_rate=2e-3),
    "least-squares": Adversarial(LeastSquares(), "mlp", 16, spectral_norm=True, learning_rate=2e-3),
    "hinge": Adversarial(Hinge(), "mlp", 16, spectral_norm=True, learning_rate=2e-3),
    "wgan": Adversarial(WassersteinClipping(0.1), "mlp", 16, learning_rate=2e-3, critic_steps=3),
    "wgan-gp": Adversarial(WassersteinPenalty(), "mlp", 16, learning_rate=2e-3, critic_steps=3),
    "r3gan": Adversarial(Relativistic(0.3), "mlp", 16, learning_rate=2e-3),
    "wasserstein-2": Adversarial(QuadraticTransport(), "mlp", 16, learning_rate=2e-3, critic_steps=3),
}


@pytest.mark.parametrize("name", GAMES)
def test_every_game_finds_the_spread(name: str):
    torch.manual_seed(0)
    term = GAMES[name]
    term.bind(SHAPES)
    generator = Scaled(1.0, 0.3)
    optimiser = torch.optim.Adam([generator.slope, generator.noise], lr=0.01, betas=(0.5, 0.99))
    found = []
    for update in range(500):
        draw = make_draw(generator, term.members, batch=64, seed=update)
        optimiser.zero_grad()
        term.value(draw).backward()
        optimiser.step()
        found.append(generator.noise.item())
    assert sum(found[-100:]) / 100 == pytest.approx(1.0, abs=0.35)
    assert {"critic_real", "critic_fake", "critic_lead", "critic_loss", "critic_gradient"} <= term.signals().keys()


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("body", BODIES)
def test_every_critic_sees_window_and_condition(body: str, projection: bool):
    torch.manual_seed(1)
    critic = make_critic(body, 2, 3, 8, projection=projection)
    windows = torch.randn(5, 7, 2), torch.randn(5, 7, 2), torch.randn(5, 7, 3)
    score = critic(*windows)
    assert score.shape == (5,) and critic.features(*windows).shape == (5, 8)
    for place in range(3):
        changed = [window + (place == k) for k, window in enumerate(windows)]
        assert not torch.allclose(critic(*changed), score)


@pytest.mark.parametrize("body", BODIES)
def test_every_critic_learns_to_tell_windows_apart(body: str):
    torch.manual_seed(0)
    term = Adversarial(Relativistic(0.1), body, 16, learning_rate=5e-3)
    term.bind(SHAPES)
    leads = []
    for update in range(150):
        term.value(make_draw(Scaled(0.0, 0.3), term.members, batch=64, steps=8, seed=update))
        leads.append(term.signals()["critic_lead"])
    assert sum(leads[-30:]) / 30 > 0.75


def energy(y: Values, x: Values) -> torch.Tensor:
    return (y["y"][:, 1:] - x["x"]).square()


def test_a_critic_that_knows_physics_sees_sooner_what_breaks_it():
    leads = {}
    for function in (None, energy):
        torch.manual_seed(0)
        term = Adversarial(Relativistic(0.1), "window", 16, learning_rate=2e-3, function=function)
        term.bind(SHAPES)
        seen = []
        for update in range(60):
            term.value(make_draw(Scaled(1.0, 0.7), term.members, batch=64, steps=8, seed=update))
            seen.append(term.signals()["critic_lead"])
        leads[function] = sum(seen[-30:]) / 30
    assert leads[energy] > leads[None] + 0.03
    state = term.state()
    assert float(state["physics"]) == pytest.approx(3.0**0.5, rel=0.3)  # of z squared
    other = Adversarial(Relativistic(), "window", 16, function=energy)
    other.bind(SHAPES)
    other.load(state)
    assert torch.equal(other.state()["physics"], state["physics"])


def test_physics_pulls_the_generator():
    torch.manual_seed(0)
    term = Adversarial(Relativistic(0.3), "mlp", 16, learning_rate=2e-3, function=energy)
    term.bind(SHAPES)
    generator = Scaled(1.0, 0.3)
    term.value(make_draw(generator, term.members)).backward()
    assert generator.noise.grad is not None and generator.noise.grad != 0.0


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda y, x: 3.0, "gave float for outputs \\(2, 5\\) with the start, expected a tensor of \\(2, 4\\) or \\(2, 4, n\\)"),
        (lambda y, x: y["y"], "gave \\(2, 5\\)"),
        (lambda y, x: x["x"].mean(dim=1), "gave \\(2,\\)"),
    ],
    ids=["a number", "with the start", "of the window"],
)
def test_physics_of_another_shape_is_refused(function: Callable, sentence: str):
    with pytest.raises(TrainingError, match=sentence):
        Adversarial(Hinge(), function=function).bind(SHAPES)


def test_more_critic_steps_train_it_more():
    leads = []
    for steps in (1, 5):
        torch.manual_seed(0)
        term = Adversarial(Hinge(), "mlp", 16, learning_rate=1e-2, critic_steps=steps)
        term.bind(SHAPES)
        for update in range(20):
            term.value(make_draw(Scaled(1.0, 0.2), term.members, batch=32, seed=update))
        leads.append(term.signals()["critic_loss"])
    assert leads[1] < leads[0]


def test_features_are_matched_where_asked():
    torch.manual_seed(0)
    plain, matching = Adversarial(Hinge(), "mlp", 8), Adversarial(Hinge(), "mlp", 8, feature_matching=10.0)
    values = []
    for term in (plain, matching):
        torch.manual_seed(0)
        term.bind(SHAPES)
        values.append(term.value(make_draw(Scaled(1.0, 0.1), term.members, batch=32)).item())
    assert values[1] > values[0]


def test_an_adaptive_critic_takes_fewer_steps_when_it_leads():
    term = Adversarial(Hinge(), "mlp", 8, critic_steps=5, adaptive=True)
    steps = []
    for lead in (0.5, 0.6, 0.75, 0.9, 1.0):
        term._lead = lead
        steps.append(term._steps())
    assert steps == [5, 5, 3, 1, 1]
    term.bind(SHAPES)
    term._lead = 0.5
    for update in range(30):
        term.value(make_draw(Scaled(8.0, 0.01), term.members, batch=32, seed=update))
    assert term.signals()["critic_lead"] > 0.9 and term._lead > 0.6


@pytest.mark.parametrize("optimiser", ["optimistic", "extragradient"])
def test_critics_step_by_other_optimisers(optimiser: str):
    torch.manual_seed(0)
    term = Adversarial(Relativistic(), "mlp", 8, optimiser=optimiser)
    term.bind(SHAPES)
    for update in range(4):
        term.value(make_draw(Scaled(), term.members, batch=8, seed=update)).backward()
    other = Adversarial(Relativistic(), "mlp", 8, optimiser=optimiser)
    other.bind(SHAPES)
    other.load(copy.deepcopy(term.state()))
    draw = make_draw(Scaled(), term.members, batch=8, seed=9)
    assert torch.equal(term.value(draw), other.value(draw))
