"""Input designs: schedules that cover the operating range of a plant and stay inside its limits.

All schedules are open loop. A guard that looked at the plant's outputs would make the inputs depend on the hidden
individual, and a generator trained on such data learns the guard along with the plant. What must be bounded is bounded
by a budget: the integral of an input (a charge, a volume) computed from nominal figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.design import Budget, Design, Excitation, Sampling
from surrogate_fmu.plant.profile import Profile, find_windows
from surrogate_fmu.plant.signals import Array, draw_signal
from surrogate_fmu.variables import Causality, Variable, with_causality


@dataclass(frozen=True)
class Schedule:
    """One run's parameters and held inputs, each input an array (steps,)."""

    parameters: dict[str, float]
    inputs: dict[str, Array]
    excitations: dict[str, Excitation]


def draw_schedules(
    design: Design,
    count: int,
    step_count: int,
    step_size: float,
    seed: int,
    profiles: Mapping[str, Profile] | None = None,
) -> list[Schedule]:
    """Draw `count` schedules of `step_count` steps of `step_size` [s].

    Levels, spans and parameters fill a cube over the schedules as `design.sampling` says; families are taken in turn; the shape
    within a family is drawn from the seed and the schedule's number. So with a Sobol sequence the first schedules stay the
    same when more are drawn, and a recording can be extended; a Latin hypercube of another count is another one.

    Args:
        design: of inputs and parameters.
        count: schedules.
        step_count: steps of each.
        step_size: of a step [s].
        seed: of all that is drawn.
        profiles: recorded signals by input, of those that have the family `profile`.

    Raises:
        ConfigError: a recorded signal is missing, or shorter than a run.
    """
    names = list(design.inputs)
    parameter_names = list(design.parameters)
    profiles = profiles or {}
    windows = find_windows(profiles, step_count, step_size)
    for name in names:
        if Excitation.PROFILE in design.inputs[name].excitations and name not in profiles:
            raise ConfigError(f"the recorded signal of {name!r} was not read; pass what read_profiles of the configuration gives")
    schedules = []
    for index, point in enumerate(_fill_cube(design.sampling, len(parameter_names) + 2 * len(names), count, seed)):
        rng = np.random.default_rng((seed, 1, index))
        place = np.random.default_rng((seed, 3, index)).random()  # in the recorded signals, for all inputs the same
        parameters = {
            name: design.parameters[name].min + u * (design.parameters[name].max - design.parameters[name].min)
            for name, u in zip(parameter_names, point, strict=False)
        }
        inputs, excitations, turn = {}, {}, index
        for position, name in enumerate(names):
            centre_u, span_u = point[len(parameter_names) + 2 * position :][:2]
            entry = design.inputs[name]
            turn, family = divmod(turn, len(entry.excitations))
            excitations[name] = entry.excitations[family]
            if excitations[name] is Excitation.PROFILE:
                begin = windows[name].begin + step_size * int(place * windows[name].choices)
                inputs[name] = np.clip(profiles[name].resample(begin, step_count, step_size), entry.min, entry.max)
            else:
                inputs[name] = draw_signal(excitations[name], entry, rng, step_count, step_size, centre_u, span_u)
        for budget in design.budgets:
            inputs[budget.input] = keep_budget(budget, parameters[budget.parameter], inputs[budget.input], step_size)
        inputs |= {name: np.full(step_count, float(value)) for name, value in design.held.items()}
        schedules.append(Schedule(parameters, inputs, excitations))
    return schedules


def conditions_of(schedules: Sequence[Schedule], variables: Sequence[Variable]) -> Array:
    """Inputs, then parameters (schedule, step, condition) in the variables' order; a parameter that is not set has its start."""
    inputs, parameters = (with_causality(variables, causality) for causality in (Causality.INPUT, Causality.PARAMETER))
    rows = []
    for schedule in schedules:
        columns = [schedule.inputs[v.name] for v in inputs]
        columns += [np.full(len(columns[0]), schedule.parameters.get(v.name, v.start)) for v in parameters]
        rows.append(np.stack(columns, axis=-1))
    return np.array(rows, dtype=float)


def keep_budget(budget: Budget, start: float, signal: Array, step_size: float) -> Array:
    """Limit a signal (steps,) so that its integral keeps the budget."""
    level, limited = start, np.empty_like(signal)
    for k, value in enumerate(signal):
        bounds = sorted(
            ((budget.max - level) / (budget.gain * budget.reserve_s), (budget.min - level) / (budget.gain * budget.reserve_s))
        )
        # A level that rounding carried past a bound must not turn the input round.
        limited[k] = np.clip(value, min(bounds[0], 0.0), max(bounds[1], 0.0))
        level += budget.gain * limited[k] * step_size
    return limited


def _fill_cube(sampling: Sampling, dimension: int, count: int, seed: int) -> Array:
    """Points (count, dimension) in the unit cube: scrambled Sobol (Owen, J. Complexity 14, 1998), or McKay's Latin hypercube
    (Technometrics 21, 1979).
    """
    rng = np.random.default_rng((seed, 0))
    if sampling is Sampling.LATIN_HYPERCUBE:
        return np.asarray(qmc.LatinHypercube(d=dimension, rng=rng).random(count))
    return np.asarray(qmc.Sobol(d=dimension, rng=rng).random_base2(max(0, count - 1).bit_length())[:count])


def excitation_counts(schedules: Sequence[Schedule], name: str) -> dict[Excitation, int]:
    """How many schedules use each family for one input."""
    families = [schedule.excitations[name] for schedule in schedules]
    return {family: families.count(family) for family in dict.fromkeys(families)}
