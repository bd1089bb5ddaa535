"""The two-scale Lorenz '96 system: conserved quantities, convergence of the solver, a known climate, draws by seed."""

import sys
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.config import load_config
from surrogate_fmu.plant.protocol import Plant, load_named

MODEL = Path(__file__).parents[2] / "models" / "lorenz96"
Lorenz96 = load_named("plant.py:Lorenz96", MODEL, "plant", "ClassName")
plant = sys.modules[Lorenz96.__module__]
C, J, K = plant.C, plant.J, plant.K


def states(count: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    slow = random.uniform(-5.0, 12.0, (count, K))
    return slow, plant.draw_fast(slow, random), np.full(count, plant.FORCING)


def settled(time_step: float) -> np.ndarray:
    """Paths (run, point, K) on the attractor."""
    slow, fast, forcing = states(96)
    path, fast = plant.simulate(slow, fast, forcing, 1, time_step, every=5.0)
    return plant.simulate(path[:, -1], fast, forcing, 150, time_step)[0]


@pytest.fixture(scope="module")
def climate() -> np.ndarray:
    return settled(plant.TIME_STEP)


def test_advection_and_coupling_move_energy_and_make_none():
    slow, fast, forcing = states()
    d_slow, d_fast = plant.tendency(slow, fast, forcing)
    gained = (slow * d_slow).sum(axis=1) + (fast * d_fast).sum(axis=1)
    known = (forcing[:, None] * slow - slow**2).sum(axis=1) - C * (fast**2).sum(axis=1)
    np.testing.assert_allclose(gained, known, rtol=1e-9, atol=1e-7)


def test_tendencies_are_those_of_the_equations_written_out():
    slow, fast, forcing = (part[0] for part in states(1))
    d_slow, d_fast = plant.tendency(slow, fast, forcing)
    for k in range(K):
        coupling = plant.H * C / plant.B * fast[k * J : (k + 1) * J].sum()
        expected = -slow[k - 1] * (slow[k - 2] - slow[(k + 1) % K]) - slow[k] + forcing - coupling
        assert d_slow[k] == pytest.approx(expected, rel=1e-12)
    n = K * J
    for j in (0, 1, 31, 32, 100, n - 2, n - 1):
        advected = -C * plant.B * fast[(j + 1) % n] * (fast[(j + 2) % n] - fast[j - 1])
        assert d_fast[j] == pytest.approx(advected - C * fast[j] + plant.H * C / plant.B * slow[j // J], rel=1e-12)


def test_the_ring_looks_alike_from_every_place():
    slow, fast, forcing = states(4)
    plain = plant.simulate(slow, fast, forcing, 2)[0]
    turned = plant.simulate(np.roll(slow, 3, axis=1), np.roll(fast, 3 * J, axis=1), forcing, 2)[0]
    np.testing.assert_allclose(turned, np.roll(plain, 3, axis=2), rtol=1e-7, atol=1e-7)


def test_the_solver_is_of_fourth_order():
    slow, fast, forcing = states(32)
    exact = plant.simulate(slow, fast, forcing, 1, plant.TIME_STEP / 16)[0]
    errors = [np.sqrt(np.mean((plant.simulate(slow, fast, forcing, 1, plant.TIME_STEP / n)[0] - exact) ** 2)) for n in (1, 2, 4)]
    # Not yet quite the limit of small steps: 16 a halving there.
    assert 10.0 < errors[0] / errors[1] < 26.0 and 10.0 < errors[1] / errors[2] < 22.0
    assert errors[0] < 1e-3


def test_half_the_time_step_gives_the_same_statistics(climate: np.ndarray):
    half = settled(plant.TIME_STEP / 2)
    for statistic in (np.mean, np.std, lambda run: np.quantile(run, 0.05), lambda run: np.quantile(run, 0.95)):
        first, second = (np.array([statistic(run) for run in paths]) for paths in (climate, half))
        error = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / len(first))
        # Runs of 7.5 MTU are independent; one step too long by a factor of 1.6 and the solver is unstable.
        assert abs(first.mean() - second.mean()) < 3.5 * error


def test_the_climate_is_the_known_one(climate: np.ndarray):
    # K = 8, J = 32, F = 20: X from about -10 to 17, mean 3.8, standard deviation 5.1 (Gagne et al. 2020, figures 3 and 4).
    assert climate.mean() == pytest.approx(3.77, abs=0.1)
    assert climate.std() == pytest.approx(5.07, abs=0.1)
    assert -12.0 < climate.min() < -8.0 and 15.5 < climate.max() < 19.0


def test_a_seed_chooses_the_fast_ring_and_nothing_else():
    def run(seed: int) -> list[dict[str, float]]:
        made = Lorenz96()
        return [made.reset(seed, {"x1_start": 5.0}), *(made.do_step({"forcing": 20.0}, plant.STEP) for _ in range(20))]

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert first[0] == other[0] and first[0]["x1"] == 5.0
    gaps = [max(abs(a[name] - b[name]) for name in a) for a, b in zip(first, other, strict=True)]
    assert 1e-3 < gaps[1] < 0.5 < gaps[-1] < 30.0


def test_a_run_is_what_runs_side_by_side_are():
    made = Lorenz96()
    start = made.reset(3, {})
    run = [list(start.values())] + [list(made.do_step({"forcing": 18.0}, plant.STEP).values()) for _ in range(5)]
    slow = np.array([list(start.values())] * 2)
    fast = np.stack([plant.draw_fast(row, np.random.default_rng(3)) for row in slow])
    together = plant.simulate(slow, fast, np.full(2, 18.0), 5)[0]
    np.testing.assert_allclose(together[1], run, rtol=1e-9)


def test_the_configuration_fits_the_plant():
    config = load_config(MODEL / "surrogate.toml")
    made = Lorenz96()
    assert isinstance(made, Plant)
    config.check_variables(made.variables, "the plant")
    assert made.communication_step_size == plant.STEP
