"""The verdict on surrogates whose fault is known, and on one without fault."""

import dataclasses

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError, DatasetError, VerdictError
from surrogate_fmu.evaluation.card import Artefact, Card
from surrogate_fmu.evaluation.config import Balance, Metric, Verdict, VerifyConfig
from surrogate_fmu.evaluation.ensembles import group_by_schedule, long_conditions
from surrogate_fmu.evaluation.members import Members, batched_members, check_same_interface, session_members
from surrogate_fmu.evaluation.verify import verify
from surrogate_fmu.manifest import ZMode
from tests.evaluation import worlds
from tests.toy import MANIFEST

ARTEFACT = Artefact("cell.fmu", "fmu", "0" * 64)
BALANCE = Balance("level", "current", worlds.GAIN)
CONFIG = VerifyConfig(leads=(10, 20), rollout_count=8, rollout_steps=200, balances=(BALANCE,), resamples=100)

TOY_CONFIG = VerifyConfig(members=48, rollout_count=4, rollout_steps=60, resamples=100)


@pytest.fixture(scope="module")
def runs() -> Trajectories:
    return worlds.cell_runs()


def card_of(members: Members, runs: Trajectories, config: VerifyConfig = CONFIG) -> Card:
    return verify(members, runs, config, ARTEFACT, "2026-01-01").card


def metrics_below(card: Card, verdict: Verdict) -> set[Metric]:
    worse = {Verdict.ASSIST: (Verdict.REJECT,), Verdict.REPLACE: (Verdict.ASSIST, Verdict.REJECT)}[verdict]
    return {gate.metric for gate in card.gates if gate.verdict in worse}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_plants_own_law_with_fresh_seeds_may_replace_it(runs: Trajectories, seed: int) -> None:
    card = card_of(worlds.cell, runs, dataclasses.replace(CONFIG, seed=seed))
    assert card.verdict is Verdict.REPLACE, [g for g in card.gates if g.verdict is not Verdict.REPLACE]
    assert {gate.metric for gate in card.gates} == set(Metric) - {Metric.ERROR, Metric.ERROR_SCHEDULE}
    assert card.counts.members == 96 and len(card.crps_by_schedule["level"]) == 10


def test_equal_seeds_give_equal_cards(runs: Trajectories) -> None:
    assert card_of(worlds.cell, runs).to_json() == card_of(worlds.cell, runs).to_json()


def test_an_ignored_latent_is_rejected_by_spread_and_crps(runs: Trajectories) -> None:
    card = card_of(lambda conditions, seeds: worlds.cell(conditions, np.full(len(seeds), 7)), runs)
    assert card.verdict is Verdict.REJECT
    assert {Metric.SPREAD, Metric.SPREAD_SKILL, Metric.CRPS, Metric.ENERGY} <= metrics_below(card, Verdict.ASSIST)


def test_a_bias_is_rejected(runs: Trajectories) -> None:
    card = card_of(lambda conditions, seeds: worlds.cell(conditions, seeds, shift=0.05), runs)
    assert card.verdict is Verdict.REJECT
    assert {Metric.BIAS, Metric.CRPS, Metric.RANKS} <= metrics_below(card, Verdict.ASSIST)


def test_a_small_bias_leaves_assistance(runs: Trajectories) -> None:
    card = card_of(lambda conditions, seeds: worlds.cell(conditions, seeds, shift=0.009), runs)
    assert card.verdict is Verdict.ASSIST
    assert Metric.BIAS in metrics_below(card, Verdict.REPLACE)


def test_latents_redrawn_at_every_step_are_rejected_by_persistence(runs: Trajectories) -> None:
    card = card_of(worlds.redrawn_cell, runs)
    assert card.verdict is Verdict.REJECT
    assert Metric.PERSISTENCE in metrics_below(card, Verdict.ASSIST)
    assert Metric.SPREAD not in metrics_below(card, Verdict.REPLACE)  # nothing else than time tells it


def test_a_charge_that_is_not_conserved_is_rejected_by_the_balance(runs: Trajectories) -> None:
    card = card_of(lambda conditions, seeds: worlds.cell(conditions, seeds, gain_factor=1.07), runs)
    assert Metric.BALANCE in metrics_below(card, Verdict.ASSIST)


