"""Rooms of a floor, many runs at once: the plant of the graph benchmark.

The air of a room exchanges heat with its heater, its walls, the outside and, through doors, with its neighbours. A door passes
conductance x difference + exchange x difference x |difference|^0.5, natural convection through an opening (Brown and Solvason,
Int. J. Heat Mass Transfer 5, 1962). What nobody records: the temperature of the walls, what people and devices give off (an
Ornstein-Uhlenbeck process in each room), and how leaky a room is, which differs from room to room and run to run.
"""

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.variables import Causality, Variable

STEP, INNER = 300.0, 10  # s
AIR, WALL = 3e5, 4e6  # J/K
TO_WALL, WALL_OUT, LEAK, LEAK_SPREAD = 120.0, 8.0, 20.0, 0.3  # W/K, W/K, W/K, 1
CONDUCTANCE, EXCHANGE = 10.0, 60.0  # W/K, W/K^1.5
GAIN, GAIN_TIME = 150.0, 1800.0  # W, s
EDGES = ((1, 2), (1, 3), (1, 4), (1, 5), (3, 4), (5, 6), (6, 7), (6, 8))  # a hall, a corridor, doors between rooms
COUNT = 8
ROOMS = range(1, COUNT + 1)
NODES = tuple({"temperature": f"T{k}", "heating": f"Q{k}", "start": f"T{k}_start"} for k in ROOMS)
VARIABLES = (
    *(Variable(f"Q{k}", Causality.INPUT, "W", start=0.0) for k in ROOMS),
    Variable("ambient", Causality.INPUT, "degC", start=5.0),
    *(Variable(f"T{k}_start", Causality.PARAMETER, "degC", start=20.0) for k in ROOMS),
    *(Variable(f"T{k}", Causality.OUTPUT, "degC") for k in ROOMS),
)
Array = NDArray[np.float64]


def simulate(heating: Array, ambient: Array, start: Array, random: np.random.Generator) -> Array:
    """heating (run, step, room) [W], ambient (run, step) and start (run, room) [degC] -> (run, step + 1, room) [degC]."""
    doors = np.zeros((COUNT, COUNT))
    for first, second in EDGES:
        doors[first - 1, second - 1] = doors[second - 1, first - 1] = 1.0
    leak = LEAK * np.exp(LEAK_SPREAD * random.standard_normal(start.shape))
    gain = GAIN * random.standard_normal(start.shape)
    air, wall, path, dt = start.copy(), start.copy(), [start], STEP / INNER
    kept = np.exp(-dt / GAIN_TIME)
    for step in range(heating.shape[1]):
        outside = ambient[:, step, None]
        for _ in range(INNER):
            gap = air[:, None, :] - air[:, :, None]
            through = (doors * gap * (CONDUCTANCE + EXCHANGE * np.sqrt(np.abs(gap)))).sum(axis=2)
            to_wall = TO_WALL * (air - wall)
            air = air + dt / AIR * (heating[:, step] + gain + through - to_wall - leak * (air - outside))
            wall = wall + dt / WALL * (to_wall - WALL_OUT * (wall - outside))
            gain = kept * gain + np.sqrt(1.0 - kept**2) * GAIN * random.standard_normal(gain.shape)
        path.append(air)
    return np.stack(path, axis=1)


def make_runs(schedules: int, individuals: int, steps: int, seed: int) -> Trajectories:
    """Runs from starts of all rooms by themselves; heaters are switched every few steps, the outside drifts."""
    random = np.random.default_rng(seed)
    start = random.uniform(14.0, 24.0, (schedules, COUNT))
    held = random.uniform(0.0, 1500.0, (schedules, -(-steps // 6), COUNT)) * (random.random((schedules, 1, COUNT)) < 0.7)
    heating = np.repeat(held, 6, axis=1)[:, :steps]
    ambient = random.uniform(-10.0, 15.0, (schedules, 1)) + random.normal(0.0, 0.3, (schedules, steps)).cumsum(axis=1)
    start, heating, ambient = (part.repeat(individuals, axis=0) for part in (start, heating, ambient))
    outputs = simulate(heating, ambient, start, random)
    inputs = np.concatenate([heating, ambient[:, :, None]], axis=2)
    number = np.arange(len(outputs))
    return Trajectories(VARIABLES, STEP, inputs, start, outputs, number, number // individuals)
