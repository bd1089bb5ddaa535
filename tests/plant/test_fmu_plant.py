"""FMUs as plants: FMI 2.0 and 3.0, recorded with what their model description says."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.plant.design import Design, Excitation, InputDesign
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.protocol import Plant, load_plant
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.variables import Causality, with_causality
from tests.plant.plants import write_plant

FLOWS = {"flow": np.array([0.5, -0.2, 0.3, 0.0]), "ambient": np.array([280.0, 290.0, 300.0, 290.0])}


@pytest.fixture(scope="module")
def tank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tank as a Python FMU (FMI 2.0)."""
    folder = write_plant(tmp_path_factory.mktemp("tank"))
    return build_plant_fmu("tank.py:Tank", folder, folder / "Tank.fmu")


@pytest.fixture(scope="module", params=list(FmiVersion), ids=lambda fmi: f"fmi{fmi[0]}")
def thermal_mass(request: pytest.FixtureRequest, toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native FMU of each version, with a seed."""
    return build_native_fmu(toy_bundle, tmp_path_factory.mktemp("mass") / "Mass.fmu", BuildConfig(fmi=request.param))


def changed(fmu: Path, path: Path, change: Callable[[str], str], without: str = "never") -> Path:
    """A copy with another modelDescription.xml, without some files."""
    with zipfile.ZipFile(fmu) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "modelDescription.xml":
                content = change(content.decode()).encode()
            if not entry.filename.startswith(without):
                target.writestr(entry, content)
    return path


def test_an_fmu_gives_what_the_plant_in_it_gives(tank: Path) -> None:
    plant, inside = FmuPlant(tank, PlantSettings(parameters=("level_start",))), load_plant("tank.py:Tank", tank.parent)
    assert isinstance(plant, Plant)
    assert plant.communication_step_size == 2.0
    assert [(v.name, v.unit, v.start) for v in with_causality(plant.variables, Causality.INPUT)] == [
        ("flow", "L/s", 0.0),
        ("ambient", "K", 290.0),
    ]
    for seed in (4, 5):
        seen = simulate(plant, seed, {"level_start": 1.7}, FLOWS)
        np.testing.assert_allclose(seen, simulate(inside, seed, {"level_start": 1.7}, FLOWS), rtol=1e-12)


def test_every_run_begins_anew_in_both_versions(thermal_mass: Path, toy_bundle: Bundle) -> None:
    plant = FmuPlant(thermal_mass, PlantSettings(outputs=("temperature", "flow")))
    power = {"power": np.array([5.0, -3.0, 8.0])}
    first = [simulate(plant, seed, {}, power) for seed in (7, 8, 7)]
    np.testing.assert_array_equal(first[0], first[2])
    assert np.abs(first[0] - first[1]).max() > 0.01
    with Session(toy_bundle, seed=7) as session:
        expected = [session.initialize(), *(session.do_step({"power": p}) for p in power["power"])]
    np.testing.assert_allclose(first[0], [[point["temperature"], point["flow"]] for point in expected], rtol=1e-5)


def test_the_first_inputs_are_set_before_initialization(thermal_mass: Path, toy_bundle: Bundle) -> None:
    """The flow at the start depends on the ambient temperature."""
    plant = FmuPlant(thermal_mass)
    seen = simulate(plant, 7, {}, {"power": np.zeros(2), "ambient_temperature": np.full(2, 280.0)})
    with Session(toy_bundle, seed=7, parameters={"ambient_temperature": 280.0}) as session:
        expected = session.initialize()
    np.testing.assert_allclose(seen[0, :2], [expected["temperature"], expected["flow"]], rtol=1e-6)
    assert expected["flow"] > 5.0


def test_what_is_not_modelled_keeps_its_value_and_what_is_left_out_is_said(thermal_mass: Path, tank: Path) -> None:
    settings = PlantSettings(inputs=("flow",), outputs=("temperature",), values={"ambient": 301.0, "level_start": 2.0})
    plant = FmuPlant(tank, settings)
    assert [v.name for v in plant.variables] == ["flow", "temperature"]
    assert simulate(plant, 1, {}, {"flow": FLOWS["flow"]})[1:, 0].tolist() == [302.0] * 4
    assert plant.interface.left_out == ("output level was not chosen",)
    assert [(v.name, v.causality, v.start) for v in plant.face.kept] == [
        ("ambient", "input", 290.0),
        ("level_start", "parameter", 1.0),
        ("area", "parameter", 3.0),
    ]
    assert plant.face.values == {"ambient": 301.0, "level_start": 2.0}


def test_recorded_in_processes_of_its_own_and_anew_when_the_settings_change(tank: Path, tmp_path: Path) -> None:
    design = Design(
        inputs={
            "flow": InputDesign(-1.0, 1.0, (Excitation.STEPS,), (2.0, 6.0)),
            "ambient": InputDesign(280.0, 300.0, (Excitation.RAMPS,), (2.0, 6.0)),
        }
    )
    schedules = draw_schedules(design, 2, 5, 2.0, 9)
    fmu = PlantSource(tank.name, tank.parent, PlantSettings(parameters=("level_start",)))
    runs = record(fmu, schedules, 2, 4, tmp_path / "runs", 2).trajectories
    plain = record(PlantSource("tank.py:Tank", tank.parent), schedules, 2, 4, tmp_path / "plain", 1).trajectories
    assert runs.plant_seed.tolist() == plain.plant_seed.tolist()
    np.testing.assert_allclose(runs.outputs, plain.outputs, rtol=1e-12)
    other = PlantSource(tank.name, tank.parent, PlantSettings(parameters=("level_start",), values={"area": 5.0}))
    assert other.digest(other.load()) != fmu.digest(fmu.load())


def test_a_refused_step_ends_the_run_with_what_the_fmu_logged(tmp_path: Path) -> None:
    folder = write_plant(tmp_path / "bursting")
    fmu = build_plant_fmu("tank.py:Bursting", folder, folder / "Bursting.fmu")
    with pytest.raises(
        PlantError, match=r"Bursting\.fmu: the step at 6 s failed .*it logged: .*the tank of seed 5 burst at step 3"
    ):
        simulate(FmuPlant(fmu), 5, {}, FLOWS)


def test_types_are_written_and_read_as_the_fmu_has_them(tmp_path: Path) -> None:
    """An integer input of the model description is set as one: here the seed, taken as an input."""
    folder = write_plant(tmp_path / "types")
    tank = build_plant_fmu("tank.py:Tank", folder, folder / "Tank.fmu")
    kinds = {v.get("name"): next(iter(v)).tag for v in _variables(tank)}
    assert kinds["seed"] == "Integer"
    plant = FmuPlant(tank, PlantSettings(parameters=("seed",)))
    assert plant.interface.seed == ""
    once = simulate(plant, 1, {"seed": 4.0}, FLOWS)
    np.testing.assert_array_equal(once, simulate(plant, 2, {"seed": 4.0}, FLOWS))
    assert np.abs(once - simulate(plant, 2, {"seed": 5.0}, FLOWS)).max() > 0.0


def _variables(fmu: Path) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(zipfile.ZipFile(fmu).read("modelDescription.xml")).iter("ScalarVariable"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": ("flaw",)}, r"Tank\.fmu has no numeric input 'flaw'; it has flow, ambient"),
        ({"outputs": ("flow",)}, r"has no numeric output 'flow'; it has level, temperature"),
        ({"parameters": ("width",)}, r"has no numeric parameter 'width'; it has level_start, area, seed"),
        ({"values": {"width": 1.0}}, r"has no numeric input or parameter 'width'"),
        ({"values": {"flow": 0.0, "ambient": 290.0}}, r"has no inputs, and no parameters are named"),
    ],
)
def test_names_that_are_not_there_are_refused(tank: Path, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FmuPlant(tank, PlantSettings(**settings))


def test_files_that_are_no_plant_are_refused(tank: Path, tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            FmuPlant(path)

    refused(tmp_path / "none.fmu", "there is no FMU at")
    (tmp_path / "text.fmu").write_text("no archive")
    refused(tmp_path / "text.fmu", "is no FMU, or damaged")
    with zipfile.ZipFile(tmp_path / "empty.fmu", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    refused(tmp_path / "empty.fmu", "it has no modelDescription.xml")
    same = str
    refused(changed(tank, tmp_path / "bare.fmu", same, without="binaries"), "has binaries for no platform, and none for")
    refused(changed(tank, tmp_path / "step.fmu", lambda text: text.replace('stepSize="2.0"', "")), "says no step size")
