"""Directional and adjoint derivatives against central differences and each other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.fmu.config import FmiVersion
from tests.fmu.native_fmu.conftest import BuildToy
from tests.fmu.native_fmu.library import ERROR, OK, Library
from tests.toy import STEP_SIZE

INPUTS, OUTPUTS = ("power", "ambient_temperature"), ("temperature", "flow")


@pytest.fixture
def library(build_toy: BuildToy, fmi: FmiVersion, tmp_path: Path) -> Library:
    # In float64, so that differences of outputs have digits left.
    return Library(build_toy(fmi=fmi, float64=True), tmp_path)


@pytest.fixture
def instance(library: Library) -> Iterator[int]:
    instance = library.instantiate()
    library.set_integer(instance, library.references["seed"], 7)
    yield instance
    library.free(instance)


def outputs_after(library: Library, substeps: int, values: dict[str, float], start: dict[str, float]) -> np.ndarray:
    instance = library.instantiate()
    library.set_integer(instance, library.references["seed"], 7)
    library.set_reals(instance, [library.references[n] for n in start], list(start.values()))
    library.initialize(instance)
    if substeps:
        assert library.do_step(instance, 0.0, STEP_SIZE) == OK
        library.set_reals(instance, [library.references[n] for n in values], list(values.values()))
        assert library.do_step(instance, STEP_SIZE, substeps * STEP_SIZE) == OK
    status, found = library.get_reals(instance, [library.references[n] for n in OUTPUTS])
    assert status == OK
    library.free(instance)
    return np.array(found)


@pytest.mark.parametrize("substeps", [1, 2, 5])
def test_derivatives_of_a_step_are_those_of_differences(library: Library, instance: int, substeps: int) -> None:
    at = {"power": 12.0, "ambient_temperature": 285.0}
    library.initialize(instance)
    library.do_step(instance, 0.0, STEP_SIZE)
    library.set_reals(instance, [library.references[n] for n in at], list(at.values()))
    library.do_step(instance, STEP_SIZE, substeps * STEP_SIZE)
    unknowns, knowns = [library.references[n] for n in OUTPUTS], [library.references[n] for n in INPUTS]
    jacobian = np.empty((2, 2))
    for column, name in enumerate(INPUTS):
        step = 0.5
        plus, minus = (outputs_after(library, substeps, at | {name: at[name] + sign * step}, {}) for sign in (1, -1))
        expected = (plus - minus) / (2 * step)
        status, found = library.directional(instance, unknowns, knowns[column : column + 1], [1.0])
        assert status == OK and found == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-10)
        jacobian[:, column] = found
    status, found = library.directional(instance, unknowns, knowns, [2.0, -3.0])
    assert status == OK and found == pytest.approx((jacobian @ [2.0, -3.0]).tolist(), rel=1e-12)
    if library.third:
        status, found = library.adjoint(instance, unknowns, knowns, [0.5, 4.0])
        assert status == OK and found == pytest.approx((np.array([0.5, 4.0]) @ jacobian).tolist(), rel=1e-12)
    _, before = library.get_reals(instance, unknowns)
    library.directional(instance, unknowns, knowns, [2.0, -3.0])
    assert library.get_reals(instance, unknowns)[1] == before


def test_derivatives_at_the_start_are_by_parameters_too(library: Library, instance: int) -> None:
    library.initialize(instance)
    unknowns, known = [library.references[n] for n in OUTPUTS], library.references["temperature_start"]
    plus, minus = (outputs_after(library, 0, {}, {"temperature_start": 293.15 + sign}) for sign in (1, -1))
    status, found = library.directional(instance, unknowns, [known], [1.0])
    assert status == OK and found == pytest.approx(((plus - minus) / 2).tolist(), rel=1e-9)
    if library.third:
        for row, unknown in enumerate(unknowns):
            assert library.adjoint(instance, [unknown], [known], [1.0])[1] == [pytest.approx(found[row], rel=1e-12)]
    library.do_step(instance, 0.0, STEP_SIZE)
    assert library.directional(instance, unknowns, [known], [1.0])[0] == ERROR
    assert "the parameter 'temperature_start' once the run has begun" in library.messages[-1][2]


def test_derivatives_survive_refusals_and_states(library: Library, instance: int) -> None:
    library.initialize(instance)
    power = library.references["power"]
    for k in range(3):
        library.do_step(instance, k * STEP_SIZE, STEP_SIZE)
    unknowns = [library.references[n] for n in OUTPUTS]
    _, expected = library.directional(instance, unknowns, [power], [1.0])
    _, state = library.get_state(instance)
    library.do_step(instance, 3 * STEP_SIZE, 1.0)  # refused
    library.set_reals(instance, [power], [33.0])  # not yet used
    assert library.directional(instance, unknowns, [power], [1.0])[1] == expected
    library.do_step(instance, 3 * STEP_SIZE, 4 * STEP_SIZE)
    library.function("SetFMUState")(instance_of(instance), state)
    assert library.directional(instance, unknowns, [power], [1.0])[1] == expected
    from ctypes import byref

    library.function("FreeFMUState")(instance_of(instance), byref(state))


def instance_of(instance: int) -> object:
    from ctypes import c_void_p

    return c_void_p(instance)


def test_what_clamping_holds_fast_has_no_derivative(library: Library, instance: int) -> None:
    library.set_integer(instance, library.references["domain_policy"], 2)
    library.initialize(instance)
    knowns = [library.references[n] for n in INPUTS]
    library.set_reals(instance, knowns[:1], [90.0])
    library.do_step(instance, 0.0, STEP_SIZE)
    assert library.directional(instance, [library.references["temperature"]], knowns[:1], [1.0]) == (OK, [0.0])
    assert library.directional(instance, [library.references["temperature"]], knowns[1:], [1.0])[1] != [0.0]
    if library.third:
        _, found = library.adjoint(instance, [library.references["temperature"]], knowns, [1.0])
        assert found[0] == 0.0 and found[1] != 0.0


def test_what_has_no_derivative_is_refused(library: Library, instance: int) -> None:
    names = library.references
    assert library.directional(instance, [names["flow"]], [names["power"]], [1.0])[0] == ERROR  # not in initialization mode
    library.initialize(instance)
    for unknown, known, sentence in (
        ("power", "power", "there is no derivative of 'power'"),
        ("domain_distance", "power", "there is no derivative of 'domain_distance'"),
        ("flow", "temperature", "there is no derivative by 'temperature'"),
        ("flow", "seed", "is no Real variable"),
    ):
        assert library.directional(instance, [names[unknown]], [names[known]], [1.0])[0] == ERROR
        assert sentence in library.messages[-1][2]
    assert library.directional(instance, [names["flow"]], [names["power"]], [float("nan")])[0] != OK
    if library.third:
        assert library.directional(instance, [names["flow"]], [names["power"]], [1.0, 2.0])[0] == ERROR
        assert library.adjoint(instance, [names["flow"]], [names["power"]], [1.0], size=3)[0] == ERROR
    assert library.directional(instance, [], [], [], size=0)[0] == OK
