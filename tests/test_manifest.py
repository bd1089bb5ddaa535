"""Manifests as JSON: round trips, equal bytes, and clear refusals."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.errors import BundleError
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable
from tests.toy import MANIFEST

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@st.composite
def variables(draw: st.DrawFn, name: str, causality: Causality) -> Variable:
    low, high = sorted(draw(st.lists(NUMBERS, min_size=2, max_size=2, unique=True)))
    bounded = draw(st.booleans())
    return Variable(
        name,
        causality,
        draw(st.sampled_from(["1", "V", "W/(m2.K)", "A.h"])),
        draw(st.text(max_size=20)),
        None if causality is Causality.OUTPUT else draw(st.sampled_from([low, high])),
        low if bounded else None,
        high if bounded else None,
        draw(st.none() | NUMBERS),
        shape=draw(st.sampled_from([(), (2,), (2, 3)])),
        value_reference=draw(st.none() | st.integers(0, 2**32 - 1)),
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    causalities = [Causality.OUTPUT, *(draw(st.sampled_from(Causality)) for _ in names[1:])]
    ranges = [sorted(draw(st.tuples(NUMBERS, NUMBERS))) for _ in names]
    return Manifest(
        name=draw(NAMES),
        variables=tuple(draw(variables(name, causality)) for name, causality in zip(names, causalities, strict=True)),
        step_size=draw(st.floats(1e-6, 1e6)),
        run_latent_dim=draw(st.integers(0, 9)),
        step_latent_dim=draw(st.integers(0, 9)),
        hidden_dim=draw(st.integers(0, 99)),
        domain={name: Interval(low, high) for name, (low, high) in zip(names, ranges, strict=True)},
        description=draw(st.text(max_size=30)),
        training=draw(st.dictionaries(st.text(max_size=5), NUMBERS | st.text(max_size=5) | st.none(), max_size=3)),
    )


@given(manifest=manifests())
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest):
    text = manifest.to_json()
    read = Manifest.from_json(text)
    # Entries of None are left out of free-form tables, so those are compared without.
    kept = {key: value for key, value in manifest.training.items() if value is not None}
    assert read.replace(training={}) == manifest.replace(training={})
    assert {key: value for key, value in read.training.items() if value is not None} == kept
    assert Manifest.from_json(text.encode()) == read


def test_equal_manifests_give_equal_bytes_whatever_the_order_of_the_domain():
    shuffled = MANIFEST.replace(domain=dict(reversed(MANIFEST.domain.items())))
    assert shuffled.to_json() == MANIFEST.to_json()


def test_sizes_follow_from_the_variables():
    array = Variable("field", Causality.OUTPUT, shape=(2, 3))
    manifest = MANIFEST.replace(variables=(*MANIFEST.variables, array), domain={**MANIFEST.domain, "field": Interval(0, 1)})
    assert [v.name for v in manifest.condition] == ["power", "ambient_temperature", "temperature_start"]
    assert (manifest.condition_dim, manifest.latent_dim, manifest.output_dim) == (3, 3, 8)


def edited(**changes: object) -> str:
    return json.dumps(json.loads(MANIFEST.to_json()) | changes)


def without(key: str) -> str:
    data = json.loads(MANIFEST.to_json())
    del data[key]
    return json.dumps(data)


def with_variable(index: int, **changes: object) -> str:
    data = json.loads(MANIFEST.to_json())
    data["variables"][index] |= changes
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the manifest is not JSON"),
        (b"\xff\xfe", "the manifest is not JSON"),
        ("[]", "schema version None, this surrogate-fmu reads version 1; upgrade"),
        (without("schema_version"), "schema version None"),
        (edited(schema_version=2), "schema version 2, this surrogate-fmu reads version 1; upgrade"),
        (edited(step_sise=1.0), "step_sise: unknown key; did you mean 'step_size'"),
        (without("hidden_dim"), "the key 'hidden_dim' is missing"),
        (edited(step_size=math.nan), "step_size: expected a finite number, got nan"),
        (edited(step_size=0.0), "step_size 0.0 must be a positive number of seconds"),
        (edited(step_size="1"), "step_size: expected float, got '1'"),
        (edited(hidden_dim=-1), "cannot be negative"),
        (edited(name="no name"), "name 'no name' must be letters, digits and underscores"),
        (edited(variables=[]), "there is no output variable"),
        (edited(domain={}), "domain has no range for \\['power'"),
        (
            edited(domain={**json.loads(MANIFEST.to_json())["domain"], "power": {"min": 0}}),
            "domain.power: the key 'max' is missing",
        ),
        (with_variable(1, name="power"), "variable names must differ, got \\['power', 'power'\\]"),
        (with_variable(0, start=math.nan), r"variables\[0\].start: expected a finite number"),
        (with_variable(2, unit="Kelvin"), r"variables\[2\]: unit 'Kelvin'"),
        (with_variable(3, causality="result"), r"variables\[3\].causality: expected one of 'input', 'parameter', 'output'"),
        (with_variable(4, colour="red"), r"variables\[4\].colour: unknown key"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str | bytes, message: str):
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(text)


def test_a_figure_that_is_not_finite_is_not_written():
    with pytest.raises(ValueError, match="JSON"):
        MANIFEST.replace(training={"score": math.nan}).to_json()


def test_a_manifest_is_not_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MANIFEST.name = "other"
