"""Model exchange FMUs as plants: a room under a two-point controller, compiled here, against its exact solution."""

import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.plant.design import Design, Excitation, InputDesign
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.fmu_instance import CoSimulationFmu
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource

POWER, TAU, LOW, HIGH = 1.0, 20.0, 19.0, 21.0
SETTINGS = PlantSettings(communication_step_size=2.0)
VARIABLES = (  # name, causality, start
    ("temperature", "output", None),
    ("ambient", "input", 10.0),
    ("power", "parameter", POWER),
    ("tau", "parameter", TAU),
    ("heating", "output", None),
    ("ticks", "output", None),
)


def built(folder: Path, version: int, *options: str) -> Path:
    """The room, compiled for this machine."""
    if not sys.platform.startswith("linux"):
        pytest.skip("compiled for Linux alone")
    from fmpy import platform, platform_tuple

    command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-shared", "-fPIC", f"-DFMI={version}", *options]
    subprocess.run([*command, "-o", str(folder / "room.so"), str(Path(__file__).with_name("room.c"))], check=True)
    with zipfile.ZipFile(folder / "Room.fmu", "w") as archive:
        archive.writestr("modelDescription.xml", description(version == 3))
        archive.write(folder / "room.so", f"binaries/{platform_tuple if version == 3 else platform}/room.so")
    return folder / "Room.fmu"


def description(third: bool) -> str:
    tag = "Float64" if third else "Real"
    rows = []
    for reference, (name, causality, start) in enumerate(VARIABLES):
        varies = {"parameter": 'variability="fixed"', "input": "", "output": ""}[causality]
        given = "" if start is None else f'start="{start}"'
        common = f'name="{name}" valueReference="{reference}" causality="{causality}" {varies}'
        rows.append(f"<{tag} {common} {given}/>" if third else f"<ScalarVariable {common}><{tag} {given}/></ScalarVariable>")
    rows.append(
        '<Float64 name="slope" valueReference="6" derivative="0"/>'
        if third
        else '<ScalarVariable name="slope" valueReference="6"><Real derivative="1"/></ScalarVariable>'
    )
    if third:
        structure = (
            '<Output valueReference="0"/><Output valueReference="4"/><Output valueReference="5"/>'
            '<ContinuousStateDerivative valueReference="6"/><EventIndicator valueReference="0"/>'
        )
        head = 'fmiVersion="3.0" instantiationToken="room"'
    else:
        structure = (
            '<Outputs><Unknown index="1"/><Unknown index="5"/><Unknown index="6"/></Outputs>'
            '<Derivatives><Unknown index="7"/></Derivatives>'
        )
        head = 'fmiVersion="2.0" guid="room" numberOfEventIndicators="1"'
    return (
        f'<fmiModelDescription {head} modelName="Room"><ModelExchange modelIdentifier="room"/>'
        f'<DefaultExperiment tolerance="1e-9"/><ModelVariables>{"".join(rows)}</ModelVariables>'
        f"<ModelStructure>{structure}</ModelStructure></fmiModelDescription>"
    )


@pytest.fixture(scope="module", params=[2, 3], ids=["fmi2", "fmi3"])
def room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("room"), request.param)


def exact(ambient: np.ndarray, step: float, power: float = POWER, tau: float = TAU) -> np.ndarray:
    """Temperature, heating and ticks (point, 3): exponentials from event to event."""
    value, heating, time = 18.0, 1.0, 0.0
    path = [(value, 0.0, 0.0)]
    for k, outside in enumerate(ambient):
        left = step
        while left > 0.0:
            ends, goal = outside + tau * power * heating, HIGH if heating else LOW
            reached = (ends - goal) / (ends - value) if ends != value else 2.0
            wait = -tau * math.log(reached) if 0.0 < reached < 1.0 else math.inf
            lasts = min(wait, left)
            value = ends + (value - ends) * math.exp(-lasts / tau)
            left -= lasts
            if lasts == wait:
                value, heating = goal, 1.0 - heating
        time = (k + 1) * step
        path.append((value, heating, math.floor(time / 7.0)))
    return np.array(path)


AMBIENT = np.array([10.0] * 20 + [16.0] * 10 + [-2.0] * 20)


def test_events_and_states_are_those_of_the_exact_solution(room: Path):
    plant = FmuPlant(room, SETTINGS)
    for _ in range(2):
        seen = simulate(plant, 1, {}, {"ambient": AMBIENT})
        known = exact(AMBIENT, 2.0)
        np.testing.assert_allclose(seen[:, 0], known[:, 0], atol=1e-5)
        np.testing.assert_array_equal(seen[1:, 1], known[1:, 1])
        # A tick at the end of a step belongs to the events that the next one begins with.
        late = np.isclose(np.arange(51) * 2.0 % 7.0, 0.0) & (np.arange(51) > 0)
        np.testing.assert_array_equal(seen[:, 2] + late * (seen[:, 2] < known[:, 2]), known[:, 2])
    assert {0.0, 1.0} == set(seen[1:, 1]) and seen[-1, 2] == 14.0
    plant.close()


def test_it_is_recorded_as_any_other(room: Path, tmp_path: Path):
    source = PlantSource(room.name, room.parent, PlantSettings(communication_step_size=2.0, parameters=("power",)))
    design = Design({"ambient": InputDesign(5.0, 15.0, (Excitation.STEPS,), (4.0, 20.0))})
    schedules = draw_schedules(design, 3, 15, 2.0, 1)
    runs = record(source, schedules, 1, 1, tmp_path, 1).trajectories
    np.testing.assert_allclose(runs.outputs[2, :, 0], exact(schedules[2].inputs["ambient"], 2.0)[:, 0], atol=1e-5)


def test_what_ends_or_refuses_says_so(room: Path):
    plant = FmuPlant(room, PlantSettings(communication_step_size=100.0))
    with pytest.raises(PlantError, match=r"the step at 600 s failed \(it ends the simulation at 700 s\)"):
        simulate(plant, 1, {}, {"ambient": np.full(12, 10.0)})
    with pytest.raises(PlantError, match="failed"):
        simulate(FmuPlant(room, PlantSettings(communication_step_size=2.0, values={"tau": -1.0})), 1, {}, {"ambient": AMBIENT})
    with pytest.raises(ConfigError, match=r"Room\.fmu is for model exchange only, .*; export it for co-simulation"):
        CoSimulationFmu(room)


@pytest.mark.parametrize("version", [2, 3])
def test_a_time_event_a_rounding_behind_a_step_is_taken(version: int, tmp_path: Path):
    """Steps are summed and events are not: one may be due 1e-15 s after a step has ended, nearer than the solver can step."""
    strict = built(tmp_path, version, "-DSLACK=0.0")
    for step in (0.7, 0.1, 0.35, 1.4):
        plant = FmuPlant(strict, PlantSettings(communication_step_size=step))
        count = round(30.0 / step)
        ambient = np.full(count, 10.0)
        seen = simulate(plant, 1, {}, {"ambient": ambient})
        np.testing.assert_allclose(seen[:, 0], exact(ambient, step)[:, 0], atol=1e-5)
        assert seen[-1, 2] == 4.0
        plant.close()


def test_discrete_states_that_never_settle_are_told(room: Path):
    plant = FmuPlant(room, PlantSettings(communication_step_size=2.0, values={"power": 100.0}))
    with pytest.raises(PlantError, match=r"the step at 0 s failed \(more than 10000 updates .* at 0 s; its discrete states do not"):
        simulate(plant, 1, {}, {"ambient": AMBIENT})
    plant.close()
