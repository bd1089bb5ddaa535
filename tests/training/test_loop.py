"""Training on runs of the toy: deterministic, resumable, refusing what it cannot use."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.training.config import Balance, GeneratorConfig, Objective, Optimiser, TermConfig, TrainingConfig
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.loop import train

CONFIG = TrainingConfig(
    updates=30,
    batch_size=8,
    window_steps=(4, 10),
    validations=3,
    validation_members=8,
    generator=GeneratorConfig(
        2, 1, 4, 16, ("temperature_start",), (Balance("temperature", ("power", "flow"), "temperature_start"),)
    ),
)


def record_toy(bundle: Bundle, schedules: int, individuals: int, seed: int) -> Trajectories:
    rng = np.random.default_rng(seed)
    inputs = np.stack([rng.uniform(-40, 40, (schedules, 10)), rng.uniform(280, 310, (schedules, 10))], -1).repeat(individuals, 0)
    parameters = rng.uniform(280, 310, (schedules, 1)).repeat(individuals, 0)
    conditions = np.concatenate([inputs, np.broadcast_to(parameters[:, None], (*inputs.shape[:2], 1))], -1)
    seeds = rng.integers(1, 2**31, len(inputs))
    numbers = np.arange(schedules).repeat(individuals)
    return Trajectories(bundle.manifest.variables, 2.0, inputs, parameters, rollout(bundle, conditions, seeds), seeds, numbers)


@pytest.fixture(scope="module")
def runs(toy_bundle: Bundle) -> tuple[Trajectories, Trajectories]:
    return record_toy(toy_bundle, 40, 1, 1), record_toy(toy_bundle, 4, 4, 2)


def weights(result) -> list[torch.Tensor]:
    return list(result.generator.state_dict().values())


def same(left, right) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(left), weights(right), strict=True))


@pytest.mark.parametrize("objective", list(Objective))
def test_same_seed_same_weights_also_through_an_interruption(runs, tmp_path: Path, objective: Objective):
    terms = tuple(TermConfig(name) for name in ("energy", "vae", "wgan-gp")) if objective is Objective.TERMS else ()
    optimiser = Optimiser.EXTRAGRADIENT if objective is Objective.TERMS else Optimiser.ADAM
    config = dataclasses.replace(CONFIG, objective=objective, terms=terms, optimiser=optimiser)
    whole = train(*runs, config)
    assert whole.ended_by == "updates"

    def stop(progress):
        if progress.update == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*runs, config, tmp_path / "checkpoint", report=stop)
    resumed = train(*runs, config, tmp_path / "checkpoint", resume=True)
    assert same(whole, resumed)
    assert not same(whole, train(*runs, dataclasses.replace(config, seed=1)))


def test_a_checkpoint_of_other_settings_is_refused(runs, tmp_path: Path):
    train(*runs, CONFIG, tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match="another configuration or dataset"):
        train(*runs, dataclasses.replace(CONFIG, seed=5), tmp_path / "checkpoint", resume=True)
    (tmp_path / "checkpoint").write_bytes(b"torn")
    with pytest.raises(TrainingError, match="damaged"):
        train(*runs, CONFIG, tmp_path / "checkpoint", resume=True)


def test_the_budget_ends_training(runs):
    result = train(*runs, dataclasses.replace(CONFIG, updates=10**6, budget_cpu_s=1.0))
    assert result.ended_by == "CPU budget"


def test_a_window_longer_than_the_runs_is_refused(runs):
    with pytest.raises(TrainingError, match="the runs have 10 steps"):
        train(*runs, dataclasses.replace(CONFIG, window_steps=(4, 11)))


def test_the_trained_bundle_keeps_the_contract(runs):
    result = train(*runs, CONFIG)
    bundle = make_trained_bundle("toy", "", result, *runs, CONFIG)
    assert len(check_session(lambda **options: Session(bundle, **options), bundle.manifest).kept) == 15


def test_rolling_a_window_equals_stepping(runs):
    generator = train(*runs, CONFIG).generator
    x, z = (
        torch.tensor(runs[0].conditions()[:3], dtype=torch.float32),
        torch.randn(3, 10, 3, generator=torch.Generator().manual_seed(0)),
    )
    z[:, :, :2] = z[:, :1, :2]
    with torch.no_grad():
        rolled = generator.roll(x, z)
        y, h = generator.initial(x[:, 0], z[:, 0])
        stepped = [y]
        for k in range(10):
            y, h = generator(x[:, k], z[:, k], h)
            stepped.append(y)
    assert torch.allclose(rolled, torch.stack(stepped, 1), rtol=1e-5, atol=1e-3)
    assert torch.allclose(rolled[:, 0, 0], x[:, 0, 2], atol=1e-3)
