"""A gated memory: it holds what an event said, and ships in C."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from surrogate_fmu.dataset.scaling import measure_scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.training.config import GeneratorConfig, Objective, TermConfig, TrainingConfig
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.generators import make_generator
from surrogate_fmu.training.loop import TrainingResult, train
from surrogate_fmu.variables import Causality, Variable

VARIABLES = (Variable("pulse", Causality.INPUT, start=0.0), Variable("on", Causality.OUTPUT))
LATCH = TrainingConfig(
    objective=Objective.TERMS,
    terms=(TermConfig("mean-error", options={"members": 1}),),
    updates=200,
    batch_size=48,
    window_steps=(20, 30),
    validations=2,
    validation_members=2,
    learning_rate=5e-3,
    generator=GeneratorConfig(run_latent_dim=0, memory_dim=6, width=24),
)


def latch(runs: int, seed: int) -> Trajectories:
    """A relay: a rare pulse above 0.5 turns it on, one below -0.5 off, everything else leaves it."""
    rng, steps = np.random.default_rng(seed), 40
    pulse = rng.uniform(-0.3, 0.3, (runs, steps)) + np.where(
        rng.random((runs, steps)) < 0.06, rng.choice([-0.7, 0.7], (runs, steps)), 0
    )
    on = [np.zeros(runs)]
    for k in range(steps):
        on.append(np.where(pulse[:, k] > 0.35, 1.0, np.where(pulse[:, k] < -0.35, 0.0, on[-1])))
    number = np.arange(runs)
    return Trajectories(VARIABLES, 1.0, pulse[..., None], np.zeros((runs, 0)), np.stack(on, axis=1)[..., None], number, number)


def trained(gated: bool) -> TrainingResult:
    return train(
        latch(400, 1), latch(60, 2), dataclasses.replace(LATCH, generator=dataclasses.replace(LATCH.generator, gated=gated))
    )


def test_a_gated_memory_holds_what_an_event_said_and_ships_in_c(tmp_path: Path):
    plain, gated = trained(False), trained(True)
    assert gated.best.crps_ratio[0] < 0.8 * plain.best.crps_ratio[0]
    training, validation = latch(400, 1), latch(60, 2)
    bundle = make_trained_bundle("relay", "", gated, training, validation, LATCH)
    conditions = torch.tensor(validation.conditions()[:1], dtype=torch.float32)
    with torch.no_grad():
        expected = gated.generator.roll(conditions, torch.zeros(1, 40, 0))[0, :, 0].numpy()
    with FmuSession(build_native_fmu(bundle, tmp_path / "Relay.fmu", BuildConfig())) as session:
        session.set_values({"pulse": float(validation.inputs[0, 0, 0])})
        points = [session.initialize()["on"]]
        points += [session.do_step({"pulse": float(p)})["on"] for p in validation.inputs[0, :, 0]]
    np.testing.assert_allclose(points, expected, atol=1e-4)


def test_gates_begin_as_none():
    runs = latch(20, 1)
    plain, gated = (
        make_generator(VARIABLES, dataclasses.replace(LATCH.generator, gated=g), measure_scaling(runs, runs), (1.0, 40.0), {})
        for g in (False, True)
    )
    assert set(gated.load_state_dict(plain.state_dict(), strict=False).missing_keys) == {"gate.weight", "gate.bias"}
    conditions = torch.tensor(runs.conditions(), dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(*(g.roll(conditions, torch.zeros(20, 40, 0)) for g in (plain, gated)))
