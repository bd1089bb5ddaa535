"""Input designs: schedules that cover the operating range of a plant and stay inside its limits.

All schedules are open loop. A guard that looked at the plant's outputs would make the inputs depend on the hidden
individual, and a generator trained on such data learns the guard along with the plant. What must be bounded is bounded
by a budget: the integral of an input (a charge, a volume) computed from nominal figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from surrogate_fmu.plant.design import Budget, Design, Excitation, InputDesign

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """One run's parameters and held inputs, each input an array (steps,)."""

    parameters: dict[str, float]
    inputs: dict[str, Array]
    excitations: dict[str, Excitation]


def draw_schedules(design: Design, count: int, step_count: int, step_size: float, seed: int) -> list[Schedule]:
    """Draw `count` schedules of `step_count` steps of `step_size` [s].

    Levels, spans and parameters are a scrambled Sobol sequence over the schedules (Owen, J. Complexity 14, 1998);
    families are taken in turn; the shape within a family is drawn from the seed and the schedule's number. So the
    first schedules stay the same when more are drawn, and a recording can be extended.
    """
    names = list(design.inputs)
    parameter_names = list(design.parameters)
    sampler = qmc.Sobol(d=len(parameter_names) + 2 * len(names), rng=np.random.default_rng((seed, 0)))
    cube = sampler.random_base2(max(0, count - 1).bit_length())[:count]
    schedules = []
    for index, point in enumerate(cube):
        rng = np.random.default_rng((seed, 1, index))
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
            inputs[name] = _signal(excitations[name], entry, rng, step_count, step_size, centre_u, span_u)
        for budget in design.budgets:
            inputs[budget.input] = keep_budget(budget, parameters[budget.parameter], inputs[budget.input], step_size)
        inputs |= {name: np.full(step_count, float(value)) for name, value in design.held.items()}
        schedules.append(Schedule(parameters, inputs, excitations))
    return schedules


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


def _signal(
    excitation: Excitation,
    entry: InputDesign,
    rng: np.random.Generator,
    count: int,
    step_size: float,
    centre_u: float,
    span_u: float,
) -> Array:
    span = (entry.max - entry.min) * (0.1 + 0.9 * span_u)
    low = entry.min + centre_u * (entry.max - entry.min - span)
    shape = _Shape(rng, count, low, low + span, entry, tuple(max(1, round(s / step_size)) for s in entry.hold_s))
    return np.clip(_SIGNALS[excitation](shape), entry.min, entry.max)


@dataclass(frozen=True)
class _Shape:
    rng: np.random.Generator
    count: int
    low: float
    high: float
    entry: InputDesign
    hold: tuple[int, ...]

    def level(self) -> float:
        return float(self.rng.uniform(self.low, self.high))

    def base(self) -> float:
        return 0.0 if self.entry.includes_zero else self.low

    def join(self, piece: Callable[[int], Array]) -> Array:
        pieces: list[Array] = []
        while sum(map(len, pieces)) < self.count:
            pieces.append(piece(int(self.rng.integers(self.hold[0], self.hold[-1] + 1))))
        return np.concatenate(pieces)[: self.count]


def _constant(shape: _Shape) -> Array:
    return np.full(shape.count, shape.level())


def _steps(shape: _Shape) -> Array:
    return shape.join(lambda n: np.full(n, shape.level()))


def _ramps(shape: _Shape) -> Array:
    corner = shape.level()

    def ramp(n: int) -> Array:
        nonlocal corner
        start, corner = corner, shape.level()
        return np.linspace(start, corner, n, endpoint=False)

    return shape.join(ramp)


def _pulses(shape: _Shape) -> Array:
    def pulse(n: int) -> Array:
        width = int(shape.rng.integers(1, n + 1))
        return np.concatenate([np.full(width, shape.level()), np.full(n, shape.base())])

    return shape.join(pulse)


def _rests(shape: _Shape) -> Array:
    return shape.join(lambda n: np.full(n, shape.base() if shape.rng.random() < 0.4 else shape.level()))


def _noise(shape: _Shape) -> Array:
    """A first-order autoregressive signal about a slowly changing level, as in a drive cycle."""
    correlation = float(shape.rng.uniform(0.3, 0.95))
    amplitude = (shape.high - shape.low) / 3
    signal, state = _steps(shape), 0.0
    for k in range(shape.count):
        state = correlation * state + amplitude * np.sqrt(1 - correlation**2) * shape.rng.standard_normal()
        signal[k] += state
    return signal


def _decays(shape: _Shape) -> Array:
    """A held level that then decays exponentially to another, as under constant-voltage charging."""

    def decay(n: int) -> Array:
        start, end, held = shape.level(), shape.level(), int(shape.rng.integers(1, n + 1))
        fall = np.exp(-np.arange(n) / max(1.0, shape.rng.uniform(0.2, 1.0) * n))
        return np.concatenate([np.full(held, start), end + (start - end) * fall])

    return shape.join(decay)


_SIGNALS: Mapping[Excitation, Callable[[_Shape], Array]] = {
    Excitation.CONSTANT: _constant,
    Excitation.STEPS: _steps,
    Excitation.RAMPS: _ramps,
    Excitation.PULSES: _pulses,
    Excitation.NOISE: _noise,
    Excitation.RESTS: _rests,
    Excitation.DECAYS: _decays,
}


def excitation_counts(schedules: Sequence[Schedule], name: str) -> dict[Excitation, int]:
    """How many schedules use each family for one input."""
    families = [schedule.excitations[name] for schedule in schedules]
    return {family: families.count(family) for family in dict.fromkeys(families)}
