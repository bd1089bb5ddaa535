"""Two-sample measures on laws that are known, and what each of them is blind to."""

import numpy as np
import pytest

from surrogate_fmu.evaluation.diagnostics.two_sample import (
    classifier_auc,
    frechet_distance,
    kernel_discrepancy,
    nearest_neighbour_accuracy,
    precision_recall,
    wasserstein1,
)

RNG = np.random.default_rng(0)
FIRST, SAME = RNG.standard_normal((600, 3)), RNG.standard_normal((600, 3))
SHIFTED, NARROW = SAME + np.array([1.0, 0.0, 0.0]), 0.4 * SAME


def test_one_law():
    assert wasserstein1(FIRST, SAME) == pytest.approx([0, 0, 0], abs=0.15)
    assert kernel_discrepancy(FIRST, SAME) == pytest.approx(0.0, abs=0.003)
    assert frechet_distance(FIRST, SAME) == pytest.approx(0.0, abs=0.05)
    assert nearest_neighbour_accuracy(FIRST, SAME) == pytest.approx(0.5, abs=0.06)
    assert classifier_auc(FIRST, SAME) == pytest.approx(0.5, abs=0.06)
    assert min(precision_recall(FIRST, SAME)) > 0.85


@pytest.mark.parametrize("other", [SHIFTED, NARROW], ids=["shifted", "narrow"])
def test_other_laws_are_seen(other: np.ndarray):
    assert wasserstein1(FIRST, other).max() > 0.4
    assert kernel_discrepancy(FIRST, other) > 0.02
    assert frechet_distance(FIRST, other) > 0.8
    assert nearest_neighbour_accuracy(FIRST, other) > 0.57
    assert classifier_auc(FIRST, other) > 0.7


def test_by_hand():
    assert wasserstein1(FIRST, SHIFTED)[0] == pytest.approx(wasserstein1(FIRST, SAME)[0] + 1.0, abs=0.15)
    # two normal laws of one covariance: the squared distance of the means
    assert frechet_distance(FIRST, FIRST + 2.0) == pytest.approx(12.0, rel=1e-6)
    # a property that is the sum of others has a singular covariance
    assert frechet_distance(*(np.column_stack([some, some.sum(axis=1)]) for some in (FIRST, FIRST + 2.0))) == pytest.approx(48.0)
    assert precision_recall(FIRST, 0.1 * SAME)[1] < 0.3 < 0.9 < precision_recall(FIRST, 0.1 * SAME)[0]


def test_the_frechet_distance_is_fooled_by_a_collapse_and_the_others_are_not():
    """Ten points, repeated, with exactly the mean and covariance of the sample."""
    points = np.random.default_rng(1).standard_normal((10, 3))
    points = (points - points.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T
    collapsed = (points @ np.linalg.cholesky(np.cov(FIRST, rowvar=False)).T + FIRST.mean(axis=0)).repeat(60, axis=0)
    assert frechet_distance(FIRST, collapsed) < 1.1 * frechet_distance(FIRST, SAME) + 0.05
    assert precision_recall(FIRST, collapsed)[1] < 0.2
    assert nearest_neighbour_accuracy(FIRST, collapsed) > 0.9
    assert kernel_discrepancy(FIRST, collapsed) > 0.01
