"""Unit expressions: dimensions, factors, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.units import _SYMBOLS, BASE_UNITS, parse_unit

PLAIN = sorted(symbol for symbol, (_, offset, _) in _SYMBOLS.items() if not offset)


@pytest.mark.parametrize(
    ("text", "factor", "exponents"),
    [
        ("1", 1.0, {}),
        ("%", 0.01, {}),
        ("W", 1.0, {"kg": 1, "m": 2, "s": -3}),
        ("A.h", 3600.0, {"A": 1, "s": 1}),
        ("W/(m2.K)", 1.0, {"kg": 1, "s": -3, "K": -1}),
        ("W.m-2.K-1", 1.0, {"kg": 1, "s": -3, "K": -1}),
        ("mol/L", 1000.0, {"mol": 1, "m": -3}),
        ("1/min", 1 / 60, {"s": -1}),
        ("mm2", 1e-6, {"m": 2}),
        ("kg / s", 1.0, {"kg": 1, "s": -1}),
        ("deg", math.pi / 180, {"rad": 1}),
    ],
)
def test_expressions_are_read_as_si_exponents(text: str, factor: float, exponents: dict[str, int]):
    unit = parse_unit(text)
    assert unit.factor == pytest.approx(factor, rel=1e-15)
    assert unit.offset == 0.0
    assert dict(zip(BASE_UNITS, unit.exponents, strict=True)) == {name: exponents.get(name, 0) for name in BASE_UNITS}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("V", "W/A"),
        ("Ohm", "V/A"),
        ("F", "C/V"),
        ("J", "N.m"),
        ("W", "J/s"),
        ("Pa", "N/m2"),
        ("Wb", "V.s"),
        ("T", "Wb/m2"),
        ("C", "A.s"),
        ("Hz", "1/s"),
        ("bar", "Pa"),
    ],
)
def test_derived_units_have_the_dimension_of_their_definition(left: str, right: str):
    assert parse_unit(left).exponents == parse_unit(right).exponents


def test_degrees_celsius_have_an_offset():
    unit = parse_unit("degC")
    assert unit.factor * 25.0 + unit.offset == pytest.approx(298.15, abs=1e-12)


@pytest.mark.parametrize("text", ["", "Ampere", "m/s/s", "A..h", "m^2", "m2.5", "kg*m", "a", "degC2x", "2"])
def test_unknown_symbols_are_refused_by_name(text: str):
    with pytest.raises(ValueError, match="is not a known symbol") as caught:
        parse_unit(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["W/degC", "degC.m", "degC2", "1/degC"])
def test_a_unit_with_an_offset_is_refused_in_a_product(text: str):
    with pytest.raises(ValueError, match="has an offset and cannot be part of a product; use K"):
        parse_unit(text)


@given(
    factors=st.lists(st.tuples(st.sampled_from(PLAIN), st.integers(-3, 3)), min_size=1, max_size=4),
    below=st.lists(st.sampled_from(PLAIN), max_size=3),
)
def test_a_product_has_the_sum_of_the_exponents(factors: list[tuple[str, int]], below: list[str]):
    text = ".".join(f"{symbol}{power}" for symbol, power in factors)
    text += f"/({'.'.join(below)})" if below else ""
    unit = parse_unit(text)
    terms = [(parse_unit(symbol), power) for symbol, power in factors] + [(parse_unit(symbol), -1) for symbol in below]
    assert unit.exponents == tuple(sum(u.exponents[i] * p for u, p in terms) for i in range(len(BASE_UNITS)))
    assert unit.factor == pytest.approx(math.prod(u.factor**p for u, p in terms), rel=1e-12)
