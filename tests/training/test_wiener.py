"""The Wiener generator: whole windows equal single steps, runs are explained by individuals, latents are recentred unseen."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.torchscript import _DeprecationsIgnored
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import (
    Balance,
    EnergyConfig,
    GeneratorConfig,
    PosteriorConfig,
    Structure,
    TrainingConfig,
    WienerConfig,
)  # fmt: skip
from surrogate_fmu.training.generators import make_step
from surrogate_fmu.training.generators.wiener import WienerGenerator
from tests.training.test_generator import (
    CHARGE,
    COEFFICIENTS,
    HEAT,
    LATENTS,
    SCALING,
    VARIABLES,
    VARIANTS,
    draw,
    scaled_gap,
    step_through,
)  # fmt: skip


def make(
    balances: tuple[Balance, ...] = (CHARGE, HEAT), wiener: WienerConfig | None = None, roughness: float = 0.1, **changes: Any
) -> WienerGenerator:
    config = GeneratorConfig(LATENTS, 0, 5, 16, ("soc_start", "temperature_start"), balances, Structure.WIENER)
    config = dataclasses.replace(config, wiener=wiener or WienerConfig(lags=3), **changes)
    coefficients = {balance.output: [COEFFICIENTS[term] for term in balance.terms] for balance in balances}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = WienerGenerator(VARIABLES, config, SCALING, (1.0, 50.0), coefficients)
        for parameter in generator.parameters():  # so that nothing is zero by its first value
            parameter.data += roughness * torch.randn_like(parameter)
        return generator


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant[0])
def variant(request: pytest.FixtureRequest) -> tuple[WienerGenerator, Tensor, Tensor]:
    _, changes, step_latents = request.param
    generator = make(**changes)
    return generator, *draw(generator, step_latents=step_latents)


def test_a_window_at_once_equals_stepping_through_it(variant: tuple[WienerGenerator, Tensor, Tensor]):
    generator, x, z = variant
    with torch.no_grad():
        rolled, stepped = generator.roll(x, z), step_through(make_step(generator), x, z)
    assert rolled.shape == (4, 13, 4)
    assert scaled_gap(rolled, stepped) < 2e-4  # temperatures about 300 K in float32, and sweeps that end at 1e-5


def test_the_step_is_the_same_scripted_in_any_batch(variant: tuple[WienerGenerator, Tensor, Tensor]):
    generator, x, z = variant
    step = make_step(generator).eval()
    with _DeprecationsIgnored():
        scripted = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(step), preserved_attrs=["initial"]))
    with torch.no_grad():
        for rows in (slice(0, 1), slice(0, 4), slice(1, 3)):
            assert scaled_gap(step_through(scripted, x[rows], z[rows]), step_through(step, x[rows], z[rows])) < 1e-4


def test_points_of_a_window_are_those_of_the_whole(variant: tuple[WienerGenerator, Tensor, Tensor]):
    generator, x, z = variant
    points = torch.tensor([0, 3, 12])
    with torch.no_grad():
        whole = generator.roll(x, z)
        assert scaled_gap(generator.roll(x, z, points, whole), whole[:, points]) < 1e-4


def test_trajectories_nearby_are_corrected_by_one_sweep():
    generator = make(roughness=0.0)
    x, z = draw(generator)
    with torch.no_grad():
        whole = generator.roll(x, z)
        near = whole + 0.1 * torch.tensor(SCALING.output_std, dtype=torch.float32)
        assert scaled_gap(generator.roll(x, z, None, whole), whole) < 1e-4
        assert scaled_gap(generator.roll(x, z, None, near), whole) < 0.05


def test_copies_of_a_batch_go_round_its_conditions():
    generator = make()
    x, z = draw(generator)
    with torch.no_grad():
        both = generator.roll(x, torch.cat([z, z.flip(0)]))
        assert scaled_gap(both[:4], generator.roll(x, z)) < 1e-4
        assert scaled_gap(both[4:], generator.roll(x, z.flip(0))) < 1e-4


def test_an_individual_explains_its_own_run(variant: tuple[WienerGenerator, Tensor, Tensor]):
    generator, x, z = variant
    points = torch.arange(1, 13)
    with torch.no_grad():
        z = z.clone()
        z[..., generator.run_latent_dim :] = 0.0
        run = generator.roll(x, z)
        explained = generator.reconstruct(x, z[:, 0, : generator.run_latent_dim], run, points)
    assert scaled_gap(explained, run[:, 1:]) < 2e-4


def test_recentred_latents_say_the_same(variant: tuple[WienerGenerator, Tensor, Tensor]):
    generator, x, z = variant
    size = generator.run_latent_dim
    random = torch.Generator().manual_seed(3)
    mean, factor = torch.randn(size, generator=random), torch.eye(size) + 0.3 * torch.randn(size, size, generator=random)
    with torch.no_grad():
        before = generator.roll(x, z)
        generator.recentre_latents(mean, factor)
        z = z.clone()
        z[..., :size] = (z[..., :size] - mean) @ torch.linalg.inv(factor).mT
        assert scaled_gap(generator.roll(x, z), before) < 1e-3  # weights of other size round elsewhere


def test_the_individual_is_chosen_at_the_start():
    generator = make()
    x, z = draw(generator)
    step = make_step(generator)
    _, h = step.initial(x[:, 0], z[:, 0])
    assert h.shape == (4, step.hidden_dim)
    assert torch.equal(step(x[:, 0], z[:, 0], h)[0], step(x[:, 0], z[:, 0] + 1.0, h)[0])


def test_an_indirect_input_acts_through_its_balance_alone():
    generator = make(wiener=WienerConfig(("ambient",), lags=3))
    step = make_step(generator)
    x, z = draw(generator)
    _, h = step.initial(x[:, 0], z[:, 0])
    warmer = x[:, 0].clone()
    warmer[:, 1] += 5.0
    (y, _), (warm, _) = step(x[:, 0], z[:, 0], h), step(warmer, z[:, 0], h)
    assert torch.allclose(y[:, [0, 2, 3]], warm[:, [0, 2, 3]])
    assert (warm[:, 1] > y[:, 1]).all()


def test_a_balance_without_residual_integrates_its_input_exactly():
    generator = make()
    x, z = draw(generator, steps=30)
    with torch.no_grad():
        rolled = generator.roll(x, z)
        factor = generator.factors(z[:, 0])[0][:, 2]  # in the order of outputs: two terms of the temperature, then the charge
    soc = x[:, 0, 2:3].double() - 5e-4 * factor[:, None].double() * x[..., 0].double().cumsum(dim=1)
    assert (rolled[:, 1:, 2].double() - soc).abs().max().item() < 2e-6
    assert not torch.allclose(factor, torch.ones(4), atol=1e-4)


def test_gradients_reach_every_parameter():
    generator = make(step_latent_dim=1, balances=(dataclasses.replace(CHARGE, start=""), HEAT))
    x, z = draw(generator, step_latents=1)
    generator.roll(x, z).square().mean().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max().item() > 0.0, name


@pytest.mark.parametrize(
    ("wiener", "message"),
    [
        (WienerConfig(filtered_inputs=("soc",)), "'soc' is no input that acts directly; there are current, ambient"),
        (WienerConfig(("ambient",), ("ambient",)), "'ambient' is no input that acts directly; there are current"),
        (WienerConfig(indirect_inputs=("heat",)), "'heat' is no input; there are current, ambient"),
        (WienerConfig(curves=("voltage",)), "'voltage' is no output with a balance; there are soc, temperature"),
    ],
)
def test_names_that_are_not_there_are_refused_with_those_there_are(wiener: WienerConfig, message: str):
    with pytest.raises(ConfigError, match=message):
        make(wiener=wiener)


def test_settings_of_one_structure_are_refused_by_the_other():
    with pytest.raises(ValueError, match=r"no effect on a recurrent generator: set structure"):
        GeneratorConfig(wiener=WienerConfig(lags=2))
    with pytest.raises(ValueError, match=r"\[training.posterior\] has no effect on a recurrent generator"):
        TrainingConfig(posterior=PosteriorConfig(points=3))
    with pytest.raises(ValueError, match="encoder_width has no effect on a Wiener generator"):
        TrainingConfig(generator=GeneratorConfig(structure=Structure.WIENER), energy=EnergyConfig(encoder_width=7))
    with pytest.raises(ValueError, match="leaves updates with nothing to do"):
        EnergyConfig(interval=2, reconstruction_weight=0.0)
