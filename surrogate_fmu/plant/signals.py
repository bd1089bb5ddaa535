"""Families of input signals: what each looks like, given a range of levels, a range of times and a source of randomness."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.plant.design import Excitation, InputDesign

Array = NDArray[np.float64]
_LINES = 8  # frequencies of a multisine
_SHORTEST_HALF_WAVE = 2  # steps: a wave of fewer points is none any more when it is held over them
_FINENESS = 8  # frequencies of noise per 1 / run


def draw_signal(
    excitation: Excitation,
    entry: InputDesign,
    rng: np.random.Generator,
    count: int,
    step_size: float,
    centre_u: float,
    span_u: float,
) -> Array:
    """One signal (count,) of a family, within min and max of the design.

    Args:
        excitation: the family; not `profile`, which is read and not drawn.
        entry: the design of the input.
        rng: of the schedule.
        count: steps.
        step_size: of a step [s].
        centre_u, span_u: from 0 to 1, where the levels of this schedule lie and how far they spread.
    """
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

    def band(self) -> tuple[float, float]:
        """Lowest and highest frequency [1 / step]: half a wave lasts as long as a level does, and no longer than the run."""
        longest, shortest = (max(_SHORTEST_HALF_WAVE, min(steps, self.count)) for steps in (self.hold[-1], self.hold[0]))
        return 0.5 / longest, 0.5 / shortest

    def between(self, wave: Array) -> Array:
        """A wave from -1 to 1 as one from the lowest to the highest level."""
        return 0.5 * (self.low + self.high) + 0.5 * (self.high - self.low) * wave


def _constant(shape: _Shape) -> Array:
    return np.full(shape.count, shape.level())


def _steps(shape: _Shape) -> Array:
    """Random levels for random times: an amplitude-modulated pseudo-random binary signal (APRBS) by another name."""
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
    """A first-order autoregressive signal about a slowly changing level, as in a drive cycle; it is new at every step."""
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


def _chirp(shape: _Shape) -> Array:
    """A sine whose frequency goes through the band once in the run, linearly, up or down."""
    lowest, highest = shape.band()
    frequencies = np.linspace(lowest, highest, shape.count)
    if shape.rng.random() < 0.5:
        frequencies = frequencies[::-1]
    cycles = shape.rng.random() + np.cumsum(frequencies)
    return shape.between(np.sin(2 * np.pi * cycles))


def _multisine(shape: _Shape) -> Array:
    """Sines of equal amplitude and random phases, one in each part of the band on a logarithmic scale; peaks reach the levels."""
    lowest, highest = shape.band()
    edges = np.sort(np.geomspace(lowest, highest, _LINES + 1))  # those of one frequency differ by rounding, either way
    frequencies, phases = shape.rng.uniform(edges[:-1], edges[1:]), shape.rng.random(_LINES)
    wave = np.sin(2 * np.pi * (np.arange(shape.count)[:, None] * frequencies + phases)).sum(axis=1)
    return shape.between(wave / np.abs(wave).max())


def _band_noise(shape: _Shape) -> Array:
    """Gaussian noise with a flat spectrum inside the band and nothing outside; 95 % of it are within the levels."""
    length = _FINENESS * shape.count
    frequencies, (lowest, highest) = np.fft.rfftfreq(length), shape.band()
    inside = (frequencies >= lowest) & (frequencies <= highest)
    inside[np.argmin(np.abs(frequencies - lowest))] = True  # a narrow band may lie between two of them
    spectrum = np.zeros(len(frequencies), dtype=complex)
    spectrum[inside] = shape.rng.standard_normal(inside.sum()) + 1j * shape.rng.standard_normal(inside.sum())
    deviation = 2 * np.sqrt(inside.sum()) / length
    return shape.between(0.5 * np.fft.irfft(spectrum, length)[: shape.count] / deviation)


_SIGNALS: Mapping[Excitation, Callable[[_Shape], Array]] = {
    Excitation.CONSTANT: _constant,
    Excitation.STEPS: _steps,
    Excitation.RAMPS: _ramps,
    Excitation.PULSES: _pulses,
    Excitation.NOISE: _noise,
    Excitation.RESTS: _rests,
    Excitation.DECAYS: _decays,
    Excitation.CHIRP: _chirp,
    Excitation.MULTISINE: _multisine,
    Excitation.BAND_NOISE: _band_noise,
}
