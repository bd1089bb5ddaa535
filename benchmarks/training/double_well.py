"""The double well, many paths at once: the simulator of models/double_well for the training benchmark."""

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.variables import Causality, Variable

SIGMA, STEP, INNER = 0.5, 0.5, 50
VARIABLES = (
    Variable("force", Causality.INPUT, start=0.0),
    Variable("position_start", Causality.PARAMETER, start=-1.0),
    Variable("position", Causality.OUTPUT),
)
Array = NDArray[np.float64]


def simulate(start: Array, force: Array, random: np.random.Generator) -> Array:
    """start (run,), force (run, step) -> positions (run, step + 1)."""
    position, path, dt = start.copy(), [start], STEP / INNER
    for step in range(force.shape[1]):
        for _ in range(INNER):
            kick = SIGMA * np.sqrt(dt) * random.standard_normal(len(position))
            position = position + (position - position**3 + force[:, step]) * dt + kick
        path.append(position)
    return np.stack(path, axis=1)


def make_runs(schedules: int, individuals: int, steps: int, seed: int, forced: bool = True) -> Trajectories:
    """Runs from starts all over both wells, under a force that is held for some steps."""
    random = np.random.default_rng(seed)
    start = random.uniform(-1.8, 1.8, schedules)
    force = np.zeros((schedules, steps))
    if forced:
        force = np.repeat(random.uniform(-0.3, 0.3, (schedules, -(-steps // 4))), 4, axis=1)[:, :steps]
        force[: schedules // 3] = 0.0
    start, force = start.repeat(individuals), force.repeat(individuals, axis=0)
    paths = simulate(start, force, random)
    return Trajectories(
        VARIABLES,
        STEP,
        force[:, :, None],
        start[:, None],
        paths[:, :, None],
        np.arange(len(paths)),
        np.arange(schedules).repeat(individuals),
    )


def hops_per_step(paths: Array) -> float:
    """Passages from well to well per step, of paths (run, step); a passage ends beyond half the way to the other valley."""
    side = np.where(paths > 0.5, 1, np.where(paths < -0.5, -1, 0))
    hops = 0
    for row in side:
        visited = row[row != 0]
        hops += int(np.count_nonzero(visited[1:] != visited[:-1]))
    return hops / paths.size
