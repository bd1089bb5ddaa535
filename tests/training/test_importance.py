"""Weights of runs: found from samples, refused where few runs would decide all, and worth their cost under a shift."""

import numpy as np
import pytest

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.importance import check_weights, density_ratio, effective_sample_size


def test_the_effective_sample_size():
    assert effective_sample_size(np.ones(7)) == pytest.approx(7.0)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1.0)


@pytest.mark.parametrize("width", [0, 16])
def test_the_classifier_finds_the_ratio_of_normal_densities(width: int):
    rng = np.random.default_rng(0)
    source, target = rng.normal(0.0, 1.5, (4000, 1)), rng.normal(1.0, 1.0, (4000, 1))
    found = density_ratio(source, target, width=width)
    known = np.exp(-0.5 * (source[:, 0] - 1.0) ** 2 + 0.5 * (source[:, 0] / 1.5) ** 2)
    known /= known.mean()
    assert found.mean() == pytest.approx(1.0)
    assert np.abs(found - known).mean() < (0.1 if width == 0 else 0.25)
    # and so means over the source become means over the target
    assert np.mean(found * source[:, 0]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones(3), r"shape \(3,\), expected one for each of 5 runs"),
        (np.zeros(5), "sum above 0"),
        (np.array([1.0, 1.0, 1.0, 1.0, -1.0]), "not negative"),
        (np.array([1.0, 1.0, 1.0, 1.0, np.nan]), "finite"),
    ],
)
def test_weights_that_cannot_be(weights: np.ndarray, sentence: str):
    with pytest.raises(TrainingError, match=sentence):
        check_weights(weights, 5)


def test_few_runs_must_not_decide_all():
    weights = np.full(100, 1e-6)
    weights[:3] = 1.0
    with pytest.raises(TrainingError, match=r"effective sample of 3\.0 of 100 runs"):
        check_weights(weights, 100)
    assert check_weights(None, 100) is None
    assert check_weights(2.0 * np.ones(4), 4).tolist() == [1.0] * 4


def test_samples_of_other_features_are_refused():
    with pytest.raises(TrainingError, match="same features"):
        density_ratio(np.zeros((5, 2)), np.zeros((5, 1)))
