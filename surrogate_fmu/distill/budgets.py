"""How far outputs that integrate one input may go, and budgets of these inputs, so that runs do not end at a limit and are lost."""

from collections.abc import Mapping, Sequence

import numpy as np

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.distill.integrators import Integrator
from surrogate_fmu.plant.design import Budget, Range
from surrogate_fmu.plant.excitation import Schedule
from surrogate_fmu.variables import Causality, Variable, find_variable

_MARGIN = 0.03  # of the range: individuals differ, and a limit is seldom reached in the best of health
_RESERVE = 0.2  # of the range, where the largest input begins to taper


def find_limits(integrators: Sequence[Integrator], runs: Trajectories, lost: Sequence[Schedule]) -> dict[str, tuple[float, float]]:
    """How far each output that integrates one input alone may go.

    It is what the plant says of the output, else of the parameter that it starts at; else, on the side where lost runs would have
    gone further than any that was finished, as far as these went.

    Args:
        integrators: of the plant.
        runs: that were finished.
        lost: schedules of those that were not.
    """
    limits = {}
    for integrator in integrators:
        if (name := integrated_input(integrator, runs.variables)) is None:
            continue
        of_output = find_variable(runs.variables, integrator.output)
        of_start = find_variable(runs.variables, integrator.start)
        low, high = (
            getattr(of_output, key) if getattr(of_output, key) is not None else getattr(of_start, key) for key in ("min", "max")
        )
        reached = runs.outputs[..., runs.names(Causality.OUTPUT).index(integrator.output)]
        paths = [_start(schedule, of_start) + integrator.coefficients[0] * np.cumsum(schedule.inputs[name]) for schedule in lost]
        if low is None and paths and min(path.min() for path in paths) < reached.min():
            low = float(reached.min())
        if high is None and paths and max(path.max() for path in paths) > reached.max():
            high = float(reached.max())
        if low is not None or high is not None:
            limits[integrator.output] = (-np.inf if low is None else low, np.inf if high is None else high)
    return limits


def make_budgets(
    integrators: Sequence[Integrator],
    limits: Mapping[str, tuple[float, float]],
    variables: Sequence[Variable],
    ranges: Mapping[str, Range],
    parameters: Mapping[str, Range],
    steps: int,
    step_size: float,
) -> list[Budget]:
    """Budgets of the inputs whose integral would leave the limits within a run of so many steps of `step_size` [s]."""
    budgets = []
    for integrator in integrators:
        name = integrated_input(integrator, variables)
        if name is None or name not in ranges:
            continue
        if integrator.start not in parameters or integrator.output not in limits:
            continue
        start, interval, (low, high) = parameters[integrator.start], ranges[name], limits[integrator.output]
        gain = integrator.coefficients[0] / step_size
        moves = [gain * steps * step_size * end for end in (interval.min, interval.max)]
        down, up = start.min + min(0.0, *moves), start.max + max(0.0, *moves)
        if down >= low and up <= high:
            continue
        low, high = max(low, down), min(high, up)
        margin = _MARGIN * (high - low)
        low, high = min(low + margin, start.min), max(high - margin, start.max)
        largest = abs(gain) * max(abs(interval.min), abs(interval.max))
        budgets.append(Budget(name, integrator.start, gain, low, high, _RESERVE * (high - low) / largest))
    return budgets


def integrated_input(integrator: Integrator, variables: Sequence[Variable]) -> str | None:
    """The one input that the output is the integral of, from a parameter on; None where there is more to it."""
    inputs = {v.name for v in variables if v.causality is Causality.INPUT}
    if len(integrator.terms) != 1 or integrator.terms[0] not in inputs or not integrator.start:
        return None
    return integrator.terms[0]


def _start(schedule: Schedule, variable: Variable) -> float:
    value = schedule.parameters.get(variable.name, variable.start)
    return 0.0 if value is None else value
