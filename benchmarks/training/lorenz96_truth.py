"""The two-scale Lorenz '96 system, many runs at once: recorded runs, forecasts and climates for the benchmark."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.plant.protocol import load_named
from surrogate_fmu.variables import Variable

Array = NDArray[np.floating]
MODEL = Path(__file__).resolve().parents[2] / "models" / "lorenz96"
VARIABLES: tuple[Variable, ...] = tuple(load_named("plant.py:Lorenz96", MODEL, "plant", "ClassName").variables)
plant: Any = sys.modules[load_named("plant.py:Lorenz96", MODEL, "plant", "ClassName").__module__]

K, STEP, FINE = plant.K, plant.STEP, plant.TIME_STEP  # FINE is also the step of the published parametrisations
SUBSTEPS = round(STEP / FINE)
_SETTLING = 10.0  # [MTU] from a random state to the attractor
_APART = 2.0  # [MTU] between two states that are taken as starts
_CHAINS = 128


@dataclass(frozen=True)
class Runs:
    """Runs under the constant forcing F = 20.

    Attributes:
        fine: X at every FINE MTU, (run, point, K).
        start: (run,), runs with the same number have the same X at the start.
    """

    fine: Array
    start: NDArray[np.int64]

    @property
    def coarse(self) -> Array:
        """X at every STEP MTU, (run, point, K)."""
        return self.fine[:, ::SUBSTEPS]

    def trajectories(self) -> Trajectories:
        """As a plant records them, at every STEP MTU."""
        coarse = self.coarse.astype(np.float64)
        forcing = np.full((len(coarse), coarse.shape[1] - 1, 1), plant.FORCING)
        return Trajectories(VARIABLES, STEP, forcing, coarse[:, 0], coarse, np.arange(len(coarse)), self.start)


def attractor(count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """X (count, K) and Y (count, K J), states of chains of the system that settled, 2 MTU apart."""
    slow = random.uniform(-5.0, 12.0, (min(count, _CHAINS), K)).astype(np.float32)
    fast, forcing = plant.draw_fast(slow, random), _forcing(slow)
    path, fast = plant.simulate(slow, fast, forcing, 1, every=_SETTLING)
    slow, found = path[:, -1], []
    for _ in range(-(-count // len(slow))):
        found.append((slow, fast))
        path, fast = plant.simulate(slow, fast, forcing, 1, every=_APART)
        slow = path[:, -1]
    return np.concatenate([x for x, _ in found])[:count], np.concatenate([y for _, y in found])[:count]


def record(starts: int, individuals: int, steps: int, seed: int, every: float = FINE) -> Runs:
    """Runs from states X of the attractor, each with another fast ring."""
    random = np.random.default_rng(seed)
    slow, _ = attractor(starts, random)
    slow = slow.repeat(individuals, axis=0)
    path, _ = plant.simulate(slow, plant.draw_fast(slow, random), _forcing(slow), round(steps * STEP / every), every=every)
    return Runs(path, np.arange(starts).repeat(individuals))


def forecast(starts: Array, members: int, steps: int, seed: int) -> Array:
    """Runs (start, member, point, K) at every STEP MTU from given X (start, K)."""
    random = np.random.default_rng(seed)
    slow = starts.astype(np.float32).repeat(members, axis=0)
    path, _ = plant.simulate(slow, plant.draw_fast(slow, random), _forcing(slow), steps)
    return path.reshape(len(starts), members, steps + 1, K)


def continued(slow: Array, fast: Array, steps: int) -> Array:
    """Runs (run, point, K) at every STEP MTU from given X (run, K) and Y (run, K J)."""
    path: Array = plant.simulate(slow, fast, _forcing(slow), steps)[0]
    return path


def climate(runs: int, steps: int, seed: int) -> Array:
    """Long runs (run, point, K) at every STEP MTU, on the attractor from the start."""
    random = np.random.default_rng(seed)
    return continued(*attractor(runs, random), steps)


def _forcing(slow: Array) -> Array:
    return np.full(len(slow), plant.FORCING, dtype=slow.dtype)
