"""Every failure that shows while a training runs is provoked and named, and a healthy one is not."""

import dataclasses
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.config import load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.training.config import EnergyConfig, Objective, TermConfig
from surrogate_fmu.training.loop import Progress, Trainer
from surrogate_fmu.training.validation import ValidationScore
from surrogate_fmu.training.watch import Watch
from tests.training.runs import CONFIG, make_runs


def played(bundle: Bundle, terms: tuple[TermConfig, ...], updates: int, learning_rate: float = 2e-3) -> dict[str, str]:
    """What the watch finds in a training of terms on the toy."""
    config = dataclasses.replace(
        CONFIG,
        objective=Objective.TERMS,
        terms=terms,
        updates=updates,
        validations=10,
        learning_rate=learning_rate,
        energy=EnergyConfig(),
    )
    trainer, watch = Trainer(make_runs(bundle, 40, 1, 1), make_runs(bundle, 4, 8, 2), config), Watch()
    while not trainer.finished:
        watch.see(trainer.update())
    return watch.findings


def test_a_perfect_critic_is_named(toy_bundle: Bundle):
    # the saturating loss, a critic that learns much faster than the generator and no penalty: the classic failure
    options = {"critic": "mlp", "width": 32, "learning_rate": 1e-2, "critic_steps": 2}
    found = played(toy_bundle, (TermConfig("minimax", options=options),), 500, 1e-5)
    assert "vanishing gradient" in found
    assert "a perfect critic teaches nothing" in found["vanishing gradient"]


def test_a_generator_without_spread_is_named(toy_bundle: Bundle):
    found = played(toy_bundle, (TermConfig("mean-error"),), 400)
    assert {"collapse", "variance loss"} & found.keys()


def test_latents_that_say_nothing_are_named(toy_bundle: Bundle):
    found = played(toy_bundle, (TermConfig("vae", options={"beta": 300.0, "schedule": "constant"}),), 300)
    assert "posterior collapse" in found


def test_a_healthy_training_is_left_alone(toy_bundle: Bundle):
    found = played(toy_bundle, (TermConfig("energy"), TermConfig("crps")), 600, 5e-3)
    assert not {"vanishing gradient", "divergence", "posterior collapse", "relapse"} & found.keys()


def test_too_much_spread_is_named(toy_bundle: Bundle):
    found = played(toy_bundle, (TermConfig("energy"), TermConfig("repulsion", 5.0)), 300)
    assert "too much noise" in found["variance overshoot"]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_hump_of_spread_that_a_short_healthy_training_passes_is_left_alone(seed: int):
    config = load_config(Path(__file__).parents[2] / "models" / "double_well" / "surrogate.toml")
    runs = [read_trajectories(config.dataset_path(split)) for split in ("train", "validation")]
    trainer = Trainer(*runs, dataclasses.replace(config.training, updates=190, validations=20, seed=seed))
    watch, humps = Watch(), []
    while not trainer.finished:
        seen = trainer.update()
        watch.see(seen)
        if seen.validation is not None and seen.share > 0.3:
            humps.append(seen.validation.spread_ratio[0])
    assert max(humps) > 1.4 and trainer.result().best.crps_ratio[0] < 1.15
    assert watch.findings == {}


def progress(share: float, spread: float = 1.0, crps: float = 1.0, best: float = 1.0, **signals: float) -> Progress:
    score, best_score = ValidationScore((crps,), (spread,)), ValidationScore((best,), (1.0,))
    return Progress(round(1000 * share), share, 1.0, 1e-3, 1.0, score, best_score, signals)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("collapse", {"spread": 0.1}),
        ("variance loss", {"spread": 0.6}),
        ("variance overshoot", {"spread": 2.1}),
        ("relapse", {"crps": 2.0}),
    ],
)
def test_what_validation_shows_is_named_once(name: str, seen: dict[str, float]):
    watch = Watch()
    assert watch.see(progress(0.1, **seen)) == []  # early scores are not looked at
    (sentence,) = watch.see(progress(0.5, **seen))
    assert watch.see(progress(0.6, **seen)) == [] and watch.findings == {name: sentence}


def test_what_is_a_hump_in_the_middle_is_too_much_at_the_end():
    watch = Watch()
    assert watch.see(progress(0.7, spread=1.6)) == []
    (sentence,) = watch.see(progress(0.9, spread=1.6))
    assert "at 90% of the training the spread of an output is 1.60" in sentence


def test_a_game_that_diverges_is_named():
    watch = Watch()
    for update in range(400):
        loss = 0.5 * 1.03**update
        watch.see(progress(0.1, **{"adversarial/critic_lead": 0.7, "adversarial/critic_loss": loss, "gradient": 1.0}))
    assert list(watch.findings) == ["divergence"]
