"""What a survey tells of plants whose nature is known, and that the plan from it can be used."""

import re
from pathlib import Path

import pytest

from surrogate_fmu.config import load_config
from surrogate_fmu.distill.choices import choose_size, run_steps, training_seconds
from surrogate_fmu.distill.plan import check_unnamed, input_ranges, write_plan
from surrogate_fmu.distill.survey import Survey, _moved, survey_plant
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.design import Range
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Causality, EnumerationItem, Variable, VariableType

LAG = '''
import math

import numpy as np

from surrogate_fmu.variables import Causality, EnumerationItem, Variable, VariableType


class Lag:
    """A first-order lag of 8 steps; subclasses add what they are called after."""

    communication_step_size = 0.5
    variables = (
        Variable("u", Causality.INPUT, start=0.0),
        Variable("gain", Causality.INPUT, start=1.0),
        Variable("idle", Causality.INPUT, start=1.0),
        Variable("y", Causality.OUTPUT),
    )

    def reset(self, seed, parameters):
        self.rng, self.y = np.random.default_rng(seed), 0.0
        self.trait = self.rng.normal()
        return {"y": self.y}

    def do_step(self, inputs, communication_step_size):
        self.y += (inputs["gain"] * inputs["u"] - self.y) * (1.0 - math.exp(-1.0 / 8.0))
        return {"y": self.y + self.extra(inputs)}

    def extra(self, inputs):
        return 0.0


class Trait(Lag):
    def extra(self, inputs):
        return 0.1 * self.trait


class Noise(Lag):
    def extra(self, inputs):
        return 0.1 * self.rng.normal()


class Integrator(Lag):
    def do_step(self, inputs, communication_step_size):
        self.y += inputs["u"]
        return {"y": self.y}
'''
RANGES = {"u": Range(-1.0, 1.0)}
HELD = {"gain": 1.0, "idle": 1.0}


def survey_of(name: str, folder: Path) -> Survey:
    (folder / "lag.py").write_text(LAG)
    return survey_plant(PlantSource(f"lag.py:{name}", folder), RANGES, HELD, {}, 200, folder / name, 1)


def test_a_lag_settles_in_three_time_constants_and_is_not_random(tmp_path: Path) -> None:
    survey = survey_of("Lag", tmp_path)
    assert survey.settling_steps == survey.fastest_steps == pytest.approx(8 * 3.0, abs=2)  # to 5 %
    assert not survey.is_random and survey.spread == 0.0
    assert set(survey.effects) == {"gain"}  # moved from 1 to 1.5, half of the output; `idle` does nothing
    assert 0.02 < survey.effects["gain"] < 0.3
    assert 0.0 < survey.seconds_per_step < 0.1
    assert run_steps(survey) == 3 * survey.settling_steps


def test_a_trait_that_lasts_and_noise_that_is_new_are_told_apart(tmp_path: Path) -> None:
    trait, noise = survey_of("Trait", tmp_path), survey_of("Noise", tmp_path)
    assert trait.is_random and noise.is_random
    assert trait.roughness < 1e-6 and noise.roughness == pytest.approx(2.0, rel=0.2)
    assert "run_latent_dim = 8\nstep_latent_dim = 0" in plan_of(trait, tmp_path)
    assert "run_latent_dim = 0\nstep_latent_dim = 2" in plan_of(noise, tmp_path)


def test_an_integrator_does_not_settle(tmp_path: Path) -> None:
    survey = survey_of("Integrator", tmp_path)
    assert survey.settling_steps is None
    assert run_steps(survey) == survey.steps
    assert "rollout_count = 0" in plan_of(survey, tmp_path)


def plan_of(survey: Survey, folder: Path, budget_s: float = 600.0) -> str:
    plant = PlantSource("lag.py:Lag", folder).load()
    return write_plan(
        "lag", "Lag.fmu", PlantSettings(values={"p": 2.0}), plant.variables, 0.5, RANGES, HELD, {}, survey, budget_s, 2
    )


def test_the_plan_is_a_configuration_that_can_be_used(tmp_path: Path) -> None:
    survey = survey_of("Lag", tmp_path)
    (tmp_path / "surrogate.toml").write_text(plan_of(survey, tmp_path))
    config = load_config(tmp_path / "surrogate.toml")
    plant = PlantSource("lag.py:Lag", tmp_path).load()
    config.check_variables(plant.variables, "the lag")
    config.check_design(plant.variables, "the lag")
    assert config.recording.steps == 3 * survey.settling_steps
    assert dict(config.recording.design.held) == HELD
    assert dict(config.plant.values) == {"p": 2.0}
    assert config.training.generator.linear and config.training.generator.run_latent_dim == 0


def test_an_input_that_nobody_named_is_kept_where_it_does_nothing_and_refused_where_it_matters(tmp_path: Path) -> None:
    survey = survey_of("Lag", tmp_path)
    check_unnamed(survey, {"idle": 1.0}, "Lag.fmu")
    with pytest.raises(ConfigError, match=r"inputs that change an output when they are moved: gain \(by .*--hold gain=1"):
        check_unnamed(survey, HELD, "Lag.fmu")


