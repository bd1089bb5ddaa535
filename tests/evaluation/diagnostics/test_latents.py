"""Derivatives by the latents where they are known by hand, and what a collapse leaves of them."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.evaluation.diagnostics.case import make_case
from surrogate_fmu.evaluation.diagnostics.finding import Finding, Level
from surrogate_fmu.evaluation.diagnostics.latents import LatentGain, differentiate, find_weak_latents, measure_gain
from surrogate_fmu.evaluation.ensembles import PlantEnsemble
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.variables import Causality, Variable

STEPS, SCHEDULES, INDIVIDUALS = 12, 8, 60
VARIABLES = (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT), Variable("w", Causality.OUTPUT))
MANIFEST = Manifest("linear", VARIABLES, 1.0, 2, 2, 1, {name: Interval(-9.0, 9.0) for name in ("u", "y", "w")})
RESOLUTION = np.full(2, 1e-6)


class Linear(torch.nn.Module):
    """h' = keep h + 0.6 z_step, y = u + trait z_run + h', w = 2 z_step; the second run latent does nothing."""

    def __init__(self, keep: float = 0.8, trait: float = 1.5, scale: float = 1.0) -> None:
        super().__init__()
        self.keep, self.trait, self.scale = keep, trait, scale

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([self.trait * z[:, :1], torch.zeros_like(z[:, :1])], 1), torch.zeros_like(z[:, :1])

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.keep * h + 0.6 * self.scale * z[:, 2:3]
        return torch.cat([x + self.trait * self.scale * z[:, :1] + h, 2.0 * self.scale * z[:, 3:4]], 1), h


def bundle_of(**changes: float) -> Bundle:
    return export_bundle(Linear(**changes), MANIFEST)


@pytest.fixture(scope="module")
def plant() -> PlantEnsemble:
    conditions = np.random.default_rng(0).uniform(-1, 1, (SCHEDULES, STEPS, 1))
    runs = rollout(bundle_of(), conditions.repeat(INDIVIDUALS, axis=0), np.arange(SCHEDULES * INDIVIDUALS))
    return PlantEnsemble(VARIABLES, 1.0, tuple(range(SCHEDULES)), conditions, runs.reshape(SCHEDULES, INDIVIDUALS, STEPS + 1, 2))


def seen(plant: PlantEnsemble, bundle: Bundle) -> tuple[LatentGain, Finding]:
    gain = measure_gain(bundle, plant, RESOLUTION)
    return gain, find_weak_latents(make_case(plant, plant.outputs, np.random.default_rng(0)), gain)


def test_derivatives_by_hand(plant: PlantEnsemble):
    found = differentiate(bundle_of(), plant.conditions, np.array([1, 3]), seed=0)
    assert found.shape == (SCHEDULES, 2, 2, 2 + 2 * STEPS)
    expected = np.zeros((2, 2, 2 + 2 * STEPS))
    expected[0, :, 0] = 1.5
    expected[0, 0, 2] = 0.6
    expected[0, 1, [2, 4, 6]] = 0.6 * 0.8**2, 0.6 * 0.8, 0.6
    expected[1, 0, 3] = expected[1, 1, 7] = 2.0
    assert found == pytest.approx(np.broadcast_to(expected, found.shape), abs=1e-6)


def test_a_linear_generator_of_the_plants_law_has_gain_one(plant: PlantEnsemble):
    gain, finding = seen(plant, bundle_of())
    assert gain.total == pytest.approx([1.0, 1.0], abs=0.06)
    assert gain.latents == ("run 1", "run 2", "step 1", "step 2") and gain.unused == ("run 2",)
    # the trait and the coloured noise share the spread of y; w has white noise alone, so no direction of z has more than its share
    assert gain.by_latent[0, 0] ** 2 + gain.by_latent[0, 2] ** 2 == pytest.approx(gain.total[0] ** 2)
    assert gain.singular_values[0, 0] > 0.8 and gain.singular_values[1] == pytest.approx(np.full(6, 6**-0.5), abs=0.03)
    assert (gain.singular_values**2).sum(axis=1) == pytest.approx(gain.total**2)
    assert finding.level is Level.OK and "of 4 latents 1 do nothing" in finding.sentence


def test_a_collapse_is_named(plant: PlantEnsemble):
    gain, finding = seen(plant, bundle_of(scale=0.2))
    assert gain.total == pytest.approx([0.2, 0.2], abs=0.02)
    assert finding.level is Level.FAIL and "cannot scatter as the plant does" in finding.sentence
    assert seen(plant, bundle_of(scale=0.6))[1].level is Level.WARN


def test_an_output_that_does_not_scatter_asks_for_nothing(plant: PlantEnsemble):
    outputs = plant.outputs.copy()
    outputs[..., 1] = 3.0
    silent = dataclasses.replace(plant, outputs=outputs)
    gain, finding = seen(silent, bundle_of())
    assert finding.level is Level.OK and "move y" in finding.sentence and np.isfinite(gain.total).all()
