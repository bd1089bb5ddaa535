"""Physical units as exponents of the SI base units, as FMI describes them (FMI 2.0.4, section 2.2.3; FMI 3.0, 2.4.4).

A unit is written as in Modelica: factors joined by `.`, one `/`, exponents behind the symbol: `W/(m2.K)`, `A.h`, `1`.
"""

import re
from dataclasses import dataclass

BASE_UNITS = ("kg", "m", "s", "A", "K", "mol", "cd", "rad")

# symbol -> (factor to SI, offset to SI, exponents of BASE_UNITS)
_SYMBOLS: dict[str, tuple[float, float, tuple[int, ...]]] = {
    "1": (1.0, 0.0, (0, 0, 0, 0, 0, 0, 0, 0)),
    "%": (0.01, 0.0, (0, 0, 0, 0, 0, 0, 0, 0)),
    "kg": (1.0, 0.0, (1, 0, 0, 0, 0, 0, 0, 0)),
    "g": (1e-3, 0.0, (1, 0, 0, 0, 0, 0, 0, 0)),
    "m": (1.0, 0.0, (0, 1, 0, 0, 0, 0, 0, 0)),
    "mm": (1e-3, 0.0, (0, 1, 0, 0, 0, 0, 0, 0)),
    "L": (1e-3, 0.0, (0, 3, 0, 0, 0, 0, 0, 0)),
    "s": (1.0, 0.0, (0, 0, 1, 0, 0, 0, 0, 0)),
    "ms": (1e-3, 0.0, (0, 0, 1, 0, 0, 0, 0, 0)),
    "min": (60.0, 0.0, (0, 0, 1, 0, 0, 0, 0, 0)),
    "h": (3600.0, 0.0, (0, 0, 1, 0, 0, 0, 0, 0)),
    "A": (1.0, 0.0, (0, 0, 0, 1, 0, 0, 0, 0)),
    "mA": (1e-3, 0.0, (0, 0, 0, 1, 0, 0, 0, 0)),
    "K": (1.0, 0.0, (0, 0, 0, 0, 1, 0, 0, 0)),
    "degC": (1.0, 273.15, (0, 0, 0, 0, 1, 0, 0, 0)),
    "mol": (1.0, 0.0, (0, 0, 0, 0, 0, 1, 0, 0)),
    "cd": (1.0, 0.0, (0, 0, 0, 0, 0, 0, 1, 0)),
    "rad": (1.0, 0.0, (0, 0, 0, 0, 0, 0, 0, 1)),
    "deg": (0.017453292519943295, 0.0, (0, 0, 0, 0, 0, 0, 0, 1)),
    "Hz": (1.0, 0.0, (0, 0, -1, 0, 0, 0, 0, 0)),
    "N": (1.0, 0.0, (1, 1, -2, 0, 0, 0, 0, 0)),
    "Pa": (1.0, 0.0, (1, -1, -2, 0, 0, 0, 0, 0)),
    "kPa": (1e3, 0.0, (1, -1, -2, 0, 0, 0, 0, 0)),
    "bar": (1e5, 0.0, (1, -1, -2, 0, 0, 0, 0, 0)),
    "J": (1.0, 0.0, (1, 2, -2, 0, 0, 0, 0, 0)),
    "kJ": (1e3, 0.0, (1, 2, -2, 0, 0, 0, 0, 0)),
    "W": (1.0, 0.0, (1, 2, -3, 0, 0, 0, 0, 0)),
    "mW": (1e-3, 0.0, (1, 2, -3, 0, 0, 0, 0, 0)),
    "kW": (1e3, 0.0, (1, 2, -3, 0, 0, 0, 0, 0)),
    "C": (1.0, 0.0, (0, 0, 1, 1, 0, 0, 0, 0)),
    "V": (1.0, 0.0, (1, 2, -3, -1, 0, 0, 0, 0)),
    "mV": (1e-3, 0.0, (1, 2, -3, -1, 0, 0, 0, 0)),
    "F": (1.0, 0.0, (-1, -2, 4, 2, 0, 0, 0, 0)),
    "Ohm": (1.0, 0.0, (1, 2, -3, -2, 0, 0, 0, 0)),
    "mOhm": (1e-3, 0.0, (1, 2, -3, -2, 0, 0, 0, 0)),
    "T": (1.0, 0.0, (1, 0, -2, -1, 0, 0, 0, 0)),
    "Wb": (1.0, 0.0, (1, 2, -2, -1, 0, 0, 0, 0)),
}
_FACTOR = re.compile(r"([A-Za-z%]+|1)(-?\d+)?")


@dataclass(frozen=True)
class Unit:
    """A unit: `value_in_SI = factor * value + offset`, with exponents in the order of `BASE_UNITS`."""

    factor: float
    offset: float
    exponents: tuple[int, ...]


def parse_unit(text: str) -> Unit:
    """Read a unit expression.

    Raises:
        ValueError: the expression names a symbol that is not known or cannot be read.
    """
    numerator, _, denominator = text.replace(" ", "").partition("/")
    factor, offset, exponents = 1.0, 0.0, [0] * len(BASE_UNITS)
    terms = [(term, 1) for term in numerator.strip("()").split(".")]
    if denominator:
        terms += [(term, -1) for term in denominator.strip("()").split(".")]
    for term, sign in terms:
        match = _FACTOR.fullmatch(term)
        if match is None or match[1] not in _SYMBOLS:
            raise ValueError(f"unit {text!r}: {term!r} is not a known symbol; known are {', '.join(_SYMBOLS)}")
        power = sign * int(match[2] or 1)
        symbol_factor, symbol_offset, symbol_exponents = _SYMBOLS[match[1]]
        if symbol_offset and (len(terms) > 1 or power != 1):
            raise ValueError(f"unit {text!r}: {term!r} has an offset and cannot be part of a product; use K")
        factor *= symbol_factor**power
        offset += symbol_offset
        exponents = [a + power * b for a, b in zip(exponents, symbol_exponents, strict=True)]
    return Unit(factor, offset, tuple(exponents))
