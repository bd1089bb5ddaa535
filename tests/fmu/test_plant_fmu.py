"""A plant as an FMU."""

from pathlib import Path

import fmpy
import pytest
from fmpy.fmi1 import FMICallException
from fmpy.validation import validate_fmu

from surrogate_fmu.errors import BuildError, ConfigError
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.plant.protocol import load_plant

SOURCE = '''
"""A tank."""

import numpy as np

from surrogate_fmu.errors import PlantError
from surrogate_fmu.variables import Causality, Variable


class Tank:
    """A tank with a leak.

    The seed chooses the leak.
    """

    communication_step_size = 0.5
    variables = (
        Variable("inflow", Causality.INPUT, "L/s", "water in", 1.0, 0.0, 10.0),
        Variable("level_start", Causality.PARAMETER, "m", "level at the start", 2.0, 0.0, 10.0),
        Variable("level", Causality.OUTPUT, "m", "level"),
    )

    def reset(self, seed, parameters):
        self.leak = np.random.default_rng(seed).uniform(0.1, 0.2)
        self.level = parameters.get("level_start", 2.0)
        return {"level": self.level}

    def do_step(self, inputs, communication_step_size):
        self.level += communication_step_size * (0.1 * inputs["inflow"] - self.leak * self.level)
        if self.level > 4.0:
            raise PlantError(f"the tank overflowed, it is {self.level / 0.04:.0f} % full")
        return {"level": self.level}
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tank.py").write_text(SOURCE)
    return tmp_path


def test_numbers_are_those_of_the_plant(folder: Path) -> None:
    path = build_plant_fmu("tank.py:Tank", folder, folder / "Tank.fmu")
    assert validate_fmu(str(path)) == []
    description = fmpy.read_model_description(str(path))
    assert description.description == "A tank with a leak." and not description.coSimulation.canGetAndSetFMUstate
    plant = load_plant("tank.py:Tank", folder)
    for seed in (0, 4):
        result = fmpy.simulate_fmu(
            str(path), stop_time=5.0, output_interval=0.5, start_values={"seed": seed, "level_start": 1.5, "inflow": 3.0}
        )
        expected = [plant.reset(seed, {"level_start": 1.5})["level"]]
        expected += [plant.do_step({"inflow": 3.0}, 0.5)["level"] for _ in range(10)]
        assert result["level"].tolist() == expected


def test_instances_are_independent_and_failure_is_told(folder: Path) -> None:
    from fmpy.fmi2 import FMU2Slave, fmi2CallbackFunctions, fmi2CallbackLoggerTYPE

    path = build_plant_fmu("tank.py:Tank", folder, folder / "Tank.fmu")
    unpacked = fmpy.extract(str(path), str(folder / "unpacked"))
    description = fmpy.read_model_description(unpacked)
    references = {variable.name: variable.valueReference for variable in description.modelVariables}
    messages: list[str] = []
    callbacks = fmi2CallbackFunctions()
    callbacks.logger = fmi2CallbackLoggerTYPE(lambda _e, _n, _s, _c, text: messages.append(text.decode()))
    fmus = []
    for inflow in (0.0, 10.0):
        fmu = FMU2Slave(
            guid=description.guid,
            unzipDirectory=str(unpacked),
            modelIdentifier=description.coSimulation.modelIdentifier,
            instanceName="tank",
        )
        fmu.instantiate(callbacks=callbacks, loggingOn=True)
        fmu.setupExperiment()
        fmu.setReal([references["inflow"]], [inflow])
        fmu.enterInitializationMode()
        fmu.exitInitializationMode()
        fmus.append(fmu)
    calm, full = fmus
    calm.doStep(0.0, 0.5)
    full.doStep(0.0, 1.0)
    assert calm.getReal([references["level"]])[0] < 2.0 < full.getReal([references["level"]])[0]
    with pytest.raises(FMICallException):
        full.doStep(1.0, 50.0)
    assert messages[-1].startswith("PlantError: the tank overflowed") and messages[-1].endswith("%% full")
    with pytest.raises(FMICallException):
        full.doStep(1.0, 0.5)
    assert "fmi2Reset" in messages[-1]
    with pytest.raises(FMICallException):
        full.getFMUstate()
    full.reset()
    full.setupExperiment()
    full.enterInitializationMode()
    full.exitInitializationMode()
    full.doStep(0.0, 0.5)
    for fmu in fmus:
        fmu.freeInstance()


def test_array_variables_of_a_plant_are_a_build_error(folder: Path) -> None:
    (folder / "array.py").write_text(SOURCE.replace('"level")', '"level", shape=(2,))'))
    with pytest.raises(BuildError, match="level"):
        build_plant_fmu("array.py:Tank", folder, folder / "a.fmu")
    with pytest.raises(ConfigError):
        build_plant_fmu("nothing.py:Tank", folder, folder / "a.fmu")


def test_a_tunable_parameter_of_a_plant_is_fixed_for_the_plant_gets_it_at_the_start(folder: Path) -> None:
    text = SOURCE.replace(
        "from surrogate_fmu.variables import Causality,", "from surrogate_fmu.variables import Causality, Variability,"
    )
    line = next(line for line in text.splitlines() if "Causality.PARAMETER" in line)
    (folder / "tunable.py").write_text(text.replace(line, line.rstrip(",").rstrip(")") + ", variability=Variability.TUNABLE),"))
    fmu = build_plant_fmu("tunable.py:Tank", folder, folder / "Tunable.fmu")
    variables = fmpy.read_model_description(str(fmu)).modelVariables
    assert {v.variability for v in variables if v.causality == "parameter"} == {"fixed"}
