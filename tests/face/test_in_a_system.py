"""A surrogate in the place of a plant with whole numbers, booleans and enumerations, in a system and in recordings of it."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories, write_trajectories
from surrogate_fmu.distill.replay import record_test_runs
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.plant.design import Design, Excitation, InputDesign, Range
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.ssp.master import SystemMaster
from surrogate_fmu.ssp.structure import read_structure
from surrogate_fmu.ssp.swap import swap
from surrogate_fmu.ssp.tap import record_in_system
from surrogate_fmu.variables import Causality, EnumerationItem, Variable, VariableType
from tests.face.plants import bundle_of, interface_of
from tests.face.test_same_face import face_of, parsed
from tests.ssp.systems import component, connection, connector, system, write_ssp

CONNECTORS = [
    connector("on", "input", "Boolean"),
    connector("count", "input", "Integer"),
    connector("stage", "output", "Integer"),
    connector("alarm", "output", "Boolean"),
    connector("temperature", "output"),
]
# With an enumeration between, whose connectors need no type.
VALVE = ['<ssd:Connector name="valve" kind="input"/>', '<ssd:Connector name="position" kind="output"/>']

HEATER = '''
"""A heater with stages, a switch and modes, and a fan that is counted."""

from surrogate_fmu.variables import Causality, EnumerationItem, Variable, VariableType

MODES = (EnumerationItem("eco", 1), EnumerationItem("comfort", 2), EnumerationItem("boost", 4))


class Heater:
    """A heater."""

    communication_step_size = 0.5
    variables = (
        Variable("warm", Causality.OUTPUT, type=VariableType.BOOLEAN, value_reference=40),
        Variable("mode", Causality.INPUT, start=1.0, type=VariableType.ENUMERATION, items=MODES, value_reference=8),
        Variable("temperature", Causality.OUTPUT, "K", display_unit="degC", value_reference=12),
        Variable("gain", Causality.PARAMETER, start=2.0, value_reference=100),
        Variable("on", Causality.INPUT, start=0.0, type=VariableType.BOOLEAN, value_reference=3),
        Variable("fans", Causality.INPUT, start=1.0, min=0.0, max=4.0, type=VariableType.INTEGER, value_reference=2),
        Variable("stage", Causality.OUTPUT, type=VariableType.INTEGER, value_reference=77),
    )

    def reset(self, seed, parameters):
        self.gain, self.temperature = parameters.get("gain", 2.0), 290.0
        return self.outputs(0.0)

    def do_step(self, inputs, communication_step_size):
        for name in ("mode", "on", "fans"):
            assert inputs[name] == int(inputs[name])
        power = self.gain * inputs["on"] * inputs["mode"]
        self.temperature += 0.1 * (power - 0.05 * (1.0 + inputs["fans"]) * (self.temperature - 290.0))
        return self.outputs(power)

    def outputs(self, power):
        return {"temperature": self.temperature, "warm": float(self.temperature > 295.0), "stage": float(round(power))}
'''


@pytest.fixture(scope="module")
def mixers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model as the FMU of a plant, as another tool would make it, and as those of its surrogates."""
    folder = tmp_path_factory.mktemp("mixers")
    bundle = bundle_of(interface_of(FmiVersion.V2, folder))
    return {fmi: build_native_fmu(bundle, folder / f"Mixer{fmi[0]}.fmu", BuildConfig(fmi=fmi)) for fmi in FmiVersion}


