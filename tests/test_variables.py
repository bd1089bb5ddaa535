"""Variables: defaults in FMI's words, and what a variable cannot be."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.errors import InputError
from surrogate_fmu.variables import Causality, Initial, Variability, Variable, find_variable, scalar_names, with_causality

POWER = Variable("power", Causality.INPUT, "W", start=0.0)
MASS = Variable("mass", Causality.PARAMETER, "kg", start=1.0)
TEMPERATURE = Variable("temperature", Causality.OUTPUT, "K")


@pytest.mark.parametrize(
    ("variable", "variability", "initial"),
    [
        (POWER, Variability.CONTINUOUS, None),
        (MASS, Variability.FIXED, Initial.EXACT),
        (TEMPERATURE, Variability.CONTINUOUS, Initial.CALCULATED),
    ],
)
def test_variability_and_initial_follow_from_causality(variable: Variable, variability: Variability, initial: Initial | None):
    assert variable.variability is variability
    assert variable.initial is initial


def test_a_given_variability_is_kept():
    assert Variable("k", Causality.PARAMETER, start=1.0, variability=Variability.TUNABLE).variability is Variability.TUNABLE


@pytest.mark.parametrize("start", [None, math.nan, math.inf])
@pytest.mark.parametrize("causality", [Causality.INPUT, Causality.PARAMETER])
def test_inputs_and_parameters_need_a_finite_start(causality: Causality, start: float | None):
    with pytest.raises(ValueError, match=r"variable 'x': an (input|parameter) needs a finite start value"):
        Variable("x", causality, start=start)


def test_an_output_has_no_start():
    with pytest.raises(ValueError, match="variable 'y': an output is calculated and has no start value"):
        Variable("y", Causality.OUTPUT, start=0.0)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_an_empty_range_is_refused(low: float, high: float):
    with pytest.raises(ValueError, match=r"variable 'x': min . is not below max 1"):
        Variable("x", Causality.INPUT, start=1.0, min=low, max=high)


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="'Watt' is not a known symbol"):
        Variable("x", Causality.INPUT, "Watt", start=0.0)


def test_a_display_unit_must_measure_the_same():
    assert Variable("t", Causality.OUTPUT, "K", display_unit="degC").display_unit == "degC"
    with pytest.raises(ValueError, match="variable 't': display unit 'V' does not measure what 'K' does"):
        Variable("t", Causality.OUTPUT, "K", display_unit="V")


def test_variables_are_found_by_name_and_missing_ones_are_refused_with_the_list():
    assert find_variable((POWER, MASS), "mass") is MASS
    with pytest.raises(InputError, match="no variable is called 'pwoer'; there are 'power', 'mass'"):
        find_variable((POWER, MASS), "pwoer")


def test_causalities_are_picked_in_the_variables_order():
    assert with_causality((TEMPERATURE, MASS, POWER), Causality.INPUT, Causality.PARAMETER) == (MASS, POWER)


def test_scalars_of_a_matrix_are_counted_from_one_row_by_row():
    field = Variable("field", Causality.OUTPUT, shape=(2, 3))
    assert scalar_names(field) == ["field[1,1]", "field[1,2]", "field[1,3]", "field[2,1]", "field[2,2]", "field[2,3]"]
    assert scalar_names(TEMPERATURE) == ["temperature"]


@given(shape=st.lists(st.integers(1, 4), max_size=3).map(tuple))
def test_there_are_as_many_distinct_scalar_names_as_scalars(shape: tuple[int, ...]):
    variable = Variable("v", Causality.OUTPUT, shape=shape)
    names = scalar_names(variable)
    assert len(set(names)) == len(names) == variable.size == len(list(itertools.product(*map(range, shape))))
