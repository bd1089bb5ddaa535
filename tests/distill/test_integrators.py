"""Balances that a survey finds in plants whose nature is known, and does not find in others."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.config import load_config
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.distill.budgets import find_limits, make_budgets
from surrogate_fmu.distill.choices import is_driven, run_steps, used_balances
from surrogate_fmu.distill.integrators import Integrator, find_integrators
from surrogate_fmu.distill.plan import write_plan
from surrogate_fmu.distill.structure import compare_structures
from surrogate_fmu.distill.survey import Survey, survey_plant
from surrogate_fmu.plant.design import Range
from surrogate_fmu.plant.excitation import Schedule, keep_budget
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Causality, Variable

PLANTS = '''
import math

import numpy as np

from surrogate_fmu.errors import PlantError
from surrogate_fmu.variables import Causality, Variable


def u(name, unit="1", start=0.0):
    return Variable(name, Causality.INPUT, unit, start=start)


def y(name, unit="1"):
    return Variable(name, Causality.OUTPUT, unit)


class Plant:
    communication_step_size = 1.0
    trait = 0.0  # standard deviation of the individual's factor
    fine = 20

    def reset(self, seed, parameters):
        self.rng = np.random.default_rng(seed)
        self.factor = math.exp(self.trait * self.rng.normal())
        self.begin(parameters)
        return self.outputs({v.name: v.start for v in self.variables if v.causality == "input"})

    def do_step(self, inputs, communication_step_size):
        for _ in range(self.fine):
            self.move(inputs, communication_step_size / self.fine)
        return self.outputs(inputs)


class Tank(Plant):
    """Water in, and out through a hole by the root of the level."""

    trait = 0.1
    variables = (u("inflow", "m3/s"), u("valve", start=1.0), y("level", "m"), y("outflow", "m3/s"))

    def begin(self, parameters):
        self.level = 1.0

    def flow(self, inputs):
        return 0.05 * self.factor * inputs["valve"] * math.sqrt(max(self.level, 0.0))

    def move(self, inputs, dt):
        self.level = max(0.0, self.level + (inputs["inflow"] - self.flow(inputs)) * dt / 2.0)

    def outputs(self, inputs):
        return {"level": self.level, "outflow": self.flow(inputs)}


class ThermalMass(Plant):
    trait = 0.1
    variables = (
        u("power", "W"),
        u("ambient", "K", 293.15),
        Variable("start_temperature", Causality.PARAMETER, "K", start=293.15),
        y("temperature", "K"),
    )

    def begin(self, parameters):
        self.temperature = parameters["start_temperature"]

    def move(self, inputs, dt):
        loss = 2.0 * self.factor * (self.temperature - inputs["ambient"])
        self.temperature += (inputs["power"] - loss) * dt / 100.0

    def outputs(self, inputs):
        return {"temperature": self.temperature}


class Counter(Plant):
    """A charge and a voltage that is a curve of it; empty, it fails."""

    trait = 0.05
    variables = (
        u("current", "A"),
        Variable("start_charge", Causality.PARAMETER, start=0.5, min=0.0, max=1.0),
        y("charge"),
        y("voltage", "V"),
    )

    def begin(self, parameters):
        self.charge, self.slow = parameters["start_charge"], 0.0

    def move(self, inputs, dt):
        self.charge -= inputs["current"] * dt / (400.0 * self.factor)
        self.slow += (inputs["current"] - self.slow) * dt / 10.0
        if not 0.0 < self.charge < 1.0:
            raise PlantError("empty or full")

    def outputs(self, inputs):
        return {
            "charge": self.charge,
            "voltage": 3.0 + self.charge**2 - 0.1 * inputs["current"] - 0.1 * self.factor * self.slow,
        }


class EqualCounter(Counter):
    trait = 0.0


class DoubleWell(Plant):
    variables = (u("force"), y("place"))

    def begin(self, parameters):
        self.place = 0.5

    def move(self, inputs, dt):
        self.place += 0.2 * (self.place - self.place**3 + inputs["force"]) * dt

    def outputs(self, inputs):
        return {"place": self.place}


class NoisyWell(DoubleWell):
    def move(self, inputs, dt):
        super().move(inputs, dt)
        self.place += 0.3 * math.sqrt(dt) * self.rng.normal()


class IndividualWell(DoubleWell):
    """Its second output is a curve of the first, so that something is free of balances in any case."""

    trait = 0.1
    variables = (u("force"), y("place"), y("energy"))

    def move(self, inputs, dt):
        self.place += 0.2 * self.factor * (self.place - self.place**3 + inputs["force"]) * dt

    def outputs(self, inputs):
        return {"place": self.place, "energy": (self.place**2 - 1.0) ** 2}


class VanDerPol(Plant):
    variables = (u("force"), y("place"), y("speed"))

    def begin(self, parameters):
        self.place, self.speed = 1.0, 0.0

    def move(self, inputs, dt):
        self.place += 0.5 * self.speed * dt
        self.speed += 0.5 * (1.5 * (1.0 - self.place**2) * self.speed - self.place + inputs["force"]) * dt

    def outputs(self, inputs):
        return {"place": self.place, "speed": self.speed}


class Pendulum(Plant):
    """Its angle is nearly affine in what it shows, but no integral of that at such steps."""

    trait = 0.1
    variables = (u("torque"), y("angle"), y("speed"))

    def begin(self, parameters):
        self.angle, self.speed = 0.3, 0.0

    def move(self, inputs, dt):
        self.speed += 0.1 * (2.0 * inputs["torque"] - 9.81 * math.sin(self.angle) - self.factor * self.speed) * dt
        self.angle += 0.1 * self.speed * dt

    def outputs(self, inputs):
        return {"angle": self.angle, "speed": self.speed}


class Mass(Plant):
    """A mass between two springs, whose stiffness is an input: linear as long as it is held."""

    variables = (u("pull"), u("stiffness", start=1.0), y("place"), y("speed"))

    def begin(self, parameters):
        self.place, self.speed = 0.0, 0.0

    def move(self, inputs, dt):
        self.speed += 0.2 * (inputs["pull"] - inputs["stiffness"] * self.place) * dt
        self.place += 0.2 * self.speed * dt

    def outputs(self, inputs):
        return {"place": self.place, "speed": self.speed}


class Gain(Plant):
    """An output that is a multiple of the input, with no memory at all."""

    variables = (u("force"), y("place"))

    def begin(self, parameters):
        pass

    def move(self, inputs, dt):
        pass

    def outputs(self, inputs):
        return {"place": 2.0 * inputs["force"]}
'''
STEPS = 200


def survey_of(name: str, folder: Path, ranges: dict[str, Range], held=None, parameters=None) -> Survey:
    (folder / "plants.py").write_text(PLANTS)
    return survey_plant(source_of(name, folder), ranges, held or {}, parameters or {}, STEPS, folder / name, 1)


def source_of(name: str, folder: Path) -> PlantSource:
    return PlantSource(f"plants.py:{name}", folder)


def plan_of(name: str, folder: Path, survey: Survey, ranges: dict[str, Range], parameters=None, held=None):
    plant = source_of(name, folder).load()
    text = write_plan(
        "s", f"{name}.fmu", PlantSettings(), plant.variables, 1.0, ranges, held or {}, parameters or {}, survey, 600.0, 2
    )
    (folder / "surrogate.toml").write_text(text)
    config = load_config(folder / "surrogate.toml")
    config.check_variables(plant.variables, "the plant")
    config.check_design(plant.variables, "the plant")
    return text, config


def test_a_tank_fills_by_what_flows_in_and_not_out(tmp_path: Path):
    ranges, held = {"inflow": Range(0.02, 0.1)}, {"valve": 1.0}
    survey = survey_of("Tank", tmp_path, ranges, held)
    (level,) = survey.integrators
    assert level.output == "level" and level.terms == ("inflow - outflow",) and not level.start
    assert level.coefficients[0] == pytest.approx(0.5, rel=0.02)
    text, config = plan_of("Tank", tmp_path, survey, ranges, held=held)
    (balance,) = config.training.generator.balances
    assert balance.output == "level" and balance.terms == ("inflow - outflow",) and balance.start == ""
    assert "Balance: the change of level over a step is 0.5" in text and "# it leaves " in text


def test_a_thermal_mass_is_heated_and_loses_heat(tmp_path: Path):
    ranges, parameters = {"power": Range(0.0, 100.0), "ambient": Range(280.0, 300.0)}, {"start_temperature": Range(280.0, 340.0)}
    survey = survey_of("ThermalMass", tmp_path, ranges, parameters=parameters)
    (temperature,) = survey.integrators
    assert sorted(temperature.terms) == ["ambient - temperature", "power"]
    assert temperature.coefficients[temperature.terms.index("power")] == pytest.approx(0.01, rel=0.02)
    assert temperature.start == "start_temperature" and temperature.is_kept and temperature.decays
    assert 0.0 < temperature.share < 0.01
    _, config = plan_of("ThermalMass", tmp_path, survey, ranges, parameters)
    (balance,) = config.training.generator.balances
    assert not balance.residual and balance.start == "start_temperature"
    assert config.training.generator.initial_parameters == ("start_temperature",)
    assert not config.recording.design.budgets and not config.verify.balances, "it is no integral of one input"


CURRENT, CHARGE = {"current": Range(-2.0, 2.0)}, {"start_charge": Range(0.3, 0.7)}


def test_a_charge_counts_the_current_and_its_input_gets_a_budget(tmp_path: Path):
    survey = survey_of("Counter", tmp_path, CURRENT, parameters=CHARGE)
    (charge,) = survey.integrators
    assert charge.terms == ("current",) and charge.start == "start_charge" and charge.is_kept and not charge.decays
    assert charge.coefficients[0] == pytest.approx(-1 / 400, rel=0.05)
    assert survey.limits == {"charge": (0.0, 1.0)}, "what the plant says of the parameter that it starts at"
    assert survey.structures is not None and is_driven(survey)
    text, config = plan_of("Counter", tmp_path, survey, CURRENT, CHARGE)
    assert "Structure wiener: inputs drive the plant and it forgets them" in text
    assert config.recording.steps == run_steps(survey) == 120
    slow = dataclasses.replace(survey, seconds_per_step=0.1)
    assert run_steps(slow, 1200.0, 2) == 60 and run_steps(slow, 12000.0, 2) == 120, "many short runs where few can be recorded"
    assert config.training.generator.structure == "wiener" and config.training.generator.wiener.curves == ()
    (budget,) = config.recording.design.budgets
    assert (budget.input, budget.parameter) == ("current", "start_charge") and budget.gain == charge.coefficients[0]
    assert 0.0 < budget.min < 0.1 and 0.9 < budget.max < 1.0
    signal = keep_budget(budget, 0.3, np.full(300, 2.0), 1.0)
    assert 0.3 + budget.gain * signal.sum() > budget.min and signal[0] == 2.0
    (kept,) = config.verify.balances
    assert (kept.output, kept.input, kept.gain) == ("charge", "current", charge.coefficients[0])


def test_a_plant_without_randomness_has_its_charge_by_its_linear_step(tmp_path: Path):
    survey = survey_of("EqualCounter", tmp_path, CURRENT, parameters=CHARGE)
    (charge,) = survey.integrators
    assert charge.terms == ("current",) and not used_balances(survey) and not is_driven(survey)
    text, config = plan_of("EqualCounter", tmp_path, survey, CURRENT, CHARGE)
    assert "Balance: the change of charge" in text and "Structure recurrent: it begins with the plant's linear step" in text
    assert config.training.generator.linear and not config.training.generator.balances
    assert config.recording.design.budgets, "runs would end at a limit all the same"


def test_a_linear_plant_keeps_its_plan_whatever_a_held_input_does_to_it(tmp_path: Path):
    ranges, held = {"pull": Range(-1.0, 1.0)}, {"stiffness": 1.0}
    survey = survey_of("Mass", tmp_path, ranges, held)
    assert survey.effects and not used_balances(survey)
    _, config = plan_of("Mass", tmp_path, survey, ranges, held=held)
    assert config.training.generator.linear and not config.training.generator.balances


@pytest.mark.parametrize("name", ["DoubleWell", "NoisyWell", "IndividualWell", "VanDerPol", "Pendulum", "Gain"])
def test_nothing_is_claimed_for_a_plant_without_balances(name: str, tmp_path: Path):
    ranges = {"torque" if name == "Pendulum" else "force": Range(-1.0, 1.0)}
    survey = survey_of(name, tmp_path, ranges)
    assert survey.integrators == () and not survey.limits and not is_driven(survey)
    _, config = plan_of(name, tmp_path, survey, ranges)
    assert config.training.generator.structure == "recurrent" and not config.recording.design.budgets


VARIABLES = (
    Variable("q", Causality.INPUT, start=0.0),
    Variable("start", Causality.PARAMETER, start=0.0),
    Variable("volume", Causality.OUTPUT),
    Variable("pressure", Causality.OUTPUT),
)


def runs_of(inputs: np.ndarray, start: np.ndarray) -> Trajectories:
    volume = start[:, None] + np.concatenate([np.zeros((len(inputs), 1)), np.cumsum(0.5 * inputs, axis=1)], axis=1)
    outputs = np.stack([volume, np.sin(volume)], axis=-1)
    numbers = np.arange(len(inputs))
    return Trajectories(VARIABLES, 2.0, inputs[..., None], start[:, None], outputs, numbers, numbers)


VOLUME = Integrator("volume", ("q",), (0.5,), 0.0, "start", 0.0, 0.0, 0.0)


def test_limits_that_nobody_says_are_what_finished_runs_reached_where_others_were_lost():
    runs = runs_of(np.array([[1.0] * 10, [-1.0] * 10]), np.array([0.0, 1.0]))
    assert find_limits([VOLUME], runs, []) == {}
    lost = [Schedule({"start": 0.0}, {"q": np.full(10, 4.0)}, {})]
    assert find_limits([VOLUME], runs, lost) == {"volume": (-np.inf, 5.0)}
    limits = {"volume": (-np.inf, 5.0)}
    (budget,) = make_budgets([VOLUME], limits, VARIABLES, {"q": Range(-1.0, 4.0)}, {"start": Range(0.0, 1.0)}, 10, 2.0)
    assert budget.gain == 0.25 and budget.max < 5.0 and budget.min == pytest.approx(-5.0, abs=0.5)
    assert not make_budgets([VOLUME], limits, VARIABLES, {"q": Range(-1.0, 0.1)}, {"start": Range(0.0, 1.0)}, 10, 2.0)
    assert not make_budgets([VOLUME], limits, VARIABLES, {"q": Range(-1.0, 4.0)}, {}, 10, 2.0), "its start is none that varies"


def test_structures_are_not_compared_without_schedules_or_free_outputs():
    rng = np.random.default_rng(0)
    runs = runs_of(rng.normal(size=(8, 50)), rng.normal(size=8))
    (found,) = find_integrators(runs)
    assert found.terms == ("q",) and found.start == "start"
    assert compare_structures(runs.select(range(2)), []) is None
    assert compare_structures(runs, [("volume", ("q",)), ("pressure", ("q",))]) is None
    assert compare_structures(runs, [("volume", ("q",))]) is not None


def test_names_that_cannot_stand_in_a_balance_are_left_out():
    rng = np.random.default_rng(0)
    runs = runs_of(rng.normal(size=(8, 50)), rng.normal(size=8))
    renamed = tuple(Variable("q-in", Causality.INPUT, start=0.0) if v.name == "q" else v for v in VARIABLES)
    other = Trajectories(renamed, 2.0, runs.inputs, runs.parameters, runs.outputs, runs.plant_seed, runs.schedule)
    assert find_integrators(other) == ()


def test_budgets_of_one_limit_are_numbers_as_toml_has_them():
    """Where lost runs told of one limit, the other is as far as the input can move it."""
    for limits in ((-np.inf, 5.0), (-1.0, np.inf)):
        (budget,) = make_budgets(
            [VOLUME], {"volume": limits}, VARIABLES, {"q": Range(-4.0, 4.0)}, {"start": Range(0.0, 1.0)}, 10, 2.0
        )
        for value in (budget.gain, budget.min, budget.max, budget.reserve_s):
            assert tomllib.loads(f"value = {value!r}") == {"value": value}
        assert budget.min < 0.0 and budget.max > 1.0
