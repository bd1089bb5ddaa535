"""The latent stream: z as a pure function of (seed, step index).

Bits come from Philox4x64-10 (Salmon et al., SC'11), a counter-based generator: any step can be drawn without the ones
before it, so rollback and replay need no generator state. Key = (seed, stream), stream 0 for run latents and 1 for step
latents. The words of a stream are numbered from 0: run latent i takes word i, step latent i of step k takes word
k * step_latent_dim + i; word w is lane w mod 4 of counter 1 + w div 4 (numpy counts before it draws).

A word becomes u = min((its upper 53 bits + 1/2) / 2^53, 1 - 2^-53), and u becomes a normal by Wichura's inverse
distribution function (AS 241, PPND16, Applied Statistics 37, 1988) in float64, rounded to float32. Only + - * / and sqrt
are used, and a logarithm made of them, which IEEE 754 rounds alike everywhere; so C and Python give equal bits.
"""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_RUN_STREAM, _STEP_STREAM = 0, 1
SEED_MAX = 2**63 - 1


class LatentStream:
    """Draws of one seed.

    Args:
        seed: 0 to 2^63 - 1.
        run_latent_dim, step_latent_dim: sizes of the two parts of z.
    """

    def __init__(self, seed: int, run_latent_dim: int, step_latent_dim: int) -> None:
        if not 0 <= seed <= SEED_MAX:
            raise ValueError(f"seed {seed} is outside 0 to {SEED_MAX}")
        self._seed = seed
        self._step_latent_dim = step_latent_dim
        self.run_latent: Float32 = _normals(seed, _RUN_STREAM, 0, run_latent_dim)

    def step_latents(self, first_step: int, count: int) -> Float32:
        """Step latents of `count` steps from `first_step` on: (count, step_latent_dim)."""
        size = self._step_latent_dim
        return _normals(self._seed, _STEP_STREAM, first_step * size, count * size).reshape(count, size)


def _normals(seed: int, stream: int, first_word: int, count: int) -> Float32:
    if count == 0:
        return np.zeros(0, np.float32)
    counter, lane = divmod(first_word, 4)
    generator = np.random.Philox(counter=[counter, 0, 0, 0], key=[seed, stream])
    words = generator.random_raw(lane + count)[lane:]
    return normal_from_words(words)


def normal_from_words(words: NDArray[np.uint64]) -> Float32:
    """Map 64-bit words to standard normals, element by element."""
    # The largest word would round up to u = 1, whose normal is infinite.
    uniform = np.minimum(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53, 1.0 - 2.0**-53)
    return _inverse_normal(uniform).astype(np.float32)


# Coefficients of AS 241, PPND16: numerators and denominators, highest power first.
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


def _inverse_normal(p: Float64) -> Float64:
    q = p - 0.5
    centre = 0.180625 - q * q
    r = np.sqrt(-_log(np.minimum(p, 1.0 - p)))
    outer = np.where(r <= 5.0, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5.0))
    return np.where(np.abs(q) <= 0.425, q * _ratio(_CENTRE, centre), np.where(q < 0.0, -outer, outer))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Float64) -> Float64:
    numerator, denominator = coefficients
    top, bottom = np.full_like(x, numerator[0]), np.full_like(x, denominator[0])
    for a, b in zip(numerator[1:], denominator[1:], strict=True):
        top = top * x + a
        bottom = bottom * x + b
    return top / bottom


_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def _log(x: Float64) -> Float64:
    """Natural logarithm from exactly rounded operations: log(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1))."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = np.where(low, exponent - 1, exponent).astype(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(s, 1.0 / 21.0)
    for odd in (19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * square + 1.0 / odd
    return exponent * _LN2 + 2.0 * s * series
