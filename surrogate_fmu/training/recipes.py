"""Candidates for a race: named ways to train the same generator, from the simplest to those with most that can go wrong."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import EnergyConfig, Objective, TermConfig, TrainingConfig


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    Attributes:
        name: of it.
        description: one line.
        complexity: networks that are trained beside the generator, and half for each schedule that must be right; of two
            candidates that are as good the one with less wins.
        configure: the configuration of the training, changed.
    """

    name: str
    description: str
    complexity: float
    configure: Callable[[TrainingConfig], TrainingConfig]


def find_recipes(names: str) -> tuple[Recipe, ...]:
    """The recipes of a list such as "energy,r3gan,vae"; "all" takes every one.

    Raises:
        TrainingError: a name is unknown or comes twice, or there are fewer than two.
    """
    wanted = list(RECIPES) if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in RECIPES:
            raise TrainingError(f"the recipe {name!r} is unknown; there are {', '.join(RECIPES)}")
    if len(set(wanted)) != len(wanted) or len(wanted) < 2:
        raise TrainingError(f"a race needs two or more different recipes, got {names!r}")
    return tuple(RECIPES[name] for name in wanted)


def _terms(*terms: tuple[str, float, Mapping[str, Any]]) -> Callable[[TrainingConfig], TrainingConfig]:
    configs = tuple(TermConfig(name, weight, options=dict(options)) for name, weight, options in terms)
    # what only the energy recipe reads goes back to its defaults
    return lambda config: dataclasses.replace(config, objective=Objective.TERMS, terms=configs, energy=EnergyConfig())


def _density(components: int) -> Callable[[TrainingConfig], TrainingConfig]:
    def configure(config: TrainingConfig) -> TrainingConfig:
        generator = dataclasses.replace(config.generator, components=components)
        return dataclasses.replace(_terms(("likelihood", 1.0, {}))(config), generator=generator)

    return configure


def _named(objective: Objective) -> Callable[[TrainingConfig], TrainingConfig]:
    return lambda config: dataclasses.replace(config, objective=objective, terms=())


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("energy", "fair energy score and CRPS, individuals recognised", 0.0, _named(Objective.ENERGY)),
        Recipe("crps", "fair CRPS of every output and step", 0.0, _terms(("crps", 1.0, {}))),
        Recipe("mse", "squared error of the ensemble mean: a baseline, it has no spread", 0.0, _terms(("mean-error", 1.0, {}))),
        Recipe("gaussian", "likelihood of a Gaussian per step", 0.0, _density(1)),
        Recipe("mixture", "likelihood of a mixture of 5 Gaussians per step", 0.5, _density(5)),
        Recipe("repulsion", "energy score and members that repel", 0.5, _terms(("energy", 1.0, {}), ("repulsion", 0.02, {}))),
        Recipe("mmd", "maximum mean discrepancy, mixture of kernels", 0.5, _terms(("mmd", 1.0, {}))),
        Recipe("energy-distance", "energy distance of windows with conditions", 0.5, _terms(("energy-distance", 1.0, {}))),
        Recipe("sliced-wasserstein", "sliced 2-Wasserstein distance", 0.5, _terms(("sliced-wasserstein", 1.0, {}))),
        Recipe("vae", "variational autoencoder, annealed", 1.5, _terms(("vae", 1.0, {}))),
        Recipe("r3gan", "energy score first, then R3GAN", 1.5, _named(Objective.R3GAN)),
        Recipe("r3gan-alone", "R3GAN from the start", 1.0, _terms(("r3gan", 1.0, {}))),
        Recipe("gan", "non-saturating GAN, one-sided label smoothing", 1.0, _terms(("non-saturating", 1.0, {"real_label": 0.9}))),
        Recipe("lsgan", "least squares GAN", 1.0, _terms(("least-squares", 1.0, {}))),
        Recipe("wgan", "Wasserstein GAN, clipped weights", 1.5, _terms(("wgan", 1.0, {"critic_steps": 3}))),
        Recipe("wgan-gp", "Wasserstein GAN, gradient penalty", 1.5, _terms(("wgan-gp", 1.0, {"critic_steps": 3}))),
        Recipe("hinge-sn", "hinge GAN, spectral normalization", 1.0, _terms(("hinge", 1.0, {"spectral_norm": True}))),
        Recipe("wgan-2", "2-Wasserstein GAN, quadratic cost", 1.5, _terms(("wasserstein-2", 1.0, {"critic_steps": 3}))),
        Recipe(
            "vae-gan",
            "VAE with an R3GAN and its features",
            2.5,
            _terms(("vae", 1.0, {}), ("r3gan", 0.1, {"feature_matching": 1.0})),
        ),
    )
}
