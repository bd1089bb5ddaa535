"""The scores of the Lorenz '96 benchmark against closed forms, and parametrisations against systems that are theirs."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "training"
MODULES = ("lorenz96_scores", "lorenz96_truth", "lorenz96_parametrisations")


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    yield [__import__(name) for name in MODULES]
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def scores(modules: Any):
    return modules[0]


def normal(shape: tuple[int, ...], seed: int = 0, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, std, shape)


def test_crps_of_a_normal_law(scores: Any):
    # E CRPS(N(0, 1), y) = 1 / sqrt(pi) for y of the same law; its error here is about 0.56 / sqrt(8000).
    found = scores.crps(normal((500, 20, 1, 4)), normal((500, 4, 1, 4), 1))
    assert found.shape == (500, 1)
    assert found.mean() == pytest.approx(1.0 / math.sqrt(math.pi), abs=0.02)
    # The fair form does not depend on the number of members.
    assert scores.crps(normal((4000, 3, 1, 4)), normal((4000, 4, 1, 4), 1)).mean() == pytest.approx(0.5642, abs=0.02)


def test_spread_and_error_of_one_law_are_equal_and_of_a_narrow_one_are_not(scores: Any):
    observed = normal((2000, 1, 1, 8), 1)
    for std, expected in ((1.0, 1.0), (0.5, math.sqrt(1.1 * 0.25 / (1.0 + 0.025)))):
        members = normal((2000, 10, 1, 8), std=std)
        ratio = math.sqrt(scores.variance(members).mean() / scores.squared_error(members, observed).mean())
        assert ratio == pytest.approx(expected, rel=0.02)


def test_error_of_a_shift(scores: Any):
    members = np.full((3, 5, 2, 8), 2.0)
    np.testing.assert_allclose(scores.squared_error(members, np.zeros((3, 4, 2, 8))), 4.0)


def test_logarithmic_score_of_a_normal_law(scores: Any):
    found = scores.logarithmic_score(normal((200, 1000, 1, 8), std=2.0), normal((200, 4, 1, 8), 1, std=2.0)).mean()
    assert found == pytest.approx(0.5 * math.log(2.0 * math.pi * math.e * 4.0), abs=0.02)


def test_hellinger_distance_of_two_normals(scores: Any):
    # H^2 = 1 - exp(-d^2 / 8) for N(0, 1) and N(d, 1).
    paths = [normal((4, 50_000, 1), seed, mean) for seed, mean in ((0, 0.0), (1, 1.0))]
    bins = np.linspace(-6.0, 7.0, 100)
    counts = [scores.marginal_counts(path, bins) for path in paths]
    assert scores.hellinger(*counts) == pytest.approx(math.sqrt(1.0 - math.exp(-1.0 / 8.0)), abs=0.01)
    assert scores.hellinger(counts[0], counts[0]) < 1e-6
    assert scores.hellinger(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])) == 1.0


def test_correlations_of_waves_that_run_round_the_ring(scores: Any):
    # X_k(t) = sqrt(2) cos(2 pi (k / 8 - t / 20)): correlation cos(2 pi (shift / 8 - lag / 20)).
    places, times = np.arange(8), np.arange(2000)[:, None]
    path = math.sqrt(2.0) * np.cos(2.0 * np.pi * (places / 8 - times / 20))[None]
    lags = (0, 3, 5, 10)
    found = scores.correlations(path, lags, 0.0, 1.0)
    assert found.shape == (1, 5, 4)
    expected = [[math.cos(2.0 * math.pi * (shift / 8 - lag / 20)) for lag in lags] for shift in range(5)]
    np.testing.assert_allclose(found[0], expected, atol=2e-3)
    assert scores.correlation_error(found, found + 0.1) == pytest.approx(0.1)


def test_regimes_tell_waves_of_different_length(scores: Any):
    random = np.random.default_rng(0)
    places, phases = np.arange(8), random.uniform(0.0, 2.0 * np.pi, (2, 4000, 1))
    strength = np.where(random.random((4000, 1)) < 0.5, [[3.0]], [[1.0]])

    def path(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first * np.cos(np.pi * places / 4 + phases[0]) + second * np.cos(np.pi * places / 2 + phases[1]))[None]

    truth = path(strength, 0.5 * (4.0 - strength))
    regimes = scores.Regimes(truth)
    assert scores.hellinger(regimes.counts(truth), regimes.counts(truth)) < 1e-6
    # Here both waves are strong or weak together: the marginals of the norms are those of the truth, the plane is not.
    assert scores.hellinger(regimes.counts(truth), regimes.counts(path(strength, 0.5 * strength))) > 0.9


def test_runs_that_left_are_counted(scores: Any):
    paths = np.zeros((4, 10, 8))
    paths[1, 3, 2], paths[2, 9, 0], paths[3, 0, 0] = np.nan, 30.1, 29.9
    assert scores.left(paths, -10.0, 10.0) == 2


def test_a_bootstrap_interval_of_a_mean_is_that_of_the_normal_law(scores: Any):
    found = scores.bootstrap(lambda a: a.mean(), (normal((400,)),), seed=0, resamples=2000)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2.0 * 1.96 / 20.0, rel=0.15)


def test_starts_are_on_the_attractor_and_forecasts_begin_there(modules: Any):
    truth = modules[1]
    starts, _ = truth.attractor(200, np.random.default_rng(0))
    assert starts.shape == (200, 8)
    assert starts.mean() == pytest.approx(3.77, abs=0.4) and starts.std() == pytest.approx(5.07, abs=0.3)
    rolled = truth.forecast(starts[:3], 4, 2, 1)
    np.testing.assert_array_equal(rolled[:, :, 0], np.repeat(starts[:3, None], 4, axis=1))
    assert (rolled[:, :, 2].std(axis=1) > 1e-3).all()


def test_recorded_runs_are_the_same_at_both_steps(modules: Any):
    truth = modules[1]
    runs = truth.record(3, 2, 2, 1)
    recorded = runs.trajectories()
    assert runs.fine.shape == (6, 2 * truth.SUBSTEPS + 1, 8) and recorded.outputs.shape == (6, 3, 8)
    np.testing.assert_array_equal(recorded.outputs, runs.fine[:, :: truth.SUBSTEPS])
    assert recorded.schedule.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_polynomial_finds_the_parametrisation_that_made_the_runs(modules: Any):
    _, truth, published = modules

    class Known:
        def start(self, slow: np.ndarray, random: np.random.Generator) -> np.ndarray:
            return 2.0 * random.standard_normal(slow.shape)

        def draw(self, slow: np.ndarray, memory: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            kick = 2.0 * math.sqrt(1.0 - 0.98**2) * random.standard_normal(slow.shape)
            return 1.0 + slow - 0.002 * slow**3 + memory, 0.98 * memory + kick

    random, closure = np.random.default_rng(0), Known()
    slow = random.uniform(-5.0, 12.0, (200, 8))
    memory, path = closure.start(slow, random), [slow]
    for _ in range(300):
        forcing, memory = closure.draw(slow, memory, random)
        slow = published.resolved(slow) - truth.FINE * forcing
        path.append(slow)
    found = published.Polynomial(truth.Runs(np.stack(path, axis=1), np.arange(200)))
    assert (np.abs(found.coefficients - [-0.002, 0.0, 1.0, 1.0]) < [3e-4, 5e-3, 0.03, 0.15]).all()
    assert found.sigma == pytest.approx(2.0, rel=0.05) and found.phi == pytest.approx(0.98, abs=0.005)


def test_the_gan_trains_for_its_epochs_and_draws_by_seed(modules: Any):
    _, truth, published = modules
    runs = truth.record(8, 1, 4, 1)
    slow, forcing = (part[:, 1] for part in published.unresolved(runs))
    first, again, other = (published.Gan(runs, seed, epochs=20) for seed in (0, 0, 1))
    assert first.updates == 20 * -(-8 * 39 * 8 // 1024)
    drawn, memory = first.draw(slow, forcing, np.random.default_rng(0))
    assert np.array_equal(drawn, memory) and drawn.shape == (8, 8)
    # Batch normalization alone brings mean and spread of what is drawn near those of U.
    assert abs(drawn.mean() - forcing.mean()) < forcing.std() and 0.2 < drawn.std() / forcing.std() < 5.0
    np.testing.assert_array_equal(drawn, again.draw(slow, forcing, np.random.default_rng(0))[0])
    assert not np.array_equal(drawn, first.draw(slow, forcing, np.random.default_rng(1))[0])
    assert not np.array_equal(drawn, other.draw(slow, forcing, np.random.default_rng(0))[0])
