"""Explicit densities: what is drawn has the law that is written down, learns, ships and lowers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError, TrainingError
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.training.config import GeneratorConfig, Objective, TermConfig, TrainingConfig
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.generators.density import draw_mixture, log_density, noise_count, parameter_count
from surrogate_fmu.training.loop import train
from surrogate_fmu.training.recipes import RECIPES
from surrogate_fmu.variables import Causality, Variable

LIKELIHOOD = TrainingConfig(
    objective=Objective.TERMS,
    terms=(TermConfig("likelihood"),),
    updates=600,
    batch_size=64,
    window_steps=(4, 10),
    validations=4,
    learning_rate=5e-3,
    generator=GeneratorConfig(run_latent_dim=0, step_latent_dim=2, memory_dim=2, width=16, components=3),
)


def coin_walks(runs: int, individuals: int, seed: int) -> Trajectories:
    """y' = 0.8 y + u +- 1 + small noise: two modes at every step."""
    rng, steps = np.random.default_rng(seed), 10
    inputs = np.repeat(0.2 * rng.normal(size=(runs, steps, 1)), individuals, axis=0)
    y = np.zeros((len(inputs), steps + 1, 1))
    for k in range(steps):
        coin = rng.choice([-1.0, 1.0], size=(len(inputs), 1))
        y[:, k + 1] = 0.8 * y[:, k] + inputs[:, k] + coin + 0.2 * rng.normal(size=coin.shape)
    variables = (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT))
    schedule = np.repeat(np.arange(runs), individuals)
    return Trajectories(variables, 1.0, inputs, np.zeros((len(inputs), 0)), y, np.arange(len(inputs)), schedule, {})


@pytest.mark.parametrize("components", [1, 3])
def test_draws_have_the_density_that_is_written_down(components: int) -> None:
    torch.manual_seed(1)
    parameters = torch.randn(1, parameter_count(components, 1))
    draws = draw_mixture(parameters.expand(200_000, -1), torch.randn(200_000, noise_count(components, 1)), components, 1).flatten()
    grid = torch.linspace(-12.0, 12.0, 4001)
    density = log_density(parameters.expand(len(grid), -1), grid[:, None], components).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1.0, abs=1e-3)
    cumulated = torch.cumulative_trapezoid(density, grid)
    empirical = (
        (draws[None] <= grid[1:, None]).float().mean(dim=1)
        if len(draws) < 1000
        else torch.from_numpy(np.searchsorted(np.sort(draws.numpy()), grid[1:].numpy(), side="right") / len(draws))
    )
    assert float((cumulated - empirical).abs().max()) < 0.006  # Kolmogorov-Smirnov of 200 000 draws


def test_a_draw_of_several_outputs_takes_one_component_for_all() -> None:
    far = torch.tensor([[-9.0, -9.0, 9.0, 9.0, -5.0, -5.0, -5.0, -5.0, 0.0, 0.0]])
    draws = draw_mixture(far.expand(1000, -1), torch.randn(1000, 3), 2, 2)
    assert (draws.sign()[:, 0] == draws.sign()[:, 1]).all()
    assert 0.4 < float((draws[:, 0] > 0).float().mean()) < 0.6


def test_two_modes_are_learned_by_a_mixture_and_lost_by_a_gaussian_which_ships_in_c_too(tmp_path: Path) -> None:
    training, validation = coin_walks(400, 1, 1), coin_walks(8, 24, 2)
    shares = {}
    for components in (1, 3):
        config = dataclasses.replace(LIKELIHOOD, generator=dataclasses.replace(LIKELIHOOD.generator, components=components))
        bundle = make_trained_bundle("coin", "", train(training, validation, config), training, validation, config)
        first = []
        for seed in range(300):
            with Session(bundle, seed=seed) as session:
                session.initialize()
                first.append(session.do_step({"u": 0.0})["y"])
        shares[components] = float((np.abs(first) < 0.5).mean())
    assert shares[3] < 0.1 < 0.25 < shares[1]  # between the modes there is little: 0.006 in truth
    with (
        FmuSession(build_native_fmu(bundle, tmp_path / "Coin.fmu", BuildConfig()), seed=5) as fmu,
        Session(bundle, seed=5) as session,
    ):
        fmu.initialize(), session.initialize()
        for k in range(6):
            u = {"u": 0.1 * k}
            assert fmu.do_step(u)["y"] == pytest.approx(session.do_step(u)["y"], abs=1e-5)


def test_recipes_set_the_components_and_say_what_they_need() -> None:
    training, validation = coin_walks(40, 1, 1), coin_walks(4, 4, 2)
    base = dataclasses.replace(
        LIKELIHOOD, updates=2, generator=GeneratorConfig(run_latent_dim=0, step_latent_dim=1, memory_dim=2, width=8)
    )
    train(training, validation, RECIPES["gaussian"].configure(base))
    with pytest.raises(ConfigError, match="a mixture for 1 outputs needs 2 step latents and no balances; got step_latent_dim 1"):
        train(training, validation, RECIPES["mixture"].configure(base))
    with pytest.raises(TrainingError, match="the term likelihood needs a density: set components"):
        train(training, validation, base)
    with pytest.raises(ValueError, match="components -1 cannot be negative"):
        GeneratorConfig(components=-1)
