"""Plants and surrogates whose laws are known, small enough to verify in a second."""

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.evaluation.members import Members
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.variables import Causality, Variable
from tests.toy import MANIFEST, STEP_SIZE

Array = NDArray[np.float64]
STEP_S = 10.0
VARIABLES = (
    Variable("current", Causality.INPUT, "A", "current", 0.0, -20.0, 20.0),
    Variable("level_start", Causality.PARAMETER, "1", "level at the start", 0.5, 0.0, 1.0),
    Variable("level", Causality.OUTPUT, "1", "charged level"),
    Variable("voltage", Causality.OUTPUT, "V", "voltage"),
)
GAIN = -5e-5


def cell(conditions: Array, seeds: NDArray[np.int64], gain_factor: float = 1.0, shift: float = 0.0) -> Array:
    """A cell with two hidden traits that last a run: capacity scatters by 2 %, resistance by 20 %; voltage has sensor noise."""
    outputs = np.empty((len(conditions), conditions.shape[1] + 1, 2))
    for run, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        capacity, resistance = np.exp(0.02 * rng.standard_normal()), 0.02 * np.exp(0.2 * rng.standard_normal())
        current = np.concatenate([[0.0], conditions[run, :, 0]])
        level = conditions[run, 0, 1] + gain_factor * GAIN * STEP_S * np.cumsum(current) / capacity
        noise = 0.005 * rng.standard_normal(len(current))
        outputs[run] = np.stack([level, 3.5 + 0.7 * level - resistance * current + noise + shift], axis=-1)
    return outputs


def redrawn_cell(conditions: Array, seeds: NDArray[np.int64]) -> Array:
    """The same law at every single step, but with another individual at every step."""
    steps = conditions.shape[1] + 1
    pool = [cell(conditions, seeds + 1_000_000 * (k + 1)) for k in range(8)]
    picks = np.random.default_rng(0).integers(8, size=(len(seeds), steps))
    return np.stack(pool)[picks, np.arange(len(seeds))[:, None], np.arange(steps)[None]]


def cell_conditions(schedules: int, steps: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    current = np.repeat(rng.uniform(-8.0, 8.0, (schedules, -(-steps // 8))), 8, axis=1)[:, :steps]
    return np.stack([current, np.broadcast_to(rng.uniform(0.4, 0.6, (schedules, 1)), current.shape)], axis=-1)


def cell_runs(schedules: int = 10, individuals: int = 24, steps: int = 40) -> Trajectories:
    conditions = np.repeat(cell_conditions(schedules, steps), individuals, axis=0)
    return trajectories(VARIABLES, STEP_S, conditions, 1, cell(conditions, np.arange(len(conditions)) + 10**9), individuals)


def trajectories(
    variables: tuple[Variable, ...], step_s: float, conditions: Array, input_count: int, outputs: Array, individuals: int
) -> Trajectories:
    runs = len(conditions)
    return Trajectories(
        variables,
        step_s,
        conditions[..., :input_count],
        conditions[:, 0, input_count:],
        outputs,
        np.arange(runs),
        np.arange(runs) // individuals,
    )


def toy_conditions(schedules: int, steps: int) -> Array:
    rng = np.random.default_rng(0)
    power = np.repeat(rng.uniform(-30.0, 30.0, (schedules, -(-steps // 10))), 10, axis=1)[:, :steps]
    ambient, start = (np.broadcast_to(rng.uniform(280.0, 300.0, (schedules, 1)), power.shape) for _ in range(2))
    return np.stack([power, ambient, start], axis=-1)


def toy_runs(bundle: Bundle, schedules: int = 12, individuals: int = 24, steps: int = 40) -> Trajectories:
    conditions = np.repeat(toy_conditions(schedules, steps), individuals, axis=0)
    outputs = rollout(bundle, conditions, np.arange(len(conditions)) + 10**9 * 2)
    return trajectories(MANIFEST.variables, STEP_SIZE, conditions, 2, outputs, individuals)


def changed(members: Members, change: "NDArray[np.float64]") -> Members:
    """The same members with something added to every output: (output,)."""
    return lambda conditions, seeds: members(conditions, seeds) + change
