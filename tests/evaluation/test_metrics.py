"""Every metric against a closed form, an independent implementation, or a law that it must tell apart."""

import math

import numpy as np
import pytest
import scoringrules

from surrogate_fmu.evaluation import metrics

NOTHING = np.zeros(1)


def normal(seed: int, schedules: int, members: int, points: int = 4, outputs: int = 1, std: float = 1.0, mean: float = 0.0):
    return mean + std * np.random.default_rng(seed).standard_normal((schedules, members, points, outputs))


def test_crps_equals_the_fair_estimator_of_scoringrules_and_its_leave_one_out() -> None:
    plant, surrogate = normal(0, 3, 6, outputs=2), normal(1, 3, 9, outputs=2, std=1.3)
    score, floor = metrics.scores(metrics.output_distances(plant, surrogate))
    members = np.moveaxis(surrogate, 1, -1)[:, None]
    theirs = scoringrules.crps_ensemble(plant, np.broadcast_to(members, (*plant.shape, 9)), estimator="fair", backend="numpy")
    np.testing.assert_allclose(score, theirs[:, :, 1:].mean(axis=(1, 2)), rtol=1e-12)
    left_out = [
        scoringrules.crps_ensemble(plant[:, i], np.moveaxis(np.delete(plant, i, axis=1), 1, -1), estimator="fair", backend="numpy")[
            :, 1:
        ].mean(axis=1)
        for i in range(6)
    ]
    np.testing.assert_allclose(floor, np.mean(left_out, axis=0), rtol=1e-12)


def test_crps_of_a_shifted_normal_meets_the_closed_form() -> None:
    # E|N(d, 2)| - 1/sqrt(pi), Gneiting and Raftery 2007; 200 x 40 pairs leave about 1 %
    shift = 0.8
    score, floor = metrics.scores(metrics.output_distances(normal(0, 50, 40), normal(1, 50, 200, mean=shift)))
    expected = math.sqrt(2) * (
        math.sqrt(2 / math.pi) * math.exp(-(shift**2) / 4) + shift / math.sqrt(2) * math.erf(shift / 2)
    ) - 1 / math.sqrt(math.pi)
    assert score.mean() == pytest.approx(expected, rel=0.02)
    assert floor.mean() == pytest.approx(1 / math.sqrt(math.pi), rel=0.02)


def test_energy_score_equals_the_fair_estimator_of_scoringrules() -> None:
    plant, surrogate = normal(0, 2, 5, outputs=3), normal(1, 2, 7, outputs=3, std=1.5)
    distances = metrics.joint_distances(plant, surrogate, np.zeros(3))
    scale = np.sqrt(plant[:, :, 1:].var(axis=1, ddof=1).mean(axis=1))[:, None, None]
    observed, members = plant[:, :, 1:] / scale, surrogate[:, :, 1:] / scale
    per_point = [
        scoringrules.es_ensemble(observed[:, i], np.moveaxis(members, 1, -2), estimator="fair", backend="numpy") for i in range(5)
    ]
    np.testing.assert_allclose(metrics.scores(distances)[0][:, 0], np.mean(per_point, axis=(0, 2)), rtol=1e-12)


def test_a_sample_of_the_true_law_has_ratio_one_whatever_the_ensemble_size() -> None:
    ratios = []
    for seed in range(30):
        distances = metrics.output_distances(normal(2 * seed, 8, 24), normal(2 * seed + 1, 8, 12))
        ratios.append(metrics.pooled_ratio(*metrics.scores(distances), NOTHING)[0])
    assert np.mean(ratios) == pytest.approx(1.0, abs=3 * np.std(ratios) / np.sqrt(30))
    assert np.std(ratios) < 0.03


def test_bootstrap_interval_holds_one_for_the_true_law_and_not_for_a_shift() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(20):
        distances = metrics.output_distances(normal(2 * seed, 8, 24, points=2), normal(2 * seed + 1, 8, 24, points=2))
        low, high = metrics.bootstrap_interval(distances, NOTHING, rng, count=100)
        covered += low[0] <= 1.0 <= high[0]
    assert covered >= 15
    shifted = metrics.output_distances(normal(0, 8, 24), normal(1, 8, 24, mean=1.0))
    assert metrics.bootstrap_interval(shifted, NOTHING, rng, count=100)[0][0] > 1.2


def test_an_ignored_latent_costs_a_crps_ratio_of_root_two() -> None:
    distances = metrics.output_distances(normal(0, 20, 40), np.zeros((20, 8, 4, 1)))
    assert metrics.pooled_ratio(*metrics.scores(distances), NOTHING)[0] == pytest.approx(math.sqrt(2), rel=0.02)


def test_resampled_scores_equal_scores_of_the_drawn_runs() -> None:
    plant, rng = normal(0, 2, 6), np.random.default_rng(3)
    drawn, members = rng.integers(6, size=(2, 6)), rng.integers(6, size=(2, 15))
    rows = np.arange(2)[:, None]
    expected = metrics.scores(metrics.output_distances(plant[rows, drawn], plant[rows, members]))
    counts = [(d[..., None] == np.arange(6)).sum(axis=1).astype(float) for d in (drawn, members)]
    resampled = metrics.resampled_scores(metrics.output_distances(plant, plant).plant, *counts)
    np.testing.assert_allclose(resampled, expected, rtol=1e-12)