def test_whole_numbers_are_moved_to_values_that_they_may_have() -> None:
    items = (EnumerationItem("off", 1), EnumerationItem("high", 4))
    on = Variable("on", Causality.INPUT, start=0.0, type=VariableType.BOOLEAN)
    level = Variable("level", Causality.INPUT, start=4.0, type=VariableType.ENUMERATION, items=items)
    count = Variable("count", Causality.INPUT, start=5.0, max=5.0, type=VariableType.INTEGER)
    real = Variable("real", Causality.INPUT, start=5.0, max=6.0)
    assert [_moved(on, 0.0), _moved(on, 1.0), _moved(level, 4.0), _moved(level, 1.0)] == [1.0, 0.0, 1.0, 4.0]
    assert [_moved(count, 5.0), _moved(real, 5.0), _moved(real, 2.0)] == [3.0, 2.5, 3.0]


def test_slower_plants_get_fewer_runs_and_all_sizes_can_be_verified() -> None:
    def survey(seconds: float, spread: float) -> Survey:
        return Survey(200, seconds, 40, 4, spread, 0.0, {}, ())

    for spread in (0.0, 0.1):
        sizes = [choose_size(survey(seconds, spread), 120, 1200.0, 2) for seconds in (1e-4, 1e-2, 2e-2, 5e-2, 10.0)]
        assert [size.runs for size in sizes] == sorted((size.runs for size in sizes), reverse=True)
        assert sizes[0].runs > 3 * sizes[-1].runs
        for size, seconds in zip(sizes[:-1], (1e-4, 1e-2, 2e-2, 5e-2), strict=True):
            fitting = size.runs - size.test * size.test_individuals
            assert fitting * 120 * seconds / 2 <= 480.0
            assert size.test * size.test_individuals * 120 * seconds <= 480.0 <= training_seconds(1200.0, 2), "beside the training"
    between = choose_size(survey(0.0166, 0.1), 120, 1200.0, 2)
    assert between.train + between.validation * between.validation_individuals == int(960.0 / (0.0166 * 120))
    assert between.train > 250, "what is left of the time is for training runs"
    alone = choose_size(survey(0.0166, 0.1), 120, 1200.0, 1)
    assert alone.runs * 120 * 0.0166 + training_seconds(1200.0, 1) <= 0.9 * 1200.0, "one after the other"
    assert all(choose_size(survey(s, 0.1), 120, 1200.0, 2).test_individuals >= 8 for s in (1e-4, 2e-2, 10.0))


def test_ranges_come_from_the_user_then_from_the_plant_and_what_is_missing_is_asked_for() -> None:
    variables = [
        Variable("u", Causality.INPUT, start=0.0, min=-1.0, max=1.0),
        Variable("v", Causality.INPUT, start=3.0),
        Variable("y", Causality.OUTPUT),
    ]
    assert input_ranges(variables, {"v": Range(2.0, 4.0)}, {}, "P.fmu") == ({"u": Range(-1.0, 1.0), "v": Range(2.0, 4.0)}, {})
    assert input_ranges(variables, {}, {"v": 3.0}, "P.fmu") == ({"u": Range(-1.0, 1.0)}, {})
    assert input_ranges(variables, {}, {}, "P.fmu") == ({"u": Range(-1.0, 1.0)}, {"v": 3.0})
    with pytest.raises(
        ConfigError, match=re.escape("no range of v; give each the range that it has in your system, --range v=LOW")
    ):
        input_ranges(variables[1:], {}, {}, "P.fmu")
    with pytest.raises(ConfigError, match=re.escape("P.fmu has no input 'w'; it has u, v")):
        input_ranges(variables, {"w": Range(0.0, 1.0)}, {}, "P.fmu")
    with pytest.raises(ConfigError, match=r"all inputs of P\.fmu are held"):
        input_ranges(variables, {}, {"u": 0.0, "v": 3.0}, "P.fmu")
    items = (EnumerationItem("off", 1), EnumerationItem("low", 2), EnumerationItem("high", 4))
    typed = [
        Variable("on", Causality.INPUT, start=0.0, type=VariableType.BOOLEAN),
        Variable("level", Causality.INPUT, start=2.0, type=VariableType.ENUMERATION, items=items),
        Variable("count", Causality.INPUT, start=2.0, type=VariableType.INTEGER),
        variables[-1],
    ]
    assert input_ranges(typed, {}, {}, "P.fmu") == ({"on": Range(0.0, 1.0), "level": Range(1.0, 4.0)}, {"count": 2.0})
    many = [Variable(f"u{k}", Causality.INPUT, start=0.0) for k in range(500)]
    with pytest.raises(ConfigError, match="u11 and 488 more; give each"):
        input_ranges([*many, variables[-1]], {}, {}, "P.fmu")
