"""Runs as arrays: shapes that must fit, selection, conditions, and a checksum that sees every change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.variables import Causality, Variable

VARIABLES = (
    Variable("power", Causality.INPUT, "W", start=0.0),
    Variable("flow", Causality.INPUT, "kg/s", start=0.0),
    Variable("mass", Causality.PARAMETER, "kg", start=1.0),
    Variable("temperature", Causality.OUTPUT, "K"),
)


def make_runs(runs: int = 4, steps: int = 3) -> Trajectories:
    return Trajectories(
        VARIABLES,
        2.0,
        np.arange(runs * steps * 2, dtype=float).reshape(runs, steps, 2),
        100.0 + np.arange(runs, dtype=float)[:, None],
        0.5 * np.arange(runs * (steps + 1), dtype=float).reshape(runs, steps + 1, 1),
        np.arange(runs) + 10,
        np.arange(runs) // 2,
        {"made": "here"},
    )


def test_names_and_counts():
    runs = make_runs()
    assert (len(runs), runs.step_count) == (4, 3)
    assert runs.names(Causality.INPUT) == ("power", "flow")
    assert runs.names(Causality.OUTPUT) == ("temperature",)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("inputs", (4, 3, 1)),
        ("parameters", (4, 2)),
        ("parameters", (3, 1)),
        ("outputs", (4, 3, 1)),
        ("outputs", (3, 4, 1)),
        ("plant_seed", (5,)),
        ("schedule", (4, 1)),
    ],
)
def test_an_array_that_does_not_fit_is_refused_by_name(name: str, shape: tuple[int, ...]):
    with pytest.raises(DatasetError, match=rf"{name} has shape \({', '.join(map(str, shape))},?\), the variables and runs need"):
        dataclasses.replace(make_runs(), **{name: np.zeros(shape)})


@pytest.mark.parametrize("name", ["inputs", "parameters", "outputs"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_count(name: str, value: float):
    array = getattr(make_runs(), name).copy()
    array.flat[1] = value
    with pytest.raises(DatasetError, match=f"{name} has 1 values that are not finite"):
        dataclasses.replace(make_runs(), **{name: array})


def test_conditions_are_inputs_then_parameters_at_every_step():
    runs = make_runs()
    conditions = runs.conditions()
    assert conditions.shape == (4, 3, 3)
    assert np.array_equal(conditions[..., :2], runs.inputs)
    assert np.array_equal(conditions[..., 2], [[100.0] * 3, [101.0] * 3, [102.0] * 3, [103.0] * 3])


@pytest.mark.parametrize("chosen", [[2, 0], np.array([2, 0]), iter([2, 0])])
def test_selected_runs_keep_all_their_columns(chosen: object):
    runs = make_runs()
    part = runs.select(chosen)
    assert part.plant_seed.tolist() == [12, 10]
    assert part.schedule.tolist() == [1, 0]
    assert part.parameters.ravel().tolist() == [102.0, 100.0]
    assert np.array_equal(part.inputs, runs.inputs[[2, 0]])
    assert np.array_equal(part.outputs, runs.outputs[[2, 0]])
    assert (part.variables, part.provenance) == (runs.variables, runs.provenance)


def test_a_mask_selects_runs():
    runs = make_runs()
    assert runs.select(runs.schedule == 1).plant_seed.tolist() == [12, 13]


@given(data=st.data(), name=st.sampled_from(["inputs", "parameters", "outputs", "plant_seed", "schedule"]))
def test_the_checksum_changes_with_any_value(data: st.DataObject, name: str):
    runs = make_runs()
    array = getattr(runs, name).copy()
    array.flat[data.draw(st.integers(0, array.size - 1))] += 1
    assert dataclasses.replace(runs, **{name: array}).checksum() != runs.checksum()


@pytest.mark.parametrize(
    "changes",
    [
        {"communication_step_size": 2.5},
        {"variables": (*VARIABLES[:3], Variable("heat", Causality.OUTPUT, "K"))},
        {"variables": (*VARIABLES[:3], Variable("temperature", Causality.OUTPUT, "V"))},
        {"variables": (VARIABLES[1], VARIABLES[0], *VARIABLES[2:])},
    ],
)
def test_the_checksum_changes_with_step_names_units_and_order(changes: dict[str, object]):
    runs = make_runs()
    assert dataclasses.replace(runs, **changes).checksum() != runs.checksum()


def test_the_checksum_does_not_depend_on_memory_layout_or_provenance():
    runs = make_runs()
    other = dataclasses.replace(runs, inputs=np.asfortranarray(runs.inputs), provenance={"made": "elsewhere"})
    assert other.checksum() == runs.checksum()