def test_ratios_stay_finite_where_the_plant_does_not_scatter() -> None:
    still = np.full((3, 10, 4, 1), 7.0)
    resolution = np.array([1e-3])
    same = metrics.scores(metrics.output_distances(still, still[:, :8]))
    assert metrics.pooled_ratio(*same, resolution)[0] == pytest.approx(1.0)
    off = metrics.scores(metrics.output_distances(still, still[:, :8] + 0.01))
    assert metrics.pooled_ratio(*off, resolution)[0] == pytest.approx(11.0)
    assert metrics.spread_ratio(still, still, resolution)[0] == pytest.approx(1.0)


def test_spread_over_skill_is_one_for_the_true_law_and_the_factor_of_a_wrong_spread() -> None:
    plant = normal(0, 200, 30, points=3)
    for std in (1.0, 0.5):
        ratio = metrics.spread_skill(plant, normal(1, 200, 10, points=3, std=std), NOTHING, (1, 2))
        # skill^2 = 1 + s^2 / M, corrected spread^2 = s^2 (M + 1) / M
        np.testing.assert_allclose(ratio, std * math.sqrt(1.1) / math.sqrt(1 + std**2 / 10), rtol=0.03)


def test_spread_ratio_and_bias_recover_factor_and_shift() -> None:
    plant, surrogate = normal(0, 100, 30, std=2.0), normal(1, 100, 30, std=3.0, mean=1.0)
    assert metrics.spread_ratio(plant, surrogate, NOTHING)[0] == pytest.approx(1.5, rel=0.02)
    assert metrics.bias(plant, surrogate, NOTHING)[0] == pytest.approx(0.5, rel=0.05)
    assert metrics.bias(plant, normal(2, 100, 30, std=2.0), NOTHING)[0] < 0.1


def test_tail_error_sees_tails_that_mean_and_spread_do_not() -> None:
    plant = normal(0, 100, 40)
    assert metrics.tail_error(plant, normal(1, 100, 40), NOTHING, (1, 3))[0] < 0.1
    plant, two_valued = normal(2, 10, 2000), np.sign(normal(3, 10, 2000))  # the same mean and spread
    assert metrics.tail_error(plant, two_valued, NOTHING, (1, 3))[0] == pytest.approx(1.645 - 1.0, abs=0.1)


def test_ranks_are_uniform_for_the_true_law_also_on_atoms() -> None:
    rng = np.random.default_rng(0)
    for atoms in (False, True):
        plant, surrogate = (np.round(e) if atoms else e for e in (normal(0, 100, 20), normal(1, 100, 20)))
        positions = metrics.rank_positions(plant, surrogate, NOTHING, (1, 3), rng)
        assert positions.shape == (2, 2000, 1)
        assert metrics.uniform_distance(positions).max() < 0.06
    shifted = metrics.rank_positions(normal(0, 100, 20), normal(1, 100, 20, mean=0.5), NOTHING, (1,), rng)
    assert metrics.uniform_distance(shifted)[0, 0] > 0.15


def test_uniform_distance_of_known_positions() -> None:
    assert metrics.uniform_distance(np.array([0.25, 0.75]).reshape(1, 2, 1))[0, 0] == pytest.approx(0.25)
    assert metrics.uniform_distance(np.zeros((1, 4, 1)))[0, 0] == pytest.approx(1.0)


def test_persistence_error_is_the_lost_correlation_whatever_its_sign() -> None:
    trait, signs = normal(0, 40, 40, points=1), np.array([1.0, 1.0, -1.0, 1.0]).reshape(1, 1, 4, 1)
    signs = np.where(np.arange(40)[:, None, None, None] % 2, 1.0, signs)  # every other schedule turns the sign at one lead
    lasting, again = (np.repeat(t, 4, axis=2) * signs for t in (trait, normal(1, 40, 60, points=1)))
    redrawn = normal(2, 40, 60)
    assert metrics.persistence_error(lasting, again, NOTHING, (1, 2, 3))[0] == pytest.approx(0.0, abs=1e-6)
    assert metrics.persistence_error(lasting, redrawn, NOTHING, (1, 2, 3))[0] == pytest.approx(1.0, abs=0.05)
    half = math.sqrt(0.5) * (again + redrawn)
    assert metrics.persistence_error(lasting, half, NOTHING, (1, 2, 3))[0] == pytest.approx(0.5, abs=0.05)
    assert metrics.persistence_error(normal(3, 40, 40), redrawn, NOTHING, (1, 2, 3))[0] < 0.15


def test_balance_errors_are_relative_to_what_was_moved() -> None:
    expected = np.linspace(0.0, -0.5, 6)[None] * np.array([[1.0], [0.01]])  # the second schedule moves too little
    plant = 0.8 + np.repeat(expected[:, None, :, None], 9, axis=1)
    surrogate = 0.8 + 1.03 * (plant - 0.8)
    surrogate[1] += np.linspace(0, 9, 6)[:, None]
    pooled, worst, own = metrics.balance_errors(plant, surrogate, expected, 0.02, 0)
    assert pooled == pytest.approx(0.03) and worst == pytest.approx(0.03) and own == pytest.approx(0.0, abs=1e-12)
    assert metrics.balance_errors(plant, surrogate, expected * 1e-3, 0.02, 0) == (0.0, 0.0, 0.0)


def test_diverging_runs_are_those_not_finite_or_beyond_one_width() -> None:
    outputs = np.zeros((5, 3, 2))
    outputs[1, 2, 0], outputs[2, 1, 1], outputs[3, 0, 0], outputs[4, 0, 0] = np.nan, np.inf, 2.5, 1.9
    low, high = np.array([0.0, -1.0]), np.array([1.0, 1.0])
    assert metrics.diverging_runs(outputs, low, high).tolist() == [False, True, True, True, False]