@pytest.fixture
def pair(mixers: dict[str, Path], tmp_path: Path) -> Path:
    """Two mixers whose outputs go into each other's inputs, with values that a system sets."""
    values = (
        "<ssd:ParameterBindings><ssd:ParameterBinding><ssd:ParameterValues>"
        '<ssv:ParameterSet version="1.0" name="values"><ssv:Parameters>'
        '<ssv:Parameter name="mode"><ssv:Enumeration value="b"/></ssv:Parameter>'
        '<ssv:Parameter name="size"><ssv:Integer value="5"/></ssv:Parameter>'
        '<ssv:Parameter name="lazy"><ssv:Boolean value="true"/></ssv:Parameter>'
        "</ssv:Parameters></ssv:ParameterSet></ssd:ParameterValues></ssd:ParameterBinding></ssd:ParameterBindings>"
    )
    names = [("stage", "count"), ("alarm", "on"), ("position", "valve")]
    wires = [connection(f"{a}.{out}", f"{b}.{into}") for a, b in (("one", "two"), ("two", "one")) for out, into in names]
    parts = [component(name, "resources/Mixer.fmu", [*CONNECTORS, *VALVE], values) for name in ("one", "two")]
    return write_ssp(tmp_path / "pair.ssp", system("pair", parts, wires), {"resources/Mixer.fmu": mixers[FmiVersion.V2]}, stop=3.0)


def test_a_system_takes_the_surrogate_for_the_plant_and_gives_the_same(pair: Path, mixers: dict[str, Path], tmp_path: Path) -> None:
    for fmi, fmu in mixers.items():
        warnings = swap(pair, "two", fmu, tmp_path / f"{fmi}.ssp").warnings
        assert warnings == (
            f"the system sets 'lazy' to 1; {fmu.name} knows it at 0 alone and will say that it is outside its domain",
        )
        runs = []
        for path in (pair, tmp_path / f"{fmi}.ssp"):
            with SystemMaster(read_structure(path)) as master:
                runs.append(master.run(0.5, 3.0))
        assert runs[0].signals.keys() == runs[1].signals.keys() >= {"two.stage", "two.alarm", "two.position"}
        for name, signal in runs[0].signals.items():
            np.testing.assert_allclose(runs[1].signals[name], signal, rtol=1e-6)
        assert set(runs[0].signals["two.position"]) <= {1.0, 2.0, 5.0}
        with SystemMaster(read_structure(pair)) as master:
            assert master.seeds(4) == {"one": {"noise.random_seed": 4.0}, "two": {"noise.random_seed": 100_004.0}}


def test_a_value_that_is_none_of_the_parameters_type_is_refused_in_words(pair: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.ssp"
    with zipfile.ZipFile(pair) as source, zipfile.ZipFile(bad, "w") as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry).replace(b'Enumeration value="b"', b'Enumeration value="c"'))
    with (
        SystemMaster(read_structure(bad)) as master,
        pytest.raises(
            ConfigError, match=r"sets 'mode' of 'one' to 'c'; expected a number, true or false, or one of its items: a, b"
        ),
    ):
        master.run(0.5, 1.0)


def test_what_is_tapped_in_a_system_has_types_and_face(pair: Path, tmp_path: Path) -> None:
    tapped = record_in_system(pair, "two", 0.5)
    assert {v.name: v.type for v in tapped.variables}["position"] is VariableType.ENUMERATION
    assert tapped.face is not None and "speed" in {v.name for v in tapped.face.kept}  # which nothing drives
    write_trajectories(tapped, tmp_path / "tapped.nc")
    read = read_trajectories(tmp_path / "tapped.nc")
    assert (read.variables, read.face) == (tapped.variables, tapped.face)


