"""The battery cell: one cell per seed, charge and heat balances, refusals."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.protocol import load_plant

pytest.importorskip("pybamm", reason="the battery cell needs PyBaMM: pip install 'surrogate-fmu[models]'")
FOLDER = Path(__file__).parents[2] / "models" / "dfn_cell"
ROOM = 298.15
STEP = 10.0
# CHARGE_A_S is the nominal capacity of the median cell, as the budget in surrogate.toml counts it.
CHARGE_A_S = 1 / 5.361930294906166e-5


@pytest.fixture(scope="module")
def cell() -> Any:
    return load_plant("plant.py:DfnCell", FOLDER)


def drive(cell: Any, seed: int, current: float, steps: int = 12, **start: float) -> list[dict[str, float]]:
    outputs = [cell.reset(seed, {"soc_start": 0.5, "temperature_start": ROOM} | start)]
    return outputs + [cell.do_step({"current": current, "ambient_temperature": ROOM}, STEP) for _ in range(steps)]


def test_do_step_before_reset_is_refused(cell: Any):
    with pytest.raises(PlantError, match="call reset"):
        type(cell)().do_step({"current": 0.0, "ambient_temperature": ROOM}, STEP)


def test_a_seed_is_one_cell(cell: Any):
    first, other, again = drive(cell, 3, 5.0), drive(cell, 4, 5.0), drive(cell, 3, 5.0)
    assert first == again
    for name in ("voltage", "temperature", "soc", "heat"):
        assert first[-1][name] != other[-1][name]
    assert abs(first[-1]["voltage"] - other[-1]["voltage"]) < 0.2


def test_outputs_at_the_start_are_those_of_a_cell_at_rest(cell: Any):
    start = cell.reset(1, {"soc_start": 0.7, "temperature_start": 290.0})
    assert (start["soc"], start["temperature"]) == pytest.approx((0.7, 290.0))
    assert start["heat"] == pytest.approx(0.0, abs=1e-6)
    assert 3.5 < start["voltage"] < 4.2
    assert cell.reset(1, {})["soc"] == 0.5


@pytest.mark.parametrize("current", [5.0, -3.0])
def test_charge_is_conserved(cell: Any, current: float):
    outputs = drive(cell, 7, current)
    changes = [b["soc"] - a["soc"] for a, b in itertools.pairwise(outputs)]
    # Equal currents move equal charge at every step, and by the capacity of this cell, 1.5 % about the median.
    assert changes == pytest.approx([changes[0]] * len(changes), rel=1e-3)
    capacity = -current * STEP / changes[0]
    assert capacity == pytest.approx(CHARGE_A_S, rel=5 * 0.015)


def test_charge_that_was_taken_out_goes_back_in(cell: Any):
    cell.reset(2, {"soc_start": 0.5})
    for current in (4.0, 4.0, -4.0, -4.0):
        outputs = cell.do_step({"current": current, "ambient_temperature": ROOM}, STEP)
    assert outputs["soc"] == pytest.approx(0.5, abs=1e-6)


def test_capacities_spread_over_cells_as_declared(cell: Any):
    logs = []
    for seed in range(12):
        cell.reset(seed, {"soc_start": 0.5})
        soc = cell.do_step({"current": 5.0, "ambient_temperature": ROOM}, STEP)["soc"]
        logs.append(math.log(5.0 * STEP / (0.5 - soc) / CHARGE_A_S))
    mean = sum(logs) / 12
    spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / 11)
    # 12 draws of a standard deviation of 0.015: the mean within 4 standard errors, the spread within a factor of two.
    assert abs(mean) < 4 * 0.015 / math.sqrt(12)
    assert 0.0075 < spread < 0.03


@pytest.mark.parametrize("current", [6.0, -4.0])
def test_load_heats_the_cell(cell: Any, current: float):
    outputs = drive(cell, 5, current, 20)
    assert all(point["heat"] > 0 for point in outputs[2:])
    assert outputs[-1]["temperature"] > ROOM + 0.5
    # The voltage lies on the side of the load.
    rest = drive(cell, 5, 0.0, 2)[-1]["voltage"]
    assert (outputs[1]["voltage"] < rest) == (current > 0)


def test_a_warm_cell_at_rest_cools_towards_the_surroundings(cell: Any):
    temperatures = [point["temperature"] for point in drive(cell, 5, 0.0, 12, temperature_start=ROOM + 10)]
    assert all(b < a for a, b in itertools.pairwise(temperatures))
    assert temperatures[-1] > ROOM


def test_heat_heats_by_one_heat_capacity(cell: Any):
    """Over short loads losses to the surroundings are small: temperature rise per joule is the same at every load."""
    capacities = []
    for current in (5.0, 10.0):
        outputs = drive(cell, 5, current, 6)
        joules = STEP * sum((a["heat"] + b["heat"]) / 2 for a, b in itertools.pairwise(outputs))
        capacities.append(joules / (outputs[-1]["temperature"] - outputs[1]["temperature"]))
    assert capacities[0] == pytest.approx(capacities[1], rel=0.15)
    assert 20 < capacities[0] < 120  # a 70 g cell


@pytest.mark.parametrize(
    "inputs", [{"current": 2000.0, "ambient_temperature": ROOM}, {"current": math.nan, "ambient_temperature": ROOM}]
)
def test_impossible_inputs_are_a_plant_error_and_the_cell_can_be_started_again(cell: Any, inputs: dict[str, float]):
    expected = drive(cell, 9, 5.0, 3)
    cell.reset(9, {"soc_start": 0.5})
    with pytest.raises(PlantError, match="DFN solver"):
        cell.do_step(inputs, STEP)
    assert drive(cell, 9, 5.0, 3) == expected


@pytest.mark.parametrize("size", [0.0, -10.0])
def test_a_step_that_does_not_go_forward_is_a_plant_error(cell: Any, size: float):
    cell.reset(1, {})
    with pytest.raises(PlantError, match="DFN solver"):
        cell.do_step({"current": 1.0, "ambient_temperature": ROOM}, size)


@pytest.mark.parametrize(
    "parameters", [{"soc_start": 2.0}, {"soc_start": -0.5}, {"soc_start": math.nan}, {"temperature_start": -5.0}]
)
def test_a_start_that_cannot_be_is_a_plant_error(cell: Any, parameters: dict[str, float]):
    with pytest.raises(PlantError):
        cell.reset(1, parameters)
