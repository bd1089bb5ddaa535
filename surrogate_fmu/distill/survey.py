"""What a few runs tell of a plant: what a step costs, how slowly it settles, how random it is, which held inputs matter, what its
outputs are balances of.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.distill.budgets import find_limits
from surrogate_fmu.distill.integrators import Integrator, find_integrators
from surrogate_fmu.distill.structure import Structures, compare_structures
from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.design import Design, Excitation, InputDesign, Range
from surrogate_fmu.plant.excitation import Schedule, draw_schedules
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Variable, VariableType, find_variable

Array = NDArray[np.float64]
_REPEATS = 6
_SETTLED = 0.05  # of the largest deviation after a step
_ROUNDING = 1e-9  # of the largest value: less is no randomness
_MATTERS = 1e-3  # of an output's range
_VARIED, _VARIED_LEAST, _VARIED_S = 12, 2, 240.0  # runs of other schedules: at most, at least, and what they may cost [s]
_FAMILIES = (Excitation.STEPS, Excitation.RAMPS, Excitation.NOISE, Excitation.PULSES)
_SEED = 11


@dataclass(frozen=True)
class Survey:
    """A plant as a few runs show it.

    Attributes:
        steps: length of the runs.
        seconds_per_step: wall time of a step [s].
        settling_steps: the longest time [steps] until an output stays near its end after a step of an input; None if one does
            not within the runs: an integrator, or an oscillation that nothing damps.
        fastest_steps: the shortest such time.
        spread: largest standard deviation over runs with equal inputs, as a share of the output's range; 0 without randomness.
        roughness: share of that variance that is new at every step, 0 for a trait that lasts, near 2 for white noise.
        effects: of a held input that is moved, on the output that it moves most, as a share of that output's range.
        failures: why runs failed, a sentence each.
        integrators: outputs with a balance.
        structures: how well inputs and balances alone tell the other outputs; None where it could not be looked at.
        limits: of outputs with a balance, what the plant says of them, or as far as runs went where others failed.
    """

    steps: int
    seconds_per_step: float
    settling_steps: int | None
    fastest_steps: int
    spread: float
    roughness: float
    effects: Mapping[str, float]
    failures: tuple[str, ...]
    integrators: tuple[Integrator, ...] = ()
    structures: Structures | None = None
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_random(self) -> bool:
        """Whether runs with equal inputs differ."""
        return self.spread > 0.0


def survey_plant(
    source: PlantSource,
    ranges: Mapping[str, Range],
    held: Mapping[str, float],
    parameters: Mapping[str, Range],
    steps: int,
    folder: Path,
    jobs: int | None = None,
) -> Survey:
    """Run the plant at rest, under a step of each input, under steps of all, with each held input moved, and under other schedules.

    Args:
        source: of the plant.
        ranges: of the inputs that are excited, by name.
        held: values of the inputs that are not.
        parameters: ranges of parameters; but for the other schedules the survey has them in the middle.
        steps: length of a run.
        folder: where runs are kept, so that a survey that was interrupted goes on.
        jobs: worker processes.

    Raises:
        PlantError: no run could be finished.
    """
    middle = {name: 0.5 * (r.min + r.max) for name, r in ranges.items()}
    fixed = {name: 0.5 * (r.min + r.max) for name, r in parameters.items()}

    def schedule(inputs: Mapping[str, Array]) -> Schedule:
        constant = {name: np.full(steps, value) for name, value in (middle | dict(held)).items()}
        return Schedule(fixed, constant | dict(inputs), {})

    half = steps // 2
    responses = [schedule({n: np.where(np.arange(steps) < half, r.min, r.max)}) for n, r in ranges.items()]
    plant = source.load()
    step_size = plant.communication_step_size
    joint: dict[str, Array] = {}
    if ranges:
        hold = (max(2.0, steps / 50) * step_size, max(4.0, steps / 10) * step_size)
        design = Design({n: InputDesign(r.min, r.max, (Excitation.STEPS,), hold) for n, r in ranges.items()})
        joint = draw_schedules(design, 1, steps, step_size, _SEED)[0].inputs
    moved = [schedule(joint | {n: np.full(steps, _moved(find_variable(plant.variables, n), v))}) for n, v in held.items()]
    together = record(source, [schedule(joint)], _REPEATS, _SEED, folder, jobs)
    singles = record(source, [schedule({}), *responses], 1, _SEED, folder, jobs)
    shifted: list[Trajectories | str] = []
    for other in moved:
        try:
            shifted.append(record(source, [other], _REPEATS, _SEED, folder, jobs).trajectories)
        except PlantError as error:
            shifted.append(str(error))
    others = []
    if ranges:
        affordable = int(_VARIED_S / max(together.seconds_per_step * steps, 1e-9))
        wide = Design({n: InputDesign(r.min, r.max, _FAMILIES, hold) for n, r in ranges.items()}, parameters, held=held)
        others = draw_schedules(wide, min(max(affordable, _VARIED_LEAST), _VARIED), steps, step_size, _SEED)
    done = [(together, [schedule(joint)]), (singles, [schedule({}), *responses])]
    reasons, lost = [], []
    try:
        done += [(record(source, others, 1, _SEED + 1, folder, jobs), others)] if others else []
    except PlantError as error:
        reasons, lost = [str(error)], others
    reasons = [*(failure.reason for recording, _ in done for failure in recording.failures), *reasons]
    lost = [*lost, *(schedules[failure.schedule] for recording, schedules in done for failure in recording.failures)]
    # Those with a held input moved are left out: they are of another plant than the surrogate's.
    seen = join_runs([recording.trajectories for recording, _ in done])
    runs = together.trajectories.outputs
    width = np.maximum(np.ptp(np.concatenate([runs, singles.trajectories.outputs]), axis=(0, 1)), 1e-12)
    times = [_settling(run[half:], width) for run in singles.trajectories.outputs[singles.trajectories.schedule > 0]]
    known = [time for row in times for time in row if time is not None]
    unsettled = any(time is None for row in times for time in row)
    spread, roughness = _randomness(runs, width)
    effects = {
        name: 1.0 if isinstance(other, str) else float((np.abs(_mean(other.outputs) - _mean(runs)) / width).max())
        for name, other in zip(held, shifted, strict=True)
    }
    integrators = find_integrators(seen)
    return Survey(
        steps,
        together.seconds_per_step,
        None if unsettled or not known else max(1, *known),
        max(1, min(known, default=1)),
        spread,
        roughness,
        {name: effect for name, effect in effects.items() if effect > max(_MATTERS, 3.0 * spread)},
        tuple(reasons),
        integrators,
        compare_structures(seen, [(integrator.output, integrator.terms) for integrator in integrators]),
        find_limits(integrators, seen, lost),
    )


def join_runs(parts: Sequence[Trajectories]) -> Trajectories:
    """The runs of all parts, which are of one plant and equally long; schedules are numbered on."""
    schedules, first = [], 0
    for part in parts:
        schedules.append(part.schedule + first)
        first = int(schedules[-1].max()) + 1
    return dataclasses.replace(
        parts[0],
        inputs=np.concatenate([part.inputs for part in parts]),
        parameters=np.concatenate([part.parameters for part in parts]),
        outputs=np.concatenate([part.outputs for part in parts]),
        plant_seed=np.concatenate([part.plant_seed for part in parts]),
        schedule=np.concatenate(schedules),
    )


def _moved(variable: Variable, value: float) -> float:
    """Another value that the variable may have: by half or by one away, upwards where there is room."""
    step = 0.5 * abs(value) or 1.0
    if variable.type is not VariableType.REAL:
        step = max(1.0, round(step))
    low, high = variable.limits
    others = [variable.nearest(other) for other in (value + step, value - step, low, high) if low <= other <= high]
    return next((other for other in others if other != value), value)


def _mean(outputs: Array) -> Array:
    return outputs.mean(axis=0)  # type: ignore[no-any-return]


def _settling(after: Array, width: Array) -> Sequence[int | None]:
    """Steps until each output (point, output) stays near its end; 0 where the step does not move it, None where it has no end."""
    result: list[int | None] = []
    tail = max(2, len(after) // 5)
    for column in range(after.shape[1]):
        y = after[:, column]
        moved = np.abs(y - y[-1])
        reach = moved.max()
        if np.ptp(y) < 1e-3 * width[column]:
            continue
        if np.ptp(y[-tail:]) > _SETTLED * np.ptp(y):
            result.append(None)
            continue
        result.append(int(np.flatnonzero(moved > _SETTLED * reach).max()) + 1)
    return result


def _randomness(runs: Array, width: Array) -> tuple[float, float]:
    """Spread over equal runs (run, point, output) as a share of the range, and the share of it that is new at every step."""
    deviation = runs - runs.mean(axis=0)
    std = np.sqrt((deviation**2).mean(axis=(0, 1)))
    magnitude = np.abs(runs).max(axis=(0, 1))
    if (std <= _ROUNDING * np.maximum(magnitude, width)).all():
        return 0.0, 0.0
    column = int(np.argmax(std / width))
    later = deviation[:, 1:, column]  # all may start alike
    return float(std[column] / width[column]), float((np.diff(later, axis=1) ** 2).mean() / (later**2).mean())