@pytest.fixture(scope="module")
def heater(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heater")
    (folder / "heater.py").write_text(HEATER)
    return build_plant_fmu("heater.py:Heater", folder, folder / "Heater.fmu")


def test_recordings_have_values_of_the_types(heater: Path, tmp_path: Path) -> None:
    inputs = {"mode": (1.0, 4.0), "on": (0.0, 1.0), "fans": (0.0, 4.0)}
    every = (Excitation.RAMPS, Excitation.NOISE)
    design = Design({name: InputDesign(low, high, every, (1.0, 5.0)) for name, (low, high) in inputs.items()})
    runs = record(
        PlantSource(heater.name, heater.parent, PlantSettings(parameters=("gain",))),
        draw_schedules(design, 4, 40, 0.5, 1),
        1,
        1,
        tmp_path / "runs",
        1,
    ).trajectories
    allowed = {"mode": {1.0, 2.0, 4.0}, "on": {0.0, 1.0}, "fans": {0.0, 1.0, 2.0, 3.0, 4.0}}
    for column, name in enumerate(runs.names(Causality.INPUT)):
        assert set(runs.inputs[..., column].ravel()) == allowed[name]
    assert runs.face is not None and runs.face.seed is not None and runs.face.order[0] == "warm"


def test_replayed_it_gets_values_of_its_types_and_what_was_set(heater: Path) -> None:
    interface = FmuPlant(heater, PlantSettings(values={"gain": 4.0})).interface
    domain = {v.name: Interval(0.0, 4.0) for v in interface.variables} | {"mode": Interval(1.0, 4.0), "on": Interval(0.0, 1.0)}
    manifest = Manifest("heater", interface.variables, 0.5, 0, 0, 0, domain, face=interface.face)
    runs = record_test_runs(manifest, heater, 30, 6, 1, 1)
    stage = runs.outputs[..., runs.names(Causality.OUTPUT).index("stage")]
    assert stage.max() == 16.0 and runs.face is not None and runs.face.values == {"gain": 4.0}  # gain 4 in mode 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_distilled_it_has_the_same_face(heater: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = tmp_path / "Fast.fmu"
    assert main(["distill", str(heater), "-o", str(fast), "--budget", "90s", "--jobs", "2"]) in (0, 8)
    said = capsys.readouterr().out
    assert "input mode from 1 to 4" in said and "kept and not modelled" in said and "gain = 2" in said
    plant, surrogate = face_of(parsed(heater)), face_of(parsed(fast))
    assert list(surrogate)[: len(plant)] == list(plant)
    assert {name: surrogate[name] for name in plant} == plant


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": VariableType.BOOLEAN, "unit": "K"}, "a variable of the type boolean has no unit and is not continuous, got 'K'"),
        ({"type": VariableType.BOOLEAN, "start": 0.5}, "the start value 0.5 is no value of its type boolean"),
        ({"type": VariableType.INTEGER, "start": 1.5}, "the start value 1.5 is no value of its type integer"),
        ({"type": VariableType.ENUMERATION}, "an enumeration needs items"),
        ({"items": (EnumerationItem("a", 1),)}, "no other type has any; its type is real"),
        ({"type": VariableType.ENUMERATION, "items": (EnumerationItem("a", 1), EnumerationItem("a", 2))}, "items must differ"),
        (
            {"type": VariableType.ENUMERATION, "items": (EnumerationItem("a", 1),), "start": 2.0},
            "is no value of its type enumeration",
        ),
        ({"fmi3_type": "Int8"}, "'Int8' is no FMI 3.0 type of a variable of the type real; use one of Float32, Float64"),
        ({"type": VariableType.BOOLEAN, "fmi3_type": "Int8"}, "leave fmi3_type out"),
    ],
)
def test_variables_that_contradict_themselves_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Variable(**({"name": "v", "causality": Causality.INPUT, "start": 1.0} | change))


def test_the_nearest_value_is_one_of_the_type_and_the_upper_one_of_two() -> None:
    items = (EnumerationItem("a", -1), EnumerationItem("b", 2), EnumerationItem("c", 5))
    valve = Variable("v", Causality.INPUT, start=2.0, type=VariableType.ENUMERATION, items=items)
    assert [valve.nearest(x) for x in (-9.0, 0.49, 0.5, 3.4, 3.5, 99.0)] == [-1.0, -1.0, 2.0, 2.0, 5.0, 5.0]
    small = Variable("v", Causality.INPUT, start=2.0, max=9.0, type=VariableType.INTEGER, fmi3_type="Int8")
    assert [small.nearest(x) for x in (-1e9, -0.5, 0.5, 2.49, 1e9)] == [-128.0, 0.0, 1.0, 2.0, 9.0]
    switch = Variable("v", Causality.INPUT, start=1.0, type=VariableType.BOOLEAN)
    assert [switch.nearest(x) for x in (-3.0, 0.49, 0.5, 7.0)] == [0.0, 0.0, 1.0, 1.0]
    assert Variable("v", Causality.INPUT, start=1.0).nearest(0.3) == 0.3
    assert Range(*switch.limits) == Range(0.0, 1.0)
