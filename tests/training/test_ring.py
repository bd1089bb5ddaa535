"""The ring generator: one law for all places, starts kept, transport and closure found in recorded runs."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.torchscript import _DeprecationsIgnored
from surrogate_fmu.dataset.scaling import Scaling, measure_scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.fmu.native.lowering.generator import lower_generator
from surrogate_fmu.training.config import (
    Balance,
    EnergyConfig,
    GeneratorConfig,
    RingConfig,
    Structure,
    TrainingConfig,
    WienerConfig,
)
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.generators.ring import RingGenerator
from surrogate_fmu.training.loop import Trainer
from surrogate_fmu.training.objectives.energy import fair_crps
from surrogate_fmu.training.rollout import draw_latents
from surrogate_fmu.training.teacher import fit_transport, teach
from surrogate_fmu.variables import Causality, Variable

PLACES = 6
STARTS = tuple(f"u{k}_start" for k in range(PLACES))
VARIABLES = (
    Variable("push", Causality.INPUT, start=0.0),
    *(Variable(name, Causality.PARAMETER, start=0.0) for name in STARTS),
    *(Variable(f"u{k}", Causality.OUTPUT) for k in range(PLACES)),
)
CONFIG = GeneratorConfig(0, 2 * PLACES, 3, 16, structure=Structure.RING, ring=RingConfig(STARTS, teacher_updates=150))


def tendency(u: np.ndarray, push: np.ndarray) -> np.ndarray:
    """Advection, diffusion, damping and a push, per step."""
    left, right = np.roll(u, 1, axis=-1), np.roll(u, -1, axis=-1)
    advected = 0.1 * left * (right - np.roll(u, 2, axis=-1))
    return advected + 0.05 * (left - 2.0 * u + right) - 0.1 * u + 0.3 * push[:, None]


def record(runs: int, individuals: int, steps: int, noise: float, seed: int) -> Trajectories:
    """Runs with an AR(1) noise of correlation 0.8, which the outputs show no more than once a step."""
    random = np.random.default_rng(seed)
    push = random.uniform(-1.0, 1.0, (runs, steps)).repeat(individuals, axis=0)
    u = random.uniform(-2.0, 2.0, (runs, PLACES)).repeat(individuals, axis=0)
    hidden, path = noise * random.standard_normal(u.shape), [u]
    for step in range(steps):
        hidden = 0.8 * hidden + 0.6 * noise * random.standard_normal(u.shape)
        for _ in range(10):
            half = u + 0.05 * tendency(u, push[:, step])
            u = u + 0.1 * tendency(half, push[:, step])
        u = u + hidden
        path.append(u)
    outputs = np.stack(path, axis=1)
    count = np.arange(len(u))
    return Trajectories(VARIABLES, 1.0, push[..., None], outputs[:, 0], outputs, count, count // individuals)


@pytest.fixture(scope="module")
def runs() -> Trajectories:
    return record(400, 1, 16, 0.05, 1)


def make(scaling: Scaling | None = None, seed: int = 0, **changes: Any) -> RingGenerator:
    count = len(STARTS) + 1
    scaling = scaling or Scaling(np.zeros(count), np.ones(count), np.zeros(PLACES), np.ones(PLACES), np.ones(PLACES))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = RingGenerator(VARIABLES, dataclasses.replace(CONFIG, **changes), scaling, (1.0, 16.0), {})
        with torch.no_grad():
            made.quadratic.normal_(0.0, 0.01)
            made.linear.normal_(0.0, 0.1)
            made.drive.weight.fill_(0.1)
        return made


def draw(batch: int, steps: int, copies: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(batch, steps, 1 + PLACES, generator=random)
    x[..., 1:] = x[:, :1, 1:]
    return x, draw_latents(copies * batch, steps, 0, 2 * PLACES, random)


def step_through(generator: Any, x: Tensor, z: Tensor) -> Tensor:
    y, h = generator.initial(x[:, 0], z[:, 0])
    path = [y]
    for step in range(x.shape[1]):
        y, h = generator(x[:, step], z[:, step], h)
        path.append(y)
    return torch.stack(path, dim=1)


def test_one_law_whether_rolled_stepped_or_scripted():
    generator = make()
    x, z = draw(3, 8)
    with torch.no_grad():
        rolled = generator.roll(x, z)
        assert torch.allclose(rolled, step_through(generator, x, z), atol=1e-5)
        with _DeprecationsIgnored():
            scripted = torch.jit.script(generator)
        assert torch.allclose(rolled, step_through(scripted, x, z), atol=1e-5)
        assert torch.equal(rolled[:, [0, 5]], generator.roll(x, z, torch.tensor([0, 5])))


def test_copies_go_round_the_conditions():
    generator = make()
    x, z = draw(3, 4, copies=2)
    with torch.no_grad():
        assert torch.allclose(generator.roll(x, z)[3:], generator.roll(x, z[3:]), atol=1e-6)


def test_a_run_starts_at_its_parameters():
    generator = make(Scaling(np.zeros(7), np.ones(7), np.arange(6.0), np.arange(1.0, 7.0), np.ones(6)))
    x, z = draw(4, 3)
    with torch.no_grad():
        assert torch.allclose(generator.roll(x, z)[:, 0], x[:, 0, 1:], atol=1e-5)


def test_places_share_one_law():
    generator = make()
    x, z = draw(3, 6)
    turned_x = torch.cat([x[..., :1], x[..., 1:].roll(2, dims=2)], dim=2)
    turned_z = z.unflatten(2, (PLACES, 2)).roll(2, dims=2).flatten(2)
    with torch.no_grad():
        assert torch.allclose(generator.roll(turned_x, turned_z), generator.roll(x, z).roll(2, dims=2), atol=1e-5)


def test_transport_of_a_quadratic_law_is_found_and_the_rest_is_its_noise(runs: Trajectories):
    generator = make(measure_scaling(runs, runs))
    with torch.no_grad():
        for parameter in (generator.quadratic, generator.linear, generator.drive.weight):
            parameter.zero_()
    fit_transport(generator, runs)
    assert generator.linear.dtype is torch.float32
    quiet = record(50, 1, 4, 0.0, 2)
    x = torch.tensor(quiet.conditions(), dtype=torch.float32)
    start = (torch.tensor(quiet.outputs[:, 0], dtype=torch.float32) - generator.output_mean) / generator.output_std
    with torch.no_grad():
        y = start
        for step in range(4):
            y = generator.transported(y, generator.scaled(x[:, step]))
        found = y * generator.output_std + generator.output_mean
    moved = np.abs(quiet.outputs[:, 4] - quiet.outputs[:, 0]).mean()
    # Not exact: the noise lasts, so that what it moved stands in the outputs that transport is fitted to.
    assert np.abs(found.numpy() - quiet.outputs[:, 4]).mean() < 0.1 * moved
    assert float(generator.closure_scale * generator.output_std) == pytest.approx(0.05, rel=0.1)


def test_teaching_finds_the_noise_and_its_memory(runs: Trajectories):
    generator = make(measure_scaling(runs, runs), step_latent_dim=PLACES)
    fit_transport(generator, runs)
    teach(generator, runs, 300, torch.Generator().manual_seed(0))
    scale = float(generator.closure_scale * generator.output_std)
    known = torch.zeros(1, PLACES, generator.head_state.in_features)
    outputs = torch.zeros(1, PLACES)
    with torch.no_grad():
        memory = generator.first_memory(outputs, torch.zeros(1, 1))
        spread, mean = [], []
        for last in (-1.0, 1.0):
            state = generator.state(outputs, outputs, torch.full((1, PLACES), last), torch.zeros(1, 1))
            read = generator.remember(state, memory, torch.sigmoid(generator.rate_logit))
            known = torch.cat([state, read], dim=2).expand(2000, -1, -1)
            drawn = generator.draw_closure(known, torch.randn(2000, PLACES, 1, generator=torch.Generator().manual_seed(1)))
            spread.append(float(drawn.std(dim=0).mean()) * scale)
            mean.append(float(drawn.mean()))
    # The next noise is 0.8 of the last one, with a spread of 0.6 x 0.05.
    assert spread == pytest.approx([0.03, 0.03], rel=0.25)
    assert mean[1] - mean[0] == pytest.approx(1.6, rel=0.25)


def train(runs: Trajectories, teacher_updates: int) -> tuple[Trainer, TrainingConfig]:
    ring = dataclasses.replace(CONFIG.ring, teacher_updates=teacher_updates)
    config = TrainingConfig(
        updates=20, batch_size=32, window_steps=(2, 4), generator=dataclasses.replace(CONFIG, ring=ring),
        energy=EnergyConfig(reconstruction_weight=0.0), validations=2,
    )  # fmt: skip
    trainer = Trainer(runs, record(8, 8, 8, 0.05, 3), config)
    while not trainer.finished:
        trainer.update()
    return trainer, config


def test_a_trained_ring_scores_as_the_plant_does_and_can_be_lowered(runs: Trajectories):
    trainer, config = train(runs, 150)
    result = trainer.result()
    again = train(runs, 150)[0].result()
    for name, value in result.generator.state_dict().items():
        assert torch.equal(value, again.generator.state_dict()[name]), name
    assert np.mean(result.best.crps_ratio) < 1.15
    assert np.mean(train(runs, 0)[0].result().best.crps_ratio) > 1.2
    bundle = make_trained_bundle("ring", "", result, runs, runs, config)
    lowered = lower_generator(bundle)
    assert lowered.step is not None and bundle.manifest.hidden_dim == PLACES * (2 + 3)


def test_crps_of_the_closure_is_what_teaching_lowers(runs: Trajectories):
    before, after = (make(measure_scaling(runs, runs)) for _ in range(2))
    for generator in (before, after):
        fit_transport(generator, runs)
    teach(after, runs, 100, torch.Generator().manual_seed(0))
    fresh = record(100, 1, 3, 0.05, 5)
    x = torch.tensor(fresh.conditions(), dtype=torch.float32)
    observed = torch.tensor(fresh.outputs[:, 1:], dtype=torch.float32)
    losses = []
    for generator in (before, after):
        latents = draw_latents(16 * len(x), 3, 0, 2 * PLACES, torch.Generator().manual_seed(2))
        with torch.no_grad():
            members = generator.roll(x, latents)[:, 1:].reshape(16, len(x), 3, PLACES)
        losses.append(float(fair_crps(members, observed).mean()))
    assert losses[1] < 0.9 * losses[0]


def test_what_a_ring_cannot_have_is_refused():
    for change, message in (
        ({"run_latent_dim": 6}, "no individuals"),
        ({"step_latent_dim": 7}, "multiple of 6"),
        ({"balances": (Balance("u0", ("push",)),)}, "no balances"),
        ({"ring": RingConfig(STARTS[:3])}, "names 3 parameters"),
        ({"ring": RingConfig((*STARTS[:5], "push"))}, "'push' is no parameter"),
        ({"ring": RingConfig(STARTS, reach=3)}, "sees 7 places"),
    ):
        with pytest.raises(ConfigError, match=message):
            make(**change)
    with pytest.raises(ValueError, match=r"\[training.generator.ring\] has no effect on a recurrent generator"):
        GeneratorConfig(ring=RingConfig(STARTS))
    with pytest.raises(ValueError, match=r"\[training.generator.wiener\] has no effect on a ring generator"):
        dataclasses.replace(CONFIG, wiener=WienerConfig(lags=2))
    with pytest.raises(ValueError, match="reach 0"):
        RingConfig(reach=0)


def test_teaching_takes_half_of_the_budget_at_most(runs: Trajectories, monkeypatch: pytest.MonkeyPatch):
    ticks = iter(range(10_000))
    monkeypatch.setattr("surrogate_fmu.training.teacher.time.process_time", lambda: float(next(ticks)))
    ring = dataclasses.replace(CONFIG.ring, teacher_updates=1000)
    config = TrainingConfig(generator=dataclasses.replace(CONFIG, ring=ring), window_steps=(2, 4), budget_cpu_s=20.0)
    trainer = Trainer(runs, record(8, 8, 8, 0.05, 3), config)
    assert next(ticks) == 12 + 1, "readings: around the teaching, at its start and after each of ten updates"
    assert trainer.share == 0.0 and trainer.cpu_s == 12.0
