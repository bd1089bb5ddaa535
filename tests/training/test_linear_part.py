"""The linear part of a generator, and generators without latents."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.dataset.scaling import measure_scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.training.config import GeneratorConfig, Objective, Structure, TermConfig, TrainingConfig
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.linear import fit_linear_part
from surrogate_fmu.training.loop import train
from surrogate_fmu.variables import Causality, Variable

VARIABLES = (
    Variable("force", Causality.INPUT, start=0.0),
    Variable("held", Causality.INPUT, start=2.0),
    Variable("offset", Causality.PARAMETER, start=0.0),
    Variable("position", Causality.OUTPUT),
    Variable("speed", Causality.OUTPUT),
)
STATE = np.array([[0.95, 0.3], [-0.3, 0.95]])  # an oscillation that hardly loses anything
FORCE = np.array([0.05, 0.3])
DETERMINISTIC = TrainingConfig(
    objective=Objective.TERMS,
    terms=(TermConfig("mean-error", options={"members": 1}),),
    updates=60,
    batch_size=16,
    window_steps=(10, 40),
    validations=3,
    validation_members=2,
    learning_rate=1e-3,
    generator=GeneratorConfig(run_latent_dim=0, linear=True, memory_dim=4, width=16),
)


def oscillator(runs: int, seed: int, cubic: float = 0.0) -> Trajectories:
    rng, steps = np.random.default_rng(seed), 60
    force, offset = rng.normal(size=(runs, steps)).cumsum(axis=1) / 5.0, rng.normal(size=runs)
    y = np.empty((runs, steps + 1, 2))
    y[:, 0] = np.stack([0.5 + offset, np.zeros(runs)], axis=-1)
    for k in range(steps):
        y[:, k + 1] = y[:, k] @ STATE.T + force[:, k, None] * FORCE + 0.1 * offset[:, None] - cubic * y[:, k] ** 3
    inputs = np.stack([force, np.full((runs, steps), 2.0)], axis=-1)
    return Trajectories(VARIABLES, 0.1, inputs, offset[:, None], y, np.arange(runs), np.arange(runs), {})


def test_an_output_that_says_what_others_say_does_not_make_the_step_unstable() -> None:
    """As a loss does that is proportional to a temperature: they differ by the rounding of a dataset alone."""
    runs = oscillator(40, 1, cubic=0.02)
    told = np.concatenate([runs.outputs, 3.0 * runs.outputs[..., :1] - 20.0], axis=-1).astype(np.float32).astype(np.float64)
    variables = (*VARIABLES, Variable("loss", Causality.OUTPUT))
    runs = Trajectories(variables, 0.1, runs.inputs, runs.parameters, told, runs.plant_seed, runs.schedule, {})
    part = fit_linear_part(runs, measure_scaling(runs, runs), [0, 1, 2])
    assert np.abs(part.state).max() < 3.0
    assert np.abs(np.linalg.eigvals(part.state)).max() < 1.01


def test_least_squares_finds_the_step_and_the_start() -> None:
    runs = oscillator(40, 1)
    scaling = measure_scaling(runs, runs)
    part = fit_linear_part(runs, scaling, [0, 1, 2])
    unscaled = part.state * scaling.output_std[:, None] / scaling.output_std[None]
    np.testing.assert_allclose(unscaled, STATE, atol=1e-8)
    np.testing.assert_allclose(part.inputs[0] * scaling.output_std / scaling.condition_std[0], FORCE, atol=1e-8)
    np.testing.assert_allclose(part.inputs[1], 0.0, atol=1e-8)  # an input that never moves says nothing
    assert (part.step_scale == 1e-5).all()  # nothing is left
    start = part.start[2] * scaling.output_std / scaling.condition_std[2]
    np.testing.assert_allclose(start, [1.0, 0.0], atol=1e-8)
    assert (fit_linear_part(runs, scaling, [0, 1]).inputs[2] == 0.0).all()


def test_an_oscillation_that_hardly_fades_is_learned_to_five_digits_and_shipped_in_c(tmp_path: Path) -> None:
    training, validation = oscillator(64, 1), oscillator(8, 2)
    result = train(training, validation, DETERMINISTIC)
    bundle = make_trained_bundle("oscillator", "", result, training, validation, DETERMINISTIC)
    load_generator(bundle)  # frozen and warmed up with two batch sizes
    assert bundle.manifest.latent_dim == 0
    with FmuSession(build_native_fmu(bundle, tmp_path / "Oscillator.fmu", BuildConfig())) as session:
        session.set_values({"offset": float(validation.parameters[3, 0])})
        points = [session.initialize()]
        points += [session.do_step({"force": float(f)}) for f in validation.inputs[3, :, 0]]
    seen = np.array([[point["position"], point["speed"]] for point in points])
    error = np.abs(seen - validation.outputs[3]).max(axis=0) / np.ptp(validation.outputs, axis=(0, 1))
    assert error.max() < 2e-4


def test_what_is_not_linear_is_left_to_the_network() -> None:
    training, validation = oscillator(128, 1, cubic=0.01), oscillator(8, 2, cubic=0.01)
    config = {**vars(DETERMINISTIC), "updates": 600, "learning_rate": 5e-3}
    first = train(training, validation, TrainingConfig(**{**config, "updates": 1}))
    last = train(training, validation, TrainingConfig(**config))
    assert np.mean(last.best.crps_ratio) < 0.3 * np.mean(first.best.crps_ratio)


def test_without_latents_one_run_per_schedule_validates_with_them_it_does_not() -> None:
    runs = oscillator(8, 2)
    random = TrainingConfig(updates=1, window_steps=(10, 40))
    with pytest.raises(DatasetError, match="validation needs at least 3 individuals per schedule"):
        train(runs, runs, random)


def test_what_has_no_effect_or_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match='for a plant without randomness set objective = "terms"'):
        TrainingConfig(generator=GeneratorConfig(run_latent_dim=0))
    with pytest.raises(ValueError, match="linear, components and gated have no effect on the wiener structure"):
        GeneratorConfig(structure=Structure.WIENER, linear=True)
