"""Frozen classes from plain data: exact types, and every refusal says where."""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.schema import SchemaError, decode, encode, format_path


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight {self.weight:g} is below 0")


@dataclass(frozen=True)
class Whole:
    count: int
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)
    colour: Colour = Colour.RED
    pair: tuple[float, float] = (0.0, 1.0)
    bound: float | None = None
    on: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


FINITE = st.floats(0, 1e300)
PARTS = st.builds(Part, st.text(max_size=8), FINITE)
WHOLES = st.builds(
    Whole,
    st.integers(),
    st.lists(PARTS, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=4), PARTS, max_size=3),
    st.sampled_from(Colour),
    st.tuples(FINITE, FINITE),
    st.none() | FINITE,
    st.booleans(),
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=3) | st.booleans(), max_size=3),
)


@dataclass(frozen=True)
class Later:
    name: str
    colour: Colour = field(default=Colour.RED, metadata={"omit_default": True})


@dataclass(frozen=True)
class Either:
    pairs: tuple[tuple[int, int], ...] | Colour


def test_either_of_two_kinds_is_taken():
    for some in (Either(((1, 2), (3, 4))), Either(()), Either(Colour.BLUE)):
        assert decode(Either, json.loads(json.dumps(encode(some)))) == some


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ("green", ("pairs",), "expected a list, got 'green', or expected one of 'red', 'blue', got 'green'"),
        ([[1, 2], [3]], ("pairs", 1), "expected a list of 2, got 1"),
        ([[1, "red"]], ("pairs", 0, 1), "expected int, got 'red'"),
    ],
)
def test_what_is_neither_is_refused_where_it_came_nearest(value: object, path: tuple[str | int, ...], problem: str):
    with pytest.raises(SchemaError) as caught:
        decode(Either, {"pairs": value})
    assert caught.value.path == path and problem in caught.value.problem


def test_defaults_of_later_fields_are_left_out():
    assert encode(Later("a")) == {"name": "a"}
    assert encode(Later("a", Colour.BLUE)) == {"name": "a", "colour": "blue"}
    assert decode(Later, {"name": "a"}) == Later("a")


@given(whole=WHOLES)
def test_decode_is_the_inverse_of_encode_also_through_json(whole: Whole):
    assert decode(Whole, encode(whole)) == whole
    assert decode(Whole, json.loads(json.dumps(encode(whole)))) == whole


def test_defaults_stand_in_for_keys_left_out():
    assert decode(Whole, {"count": 3}) == Whole(3)


def test_a_whole_number_is_taken_for_a_float():
    weight = decode(Part, {"name": "a", "weight": 2}).weight
    assert weight == 2.0
    assert isinstance(weight, float)


@pytest.mark.parametrize(
    ("data", "path", "problem"),
    [
        ([], (), "expected a table of Whole, got \\[\\]"),
        ({}, (), "the key 'count' is missing"),
        ({"count": 1, "colr": "red"}, ("colr",), "unknown key; did you mean 'colour'?"),
        ({"count": 1, "zzz": 1}, ("zzz",), "unknown key; known are count, parts"),
        ({"count": "1"}, ("count",), "expected int, got '1'"),
        ({"count": 1.0}, ("count",), "expected int, got 1.0"),
        ({"count": True}, ("count",), "expected int, got True"),
        ({"count": None}, ("count",), "expected int, got None"),
        ({"count": 1, "on": 1}, ("on",), "expected bool, got 1"),
        ({"count": 1, "bound": True}, ("bound",), "expected float, got True"),
        ({"count": 1, "bound": float("nan")}, ("bound",), "expected a finite number, got nan"),
        ({"count": 1, "bound": float("inf")}, ("bound",), "expected a finite number, got inf"),
        ({"count": 1, "pair": [1.0]}, ("pair",), "expected a list of 2, got 1"),
        ({"count": 1, "pair": "ab"}, ("pair",), "expected a list, got 'ab'"),
        ({"count": 1, "pair": [1.0, "b"]}, ("pair", 1), "expected float, got 'b'"),
        ({"count": 1, "colour": "green"}, ("colour",), "expected one of 'red', 'blue', got 'green'"),
        ({"count": 1, "colour": []}, ("colour",), "expected one of 'red', 'blue', got \\[\\]"),
        ({"count": 1, "parts": [{"name": "a"}, {"name": 3}]}, ("parts", 1, "name"), "expected str, got 3"),
        ({"count": 1, "parts": [{"name": "a"}, {}]}, ("parts", 1), "the key 'name' is missing"),
        ({"count": 1, "by_name": {"x": {"name": "a", "weight": -1}}}, ("by_name", "x"), "weight -1 is below 0"),
        ({"count": 1, "by_name": {"x": 5}}, ("by_name", "x"), "expected a table of Part, got 5"),
        ({"count": 1, "by_name": []}, ("by_name",), "expected a table, got \\[\\]"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(data: object, path: tuple[str | int, ...], problem: str):
    with pytest.raises(SchemaError, match=problem) as caught:
        decode(Whole, data)
    assert caught.value.path == path
    assert str(caught.value).startswith(format_path(path))


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(SchemaError, match="weight"):
        decode(Part, {"name": "a", "weight": 10**400})


def test_places_are_written_as_in_code():
    assert format_path(("recording", "inputs", 0, "min")) == "recording.inputs[0].min"


def test_none_is_left_out():
    assert "bound" not in encode(Whole(1))
