"""The state-space generator: one law whether scripted, rolled or stepped; balances and starts kept."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.torchscript import _DeprecationsIgnored
from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.balances import fit_balances
from surrogate_fmu.training.config import Balance, GeneratorConfig, split_term
from surrogate_fmu.training.generators.state_space import StateSpaceGenerator
from surrogate_fmu.training.rollout import draw_latents
from surrogate_fmu.variables import Causality, Variable

VARIABLES = (
    Variable("current", Causality.INPUT, "A", start=0.0),
    Variable("ambient", Causality.INPUT, "K", start=290.0),
    Variable("soc_start", Causality.PARAMETER, start=0.5),
    Variable("temperature_start", Causality.PARAMETER, "K", start=290.0),
    Variable("voltage", Causality.OUTPUT, "V"),
    Variable("temperature", Causality.OUTPUT, "K"),
    Variable("soc", Causality.OUTPUT),
    Variable("heat", Causality.OUTPUT, "W"),
)
SCALING = Scaling(
    np.array([1.0, 295.0, 0.5, 295.0]),
    np.array([3.0, 8.0, 0.2, 8.0]),
    np.array([3.7, 298.0, 0.5, 0.4]),
    np.array([0.3, 6.0, 0.2, 0.5]),
    np.array([0.02, 0.6, 0.01, 0.05]),
)
CHARGE = Balance("soc", ("current",), "soc_start", residual=False)
HEAT = Balance("temperature", ("heat", "ambient - temperature"), "temperature_start")
COEFFICIENTS = {"current": -5e-4, "heat": 0.2, "ambient - temperature": 0.01, "soc": 0.01}  # of each term
LATENTS = 3


def make(balances: tuple[Balance, ...] = (CHARGE, HEAT), seed: int = 0, **changes: Any) -> StateSpaceGenerator:
    config = GeneratorConfig(LATENTS, 0, 5, 16, ("soc_start", "temperature_start"), balances)
    config = dataclasses.replace(config, **changes)
    coefficients = {balance.output: [COEFFICIENTS[term] for term in balance.terms] for balance in balances}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StateSpaceGenerator(VARIABLES, config, SCALING, (1.0, 50.0), coefficients)


def draw(generator: StateSpaceGenerator, batch: int = 4, steps: int = 12, step_latents: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    mean, std = (torch.tensor(part, dtype=torch.float32) for part in (SCALING.condition_mean, SCALING.condition_std))
    x = mean + std * torch.randn(batch, steps, 4, generator=random)
    x[..., 2:] = x[:, :1, 2:]
    return x, draw_latents(batch, steps, generator.run_latent_dim, step_latents, random)


def step_through(generator: Any, x: Tensor, z: Tensor) -> Tensor:
    y, h = generator.initial(x[:, 0], z[:, 0])
    points = [y]
    for k in range(x.shape[1]):
        y, h = generator(x[:, k], z[:, k], h)
        points.append(y)
    return torch.stack(points, dim=1)


VARIANTS: list[tuple[str, dict[str, Any], int]] = [
    ("balances", {}, 0),
    ("one balance", {"balances": (CHARGE,)}, 0),
    ("no balance", {"balances": ()}, 0),
    ("step latents", {"step_latent_dim": 2}, 2),
    ("step latents alone", {"run_latent_dim": 0, "step_latent_dim": 2}, 2),
    (
        "all balanced",
        {
            "balances": (
                Balance("soc", ("current",)),
                Balance("temperature", ("ambient - temperature",)),
                Balance("voltage", ("soc",)),
                Balance("heat", ("current",)),
            )
        },
        0,
    ),
]


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant[0])
def variant(request: pytest.FixtureRequest) -> tuple[StateSpaceGenerator, Tensor, Tensor]:
    _, changes, step_latents = request.param
    generator = make(**changes)
    return generator, *draw(generator, step_latents=step_latents)


def scaled_gap(left: Tensor, right: Tensor) -> float:
    return ((left - right).abs() / torch.tensor(SCALING.output_std, dtype=torch.float32)).max().item()


def test_rolling_a_window_equals_stepping_through_it(variant: tuple[StateSpaceGenerator, Tensor, Tensor]):
    generator, x, z = variant
    with torch.no_grad():
        rolled, stepped = generator.roll(x, z), step_through(generator, x, z)
    assert rolled.shape == (4, 13, 4)
    # Temperatures about 300 K in float32 carry 3e-5 K, here 5e-6 scaled; a dozen steps and other orders of summing.
    assert scaled_gap(rolled, stepped) < 1e-4


def test_scripted_and_eager_agree(variant: tuple[StateSpaceGenerator, Tensor, Tensor]):
    generator, x, z = variant
    with _DeprecationsIgnored():
        scripted = torch.jit.script(generator.eval())
    with torch.no_grad():
        assert scaled_gap(step_through(scripted, x, z), step_through(generator, x, z)) < 1e-4


def test_hidden_dim_is_the_size_of_the_hidden_state(variant: tuple[StateSpaceGenerator, Tensor, Tensor]):
    generator, x, z = variant
    y, h = generator.initial(x[:, 0], z[:, 0])
    assert (y.shape, h.shape) == ((4, 4), (4, generator.hidden_dim))
    assert generator(x[:, 0], z[:, 0], h)[1].shape == h.shape


def test_started_outputs_start_at_their_parameters(variant: tuple[StateSpaceGenerator, Tensor, Tensor]):
    generator, x, z = variant
    y, _ = generator.initial(x[:, 0], z[:, 0])
    started = generator.started
    for output, parameter in ((2, 2), (1, 3)):
        if started[output]:
            assert torch.allclose(y[:, output], x[:, 0, parameter], rtol=1e-6, atol=1e-6)


def test_a_balance_without_residual_integrates_its_input_exactly():
    generator = make()
    x, z = draw(generator, steps=30)
    with torch.no_grad():
        rolled = generator.roll(x, z)
        # Factors stand in the order of the balanced outputs: two terms of the temperature, then the charge.
        factor = generator.coefficients(z[:, 0])[:, 2]
    soc = x[:, 0, 2:3].double() - 5e-4 * factor[:, None].double() * x[..., 0].double().cumsum(dim=1)
    assert (rolled[:, 1:, 2].double() - soc).abs().max().item() < 2e-6
    assert not torch.allclose(factor, torch.ones(4), atol=1e-4)


def test_individuals_differ_in_their_coefficients_but_never_in_sign():
    generator = make()
    z = 5 * torch.randn(1000, LATENTS, generator=torch.Generator().manual_seed(0))
    factors = generator.coefficients(z)
    assert factors.min().item() > 0
    assert factors.std(dim=0).min().item() > 0.01


def test_initial_parameters_act_on_nothing_after_the_start():
    generator = make()
    x, z = draw(generator)
    _, h = generator.initial(x[:, 0], z[:, 0])
    changed = x[:, 0].clone()
    changed[:, 2:] += 1.0
    assert torch.equal(generator(x[:, 0], z[:, 0], h)[0], generator(changed, z[:, 0], h)[0])
    changed[:, 0] += 1.0
    assert not torch.equal(generator(x[:, 0], z[:, 0], h)[0], generator(changed, z[:, 0], h)[0])


def test_other_parameters_act_at_every_step():
    generator = make(balances=(), initial_parameters=("soc_start",))
    x, z = draw(generator)
    _, h = generator.initial(x[:, 0], z[:, 0])
    changed = x[:, 0].clone()
    changed[:, 3] += 5.0
    assert not torch.equal(generator(x[:, 0], z[:, 0], h)[0], generator(changed, z[:, 0], h)[0])


def test_step_latents_move_the_step_and_not_the_start():
    generator = make(step_latent_dim=2)
    x, z = draw(generator, step_latents=2)
    other = z.clone()
    other[..., LATENTS:] += 1.0
    assert torch.equal(generator.initial(x[:, 0], z[:, 0])[1], generator.initial(x[:, 0], other[:, 0])[1])
    _, h = generator.initial(x[:, 0], z[:, 0])
    assert not torch.equal(generator(x[:, 0], z[:, 0], h)[0], generator(x[:, 0], other[:, 0], h)[0])


def test_rows_of_a_batch_do_not_mix():
    generator = make()
    x, z = draw(generator)
    with torch.no_grad():
        together, alone = generator.roll(x, z), generator.roll(x[2:3], z[2:3])
    assert scaled_gap(together[2:3], alone) < 1e-4


def test_gradients_reach_every_parameter():
    generator = make(step_latent_dim=1)
    x, z = draw(generator, step_latents=1)
    generator.roll(x, z).square().mean().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("changes", [{"initial_parameters": ("soc",)}, {"balances": (dataclasses.replace(CHARGE, start="soc"),)}])
def test_a_start_that_is_no_parameter_is_refused_with_those_there_are(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match="'soc' is no parameter; there are soc_start, temperature_start"):
        make(**changes)


def test_an_input_is_no_initial_parameter():
    with pytest.raises(ConfigError, match="'current' is no parameter"):
        make(initial_parameters=("current",))


@pytest.mark.parametrize(
    ("term", "parts"),
    [("current", [("current", 1.0)]), ("a - b", [("a", 1.0), ("b", -1.0)]), ("a-b", [("a", 1.0), ("b", -1.0)])],
)
def test_terms_are_names_or_differences(term: str, parts: list[tuple[str, float]]):
    assert split_term(term) == parts


# -- first guesses of the coefficients -------------------------------------------------------------------------------


def balanced_runs(noise: float = 0.0) -> Trajectories:
    """Runs that keep both balances: charge with -0.01, heat with 0.3 and 0.02."""
    rng = np.random.default_rng(0)
    inputs = np.stack([rng.normal(0, 3, (6, 40)), rng.normal(290, 5, (6, 40))], axis=-1)
    outputs = np.zeros((6, 41, 4))
    outputs[:, 0] = [3.7, 295.0, 0.5, 0.0]
    for k in range(40):
        outputs[:, k + 1, 0] = 3.7 + rng.normal(size=6)
        heat = outputs[:, k + 1, 3] = inputs[:, k, 0] ** 2
        before = outputs[:, k, 1]
        outputs[:, k + 1, 1] = before + 0.3 * heat + 0.02 * (inputs[:, k, 1] - before) + noise * rng.normal(size=6)
        outputs[:, k + 1, 2] = outputs[:, k, 2] - 0.01 * inputs[:, k, 0]
    return Trajectories(VARIABLES, 10.0, inputs, np.zeros((6, 2)), outputs, np.arange(6), np.arange(6))


def test_coefficients_of_exact_balances_are_found_exactly():
    found = fit_balances((CHARGE, HEAT), balanced_runs())
    assert found["soc"] == pytest.approx([-0.01], rel=1e-9)
    assert found["temperature"] == pytest.approx([0.3, 0.02], rel=1e-9)


def test_coefficients_are_found_under_noise():
    assert fit_balances((HEAT,), balanced_runs(noise=0.1))["temperature"] == pytest.approx([0.3, 0.02], rel=0.05)


def test_without_balances_there_is_nothing_to_fit():
    assert fit_balances((), balanced_runs()) == {}


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        (Balance("sco", ("current",)), "balance of 'sco': there is no such output; there are voltage, temperature, soc, heat"),
        (Balance("soc", ("curent",)), "balance of 'soc': 'curent' is no input or output; there are current, ambient, voltage"),
        (Balance("soc", ("current - soc_start",)), "balance of 'soc': 'soc_start' is no input or output"),
        (Balance("soc", ("current", "current")), r"the terms \['current', 'current'\] cannot be told apart in the data"),
        (Balance("soc", ("current - current",)), "cannot be told apart in the data"),
    ],
)
def test_a_balance_that_cannot_be_fitted_is_refused(balance: Balance, message: str):
    with pytest.raises(ConfigError, match=message):
        fit_balances((balance,), balanced_runs())
