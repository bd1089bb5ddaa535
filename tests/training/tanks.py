"""Tanks joined by pipes: a small plant on a graph, its variables in no order, for the tests of the graph generator.

A tank has a level and an overflow, a feed and a size, and starts at a level; a pump and a common slope act on all. Pipes pass more
than in proportion. Noise in every tank and step, and a leak that differs from tank to tank and run to run.
"""

from collections.abc import Sequence

import numpy as np

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.graph_config import GraphConfig
from surrogate_fmu.variables import Causality, Variable

TANKS = 5
PIPES = ((1, 2), (2, 3), (3, 4), (4, 5), (2, 4))
CONDITION_DIM = 2 + 3 * TANKS
VARIABLES = (
    *(Variable(f"overflow{k}", Causality.OUTPUT) for k in range(TANKS, 0, -1)),
    *(Variable(f"feed{k}", Causality.INPUT, start=0.0) for k in range(1, TANKS + 1)),
    Variable("slope", Causality.PARAMETER, start=0.0),
    *(Variable(f"level{k}_start", Causality.PARAMETER, start=0.0) for k in range(TANKS, 0, -1)),
    Variable("pump", Causality.INPUT, start=0.0),
    *(Variable(f"level{k}", Causality.OUTPUT) for k in range(1, TANKS + 1)),
    *(Variable(f"size{k}", Causality.PARAMETER, start=1.0) for k in range(1, TANKS + 1)),
)


def node(k: int) -> dict[str, str]:
    """The roles of a tank."""
    return {
        "level": f"level{k}",
        "feed": f"feed{k}",
        "start": f"level{k}_start",
        "overflow": f"overflow{k}",
        "size": f"size{k}",
    }


def graph(order: Sequence[int] = range(1, TANKS + 1), edges: Sequence[tuple[int, int]] = PIPES, **changes: object) -> GraphConfig:
    """The tanks, in an order, joined by edges between tanks (not places in that order)."""
    placed = {tank: place for place, tank in enumerate(order, 1)}
    options = {"starts": {"level": "start"}, **changes}
    return GraphConfig(tuple(node(k) for k in order), tuple((placed[a], placed[b]) for a, b in edges), **options)  # type: ignore[arg-type]


def record(runs: int, individuals: int, steps: int, seed: int, noise: float = 0.05, curved: float = 0.1) -> Trajectories:
    """Runs under random feeds; without noise and curvature each tank's law is linear."""
    random = np.random.default_rng(seed)
    draw = {
        "feed": random.uniform(-1.0, 1.0, (runs, steps, TANKS)),
        "pump": random.uniform(-1.0, 1.0, (runs, steps)),
        "slope": random.uniform(-0.2, 0.2, runs),
        "start": random.uniform(-2.0, 2.0, (runs, TANKS)),
        "size": random.uniform(0.5, 1.5, (runs, TANKS)),
    }
    feed, pump, slope, start, size = (part.repeat(individuals, axis=0) for part in draw.values())
    leak = 0.1 + (0.05 * random.standard_normal(start.shape) if noise else 0.0)
    level, path, spilled = start, [start], [0.1 * start]
    for step in range(steps):
        moved = np.zeros_like(level)
        for first, second in PIPES:
            gap = level[:, second - 1] - level[:, first - 1]
            moved[:, first - 1] += 0.1 * gap + curved * gap * np.abs(gap)
            moved[:, second - 1] -= 0.1 * gap + curved * gap * np.abs(gap)
        fed = 0.3 * feed[:, step] + 0.2 * pump[:, step, None] + 0.1 * size + slope[:, None]
        level = level + moved - leak * level + fed + noise * random.standard_normal(level.shape)
        path.append(level)
        spilled.append(0.1 * level + curved * np.maximum(level, 0.0) ** 2)
    levels, overflows = np.stack(path, axis=1), np.stack(spilled, axis=1)
    number = np.arange(len(start))
    return Trajectories(
        VARIABLES,
        1.0,
        np.concatenate([feed, pump[..., None]], axis=2),
        np.concatenate([slope[:, None], start[:, ::-1], size], axis=1),
        np.concatenate([overflows[..., ::-1], levels], axis=2),
        number,
        number // individuals,
    )