def test_runs_that_drift_away_or_stop_are_rejected_by_divergence(runs: Trajectories) -> None:
    def drifting(conditions, seeds):
        outputs = worlds.cell(conditions, seeds)
        outputs[..., 1] += 1e-10 * np.arange(outputs.shape[1]) ** 5  # nothing within the test runs
        return outputs

    card = card_of(drifting, runs)
    (gate,) = (g for g in card.gates if g.name == "diverging long runs")
    assert gate.value == 8 and gate.verdict is Verdict.REJECT and card.verdict is Verdict.REJECT

    def stopping(conditions, seeds):
        outputs = worlds.cell(conditions, seeds)
        outputs[3, 5:] = np.nan
        return outputs

    card = card_of(stopping, runs)
    assert card.verdict is Verdict.REJECT and {g.metric for g in card.gates} == {Metric.DIVERGENCE}
    assert card.crps_by_schedule == {}


def test_a_gate_that_the_test_set_cannot_decide_allows_no_more_than_assistance() -> None:
    card = card_of(worlds.cell, worlds.cell_runs(schedules=2, individuals=8))
    undecided = [g for g in card.gates if not g.decisive]
    assert undecided and all(g.verdict is not Verdict.REPLACE for g in undecided)
    assert card.verdict is not Verdict.REPLACE


def test_too_few_individuals_are_refused() -> None:
    with pytest.raises(DatasetError, match="at least 8 individuals"):
        card_of(worlds.cell, worlds.cell_runs(schedules=2, individuals=5))


def test_members_of_another_shape_are_refused(runs: Trajectories) -> None:
    with pytest.raises(VerdictError, match=r"expected \(run, step \+ 1, output\)"):
        card_of(lambda conditions, seeds: worlds.cell(conditions, seeds)[:, 1:], runs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": (10, 41)}, "41, the test runs have 40 steps"),
        ({"balances": (Balance("charge", "current", 1.0),)}, "no output 'charge'"),
        ({"balances": (Balance("level", "power", 1.0),)}, "no input 'power'"),
        ({"balances": (Balance("level", "current", 2 * worlds.GAIN),)}, "the plant itself misses level"),
    ],
)
def test_a_configuration_that_does_not_fit_the_data_is_refused(runs: Trajectories, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        card_of(worlds.cell, runs, dataclasses.replace(CONFIG, **change))


def test_long_inputs_keep_a_balanced_output_in_its_recorded_range(runs: Trajectories) -> None:
    plant = group_by_schedule(runs)
    conditions = long_conditions(plant, 6, 500, (BALANCE,), np.random.default_rng(0))
    assert conditions.shape == (6, 500, 2)
    level = conditions[:, :1, 1] + worlds.GAIN * worlds.STEP_S * np.cumsum(conditions[..., 0], axis=1)
    low, high = plant.range
    assert low[0] - 0.01 <= level.min() and level.max() <= high[0] + 0.01
    assert np.isin(conditions[..., 0], plant.conditions[..., 0]).all()


def test_a_session_of_the_plants_own_generator_may_replace_it(toy_bundle: Bundle) -> None:
    verification = verify(session_members(toy_bundle), worlds.toy_runs(toy_bundle), TOY_CONFIG, ARTEFACT, "2026-01-01")
    assert verification.card.verdict is Verdict.REPLACE, [g for g in verification.card.gates if g.verdict is not Verdict.REPLACE]
    assert verification.ensembles.surrogate.shape == (12, 48, 41, 2)


def test_the_mean_in_place_of_draws_is_rejected(toy_bundle: Bundle) -> None:
    card = card_of(batched_members(toy_bundle, ZMode.MEAN), worlds.toy_runs(toy_bundle), TOY_CONFIG)
    assert card.verdict is Verdict.REJECT
    assert {Metric.SPREAD, Metric.CRPS} <= metrics_below(card, Verdict.ASSIST)


def test_noise_that_is_held_may_not_replace_noise(toy_bundle: Bundle) -> None:
    card = card_of(batched_members(toy_bundle, ZMode.HELD), worlds.toy_runs(toy_bundle), TOY_CONFIG)
    assert card.verdict is not Verdict.REPLACE
    assert Metric.PERSISTENCE in metrics_below(card, Verdict.REPLACE)


def test_an_artefact_of_another_interface_is_refused(toy_bundle: Bundle) -> None:
    check_same_interface(toy_bundle.manifest, MANIFEST.variables, MANIFEST.step_size)
    with pytest.raises(DatasetError, match="the inputs of the artefact 'thermal_mass'"):
        check_same_interface(toy_bundle.manifest, worlds.VARIABLES, MANIFEST.step_size)
    with pytest.raises(DatasetError, match="steps by 2 s, the dataset by 3 s"):
        check_same_interface(toy_bundle.manifest, MANIFEST.variables, 3.0)
