"""A surrogate's FMU looks to a master as the plant's FMU does, for every backend and version, and answers by value reference."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from fmpy import extract, read_model_description
from fmpy.fmi1 import FMICallException
from fmpy.fmi2 import FMU2Slave
from fmpy.fmi3 import FMU3Slave
from fmpy.validation import validate_fmu

from surrogate_fmu.errors import BuildError, ConfigError
from surrogate_fmu.face import OWN_NAMES
from surrogate_fmu.fmu.build import build_python_fmu, build_remote_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.scalar import Role
from surrogate_fmu.manifest import DomainPolicy, Manifest
from surrogate_fmu.plant.fmu_description import read_description
from surrogate_fmu.plant.fmu_interface import FmuInterface, read_interface
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.variables import PlantUnit
from tests.face.plants import Mixer, bundle_of, interface_of, xml_of

V2, V3 = FmiVersion.V2, FmiVersion.V3
OWN = {"z_mode", "domain_policy", "device", "in_domain", "domain_distance"}
BACKENDS: dict[str, Callable[..., Path]] = {
    "native": lambda bundle, path, fmi: build_native_fmu(bundle, path, BuildConfig(fmi=fmi)),
    "python": lambda bundle, path, fmi: build_python_fmu(bundle, path, fmi=fmi),
    "remote": lambda bundle, path, fmi: build_remote_fmu(bundle, "127.0.0.1:1", path, fmi=fmi),
}
RUNNING = [(backend, fmi, False) for backend in ("native", "python") for fmi in (V2, V3)] + [("native", V3, True)]


@pytest.fixture(scope="module")
def fmus(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, FmiVersion, bool], Path]:
    """The surrogate of the plant of one version, built by a backend for the same version; each once."""
    folder, built = tmp_path_factory.mktemp("faces"), dict[tuple[str, FmiVersion, bool], Path]()

    def build(backend: str, fmi: FmiVersion, small_types: bool = False) -> Path:
        key = backend, fmi, small_types
        if key not in built:
            bundle = bundle_of(interface_of(fmi, folder, small_types))
            built[key] = BACKENDS[backend](bundle, folder / f"{backend}_{fmi[0]}_{small_types}.fmu", fmi)
        return built[key]

    return build


def face_of(root: ElementTree.Element) -> dict[str, dict[str, Any]]:
    """Of every variable all that a master may go by, in the order of the file; what a type declares stands at the variable."""
    types = {
        t.get("name"): t if t.get("unit") or (t.tag.endswith("Type") and t.tag != "SimpleType") else t[0]
        for t in root.iterfind("TypeDefinitions/*")
    }
    face: dict[str, dict[str, Any]] = {}
    for variable in root.find("ModelVariables") or ():
        value = variable if variable.tag != "ScalarVariable" else variable[0]
        declared = types.get(value.get("declaredType"))
        entry: dict[str, Any] = {"type": value.tag}
        for name in ("valueReference", "causality", "variability", "description"):
            entry[name] = variable.get(name)
        for name in ("unit", "displayUnit", "relativeQuantity", "min", "max", "nominal", "start"):
            entry[name] = value.get(name) or (declared.get(name) if declared is not None else None)
        text = variable.find("Start")
        entry["start"] = entry["start"] if text is None else text.get("value")
        entry["aliases"] = [dict(alias.attrib) for alias in variable.iterfind("Alias")]
        entry["items"] = [] if declared is None else [dict(item.attrib) for item in declared.iter("Item")]
        entry["enumeration"] = value.get("declaredType") if entry["items"] else None
        real = value.tag in ("Real", "Float32", "Float64")
        fixed = entry["causality"] == "parameter"
        entry["variability"] = entry["variability"] or ("fixed" if fixed else "continuous" if real else "discrete")
        face[variable.get("name", "")] = entry
    return face


def parsed(fmu: Path) -> ElementTree.Element:
    return ElementTree.fromstring(zipfile.ZipFile(fmu).read("modelDescription.xml"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fmi", [V2, V3], ids=["fmi2", "fmi3"])
def test_all_of_the_plant_that_a_system_is_wired_to_is_there_unchanged(
    fmus: Callable[..., Path], backend: str, fmi: FmiVersion
) -> None:
    fmu = fmus(backend, fmi)
    plant, surrogate = face_of(ElementTree.fromstring(xml_of(fmi))), face_of(parsed(fmu))
    wired = [name for name, v in plant.items() if v["causality"] not in ("local", "independent") and v["type"] != "Clock"]
    assert [name for name in surrogate if name in plant and name != "t"] == wired == list(surrogate)[: len(wired)]
    for name in wired:
        expected = plant[name] | ({"min": "0", "max": surrogate[name]["max"]} if "seed" in name else {})
        assert surrogate[name] == expected, name
    roots = {"plant": ElementTree.fromstring(xml_of(fmi)), "surrogate": parsed(fmu)}
    told = {whose: root.get("variableNamingConvention", "flat") for whose, root in roots.items()}
    assert told["plant"] == told["surrogate"] == ("structured" if fmi is V2 else "flat")
    # FMPy counts other names of an output as outputs that are missing in the structure.
    assert [problem for problem in validate_fmu(str(fmu)) if fmi is V2 or "InitialUnknowns" not in problem] == []
    if fmi is V3:
        assert surrogate["t"]["valueReference"] == plant["t"]["valueReference"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fmi", [V2, V3], ids=["fmi2", "fmi3"])
def test_what_the_surrogate_adds_collides_with_nothing_of_the_plant(
    fmus: Callable[..., Path], backend: str, fmi: FmiVersion
) -> None:
    plant, surrogate = face_of(ElementTree.fromstring(xml_of(fmi))), face_of(parsed(fmus(backend, fmi)))
    added = {name: v for name, v in surrogate.items() if name not in plant}
    assert {name.removeprefix("surrogate.") for name in added} == OWN
    assert "surrogate.in_domain" in added  # the plant has a local variable of that name
    references = [v["valueReference"] for v in added.values()]
    assert len(set(references)) == len(references)
    assert not {v["valueReference"] for v in plant.values()}.intersection(references)


def test_small_types_of_fmi3_are_kept_by_native_fmus_and_refused_by_the_others(fmus: Callable[..., Path], tmp_path: Path) -> None:
    plant, surrogate = face_of(ElementTree.fromstring(xml_of(V3, True))), face_of(parsed(fmus("native", V3, True)))
    for name in ("heat", "small", "word", "loss", "level", "drop", "many"):
        assert surrogate[name] == plant[name]
    with pytest.raises(BuildError, match=r"no functions for heat \(Float32\), small \(Int8\), .* build with --backend native"):
        fmus("python", V3, True)


def test_another_version_keeps_names_types_and_what_it_can_of_references(fmus: Callable[..., Path], tmp_path: Path) -> None:
    """In FMI 3 no two variables have one reference; types that FMI 2 does not have become those that it has."""
    from_second = face_of(parsed(BACKENDS["native"](bundle_of(interface_of(V2, tmp_path)), tmp_path / "a.fmu", V3)))
    references = [v["valueReference"] for v in from_second.values()]
    assert len(set(references)) == len(references)
    assert from_second["stage"] == face_of(ElementTree.fromstring(xml_of(V2)))["stage"] | {"type": "Int32"}
    from_third = face_of(parsed(BACKENDS["native"](bundle_of(interface_of(V3, tmp_path, True)), tmp_path / "b.fmu", V2)))
    assert {name: from_third[name]["type"] for name in ("heat", "small", "word", "on", "valve", "k")} == {
        "heat": "Real",
        "small": "Integer",
        "word": "Integer",
        "on": "Boolean",
        "valve": "Enumeration",
        "k": "Real",
    }
    assert from_third["small"]["valueReference"] == "41"


# -- answers ---------------------------------------------------------------------------------------------------------------


class Wired:
    """A master that knows value references and types from the plant's description, and has never seen the surrogate's."""

    def __init__(self, fmu: Path, fmi: FmiVersion, small_types: bool, folder: Path) -> None:
        xml = folder / "plant.xml"
        xml.write_text(xml_of(fmi, small_types))
        self.plant = {v.name: v for v in read_model_description(str(xml), validate=False).modelVariables}
        self.description = read_model_description(str(fmu))
        own = {v.name.removeprefix("surrogate."): v for v in self.description.modelVariables if v.name not in self.plant}
        self.plant |= {name: v for name, v in own.items() if name in OWN}
        self.messages: list[str] = []
        unzipped = extract(str(fmu), unzipdir=str(folder / "unzipped"))
        arguments = {
            "guid": self.description.guid or self.description.instantiationToken,
            "unzipDirectory": unzipped,
            "modelIdentifier": self.description.coSimulation.modelIdentifier,
            "instanceName": "one",
        }
        self.third = fmi is V3
        self.fmu = FMU3Slave(**arguments) if self.third else FMU2Slave(**arguments)
        if self.third:
            self.fmu.instantiate(loggingOn=True, logMessage=lambda e, status, category, text: self.messages.append(text.decode()))
        else:
            self.fmu.instantiate(loggingOn=True)

    def _access(self, name: str) -> tuple[str, int]:
        variable = self.plant[name]
        kind = {"Enumeration": "Int64" if self.third else "Integer"}.get(variable.type, variable.type)
        return kind, variable.valueReference

    def set(self, name: str, value: float) -> None:
        kind, reference = self._access(name)
        getattr(self.fmu, f"set{kind}")([reference], [value])

    def get(self, name: str) -> float:
        kind, reference = self._access(name)
        (value,) = getattr(self.fmu, f"get{kind}")([reference])
        return value

    def initialize(self) -> None:
        if self.third:
            self.fmu.enterInitializationMode()
        else:
            self.fmu.setupExperiment()
            self.fmu.enterInitializationMode()
        self.fmu.exitInitializationMode()

    def do_step(self, time: float) -> None:
        self.fmu.doStep(time, 0.5)


def expected(manifest: Manifest, values: Mapping[str, float]) -> dict[str, float]:
    """Outputs of the mixer, rounded as their types want it."""
    x = np.array([values.get(v.name, v.start) for v in manifest.condition], np.float32)
    y = x @ Mixer(manifest.condition_dim, manifest.output_dim).weights.detach().numpy()
    return {v.name: v.nearest(float(number)) for v, number in zip(manifest.outputs, y, strict=True)}


@pytest.fixture(params=RUNNING, ids=lambda p: f"{p[0]}-fmi{p[1][0]}{'-small' * p[2]}")
def wired(request: pytest.FixtureRequest, fmus: Callable[..., Path], tmp_path: Path) -> Any:
    backend, fmi, small_types = request.param
    made = Wired(fmus(backend, fmi, small_types), fmi, small_types, tmp_path)
    made.manifest = bundle_of(interface_of(fmi, tmp_path, small_types)).manifest
    made.backend = backend
    yield made
    made.fmu.freeInstance()


def test_a_master_drives_it_by_the_references_and_types_of_the_plant(wired: Any) -> None:
    manifest = wired.manifest
    variables = [*manifest.condition, *manifest.face.kept]
    assert {v.name: wired.get(v.name) for v in variables} == {v.name: v.start for v in variables}
    wired.set("size", 4)
    values = {"speed": 20.5, "on": False, "valve": 5, "count": 6, "size": 4}
    if "heat" in wired.plant:
        values |= {"heat": 2.25, "small": -100}
    for name, value in values.items():
        if name != "size":
            wired.set(name, value)
    wired.initialize()
    for step in range(3):
        wired.set("speed", values["speed"] + step)
        wired.set("on", step == 1)
        now = values | {"speed": values["speed"] + step, "on": step == 1}
        wired.do_step(0.5 * step)
        outputs = expected(manifest, now)
        for name, number in outputs.items():
            if name == "speed_out":  # the plant says that it is the input itself
                number = now["speed"]
            elif name == "warm":  # and these two one quantity
                number = outputs["temperature"]
            assert wired.get(name) == pytest.approx(number, rel=1e-5), name
        assert {name: wired.get(name) for name in now} == now
    if "version" in wired.plant:
        assert wired.get("version") == 7


def refused(call: Callable[[], object]) -> bool:
    """By its status, or of a Python FMU by what comes after."""
    try:
        call()
    except FMICallException:
        return True
    return False


def test_values_that_are_none_of_their_type_are_refused(wired: Any) -> None:
    wired.initialize()
    for name, bad, good in (("count", 7, 2), ("valve", 3, 5)):
        at_once = refused(lambda name=name, bad=bad: wired.set(name, bad))
        assert at_once or refused(lambda: wired.do_step(0.0))
        wired.set(name, good)
        assert wired.get(name) == good
    wired.do_step(0.0)


def test_what_is_not_modelled_leaves_the_domain_when_it_is_moved(wired: Any) -> None:
    wired.set("lazy", True)
    wired.initialize()
    assert not wired.get("in_domain") and wired.get("domain_distance") == 1.0
    wired.do_step(0.0)
    assert not wired.get("in_domain")
    wired.fmu.reset()
    assert wired.get("lazy") == 0
    wired.set("k", 2.5)  # as it is
    wired.initialize()
    wired.do_step(0.0)
    assert wired.get("in_domain") and wired.get("domain_distance") == 0.0
    wired.set("k", 3.0)  # tunable
    wired.do_step(0.5)
    assert not wired.get("in_domain") and wired.get("domain_distance") == 0.5 and wired.get("k") == 3.0
    state = wired.fmu.getFMUState() if wired.third else wired.fmu.getFMUstate()
    wired.set("k", 2.5)
    wired.do_step(1.0)
    assert wired.get("in_domain")
    wired.fmu.setFMUState(state) if wired.third else wired.fmu.setFMUstate(state)
    assert wired.get("k") == 3.0
    wired.do_step(1.0)
    assert not wired.get("in_domain")


def test_a_text_that_is_not_modelled_is_kept_as_the_numbers_are(wired: Any) -> None:
    assert wired.get("file") in (b"a.txt", "a.txt")
    wired.set("file", "a.txt")
    wired.set("file", "b.txt")
    wired.initialize()
    assert not wired.get("in_domain") and wired.get("domain_distance") == 1.0
    wired.fmu.reset()
    wired.set("file", "b.txt")
    wired.set("file", "a.txt")
    wired.initialize()
    assert wired.get("in_domain")


def test_the_policy_refuse_holds_for_what_is_not_modelled(fmus: Callable[..., Path], tmp_path: Path) -> None:
    for number, (backend, fmi) in enumerate((("native", V2), ("python", V2), ("native", V3), ("python", V3))):
        folder = tmp_path / str(number)
        folder.mkdir()
        wired = Wired(fmus(backend, fmi), fmi, False, folder)
        wired.set("domain_policy", 3)
        wired.initialize()
        wired.do_step(0.0)
        wired.set("k", 3.0)
        assert refused(lambda wired=wired: wired.do_step(0.5))
        wired.set("k", 2.5)
        wired.do_step(0.5)
        wired.fmu.freeInstance()


@pytest.mark.parametrize(("backend", "fmi", "small_types"), RUNNING)
def test_the_projects_own_master_gets_what_a_session_gives(
    fmus: Callable[..., Path], backend: str, fmi: FmiVersion, small_types: bool, tmp_path: Path
) -> None:
    bundle = bundle_of(interface_of(fmi, tmp_path, small_types))
    values = {"speed": 30.0, "on": 0.0, "valve": 5.0, "count": 1.0}
    with (
        Session(bundle, seed=3, parameters={"size": 5.0}) as session,
        FmuSession(fmus(backend, fmi, small_types), seed=3, domain_policy=DomainPolicy.CLAMP, parameters={"size": 5}) as fmu,
    ):
        session.initialize()
        assert fmu.initialize().keys() == session.outputs.keys()
        outputs = session.do_step(values)
        seen = fmu.do_step(values)
        for variable in bundle.manifest.outputs:
            if variable.name not in ("speed_out", "warm"):
                assert seen[variable.name] == pytest.approx(variable.nearest(outputs[variable.name]), rel=1e-5)
        assert fmu.values == session.values
        assert fmu.seed == 3 and fmu.in_domain
        with pytest.raises(Exception, match=r"'on': expected a value of its type boolean, as a whole number, got 0\.5"):
            fmu.set_values({"on": 0.5})
        with pytest.raises(Exception, match="'count'"):
            fmu.set_values({"count": 9.0})
        assert fmu.values == session.values


@pytest.mark.parametrize(("backend", "fmi"), [(backend, fmi) for backend in ("native", "python") for fmi in (V2, V3)])
def test_what_was_set_for_the_recording_starts_as_in_the_plant_and_has_to_be_set(
    backend: str, fmi: FmiVersion, tmp_path: Path
) -> None:
    bundle = bundle_of(interface_of(fmi, tmp_path, values={"k": 3.0, "lazy": 1.0}))
    fmu = BACKENDS[backend](bundle, tmp_path / "set.fmu", fmi)
    assert [face_of(parsed(fmu))[name]["start"] for name in ("k", "lazy")] == ["2.5", "false"]
    with FmuSession(fmu) as session:  # which does set it
        session.initialize()
        assert session.in_domain
    for sets, distance in (((), 1.0), (("k",), 1.0), (("k", "lazy"), 0.0)):
        folder = tmp_path / str(len(sets))
        folder.mkdir()
        wired = Wired(fmu, fmi, False, folder)
        for name in sets:
            wired.set(name, {"k": 3.0, "lazy": True}[name])
        wired.initialize()
        assert wired.get("domain_distance") == distance
        wired.fmu.freeInstance()


@pytest.mark.parametrize("fmi", [V2, V3])
def test_a_service_behind_an_fmu_knows_the_types_too(fmi: FmiVersion, tmp_path: Path) -> None:
    bundle = bundle_of(interface_of(fmi, tmp_path))
    values = {"speed": 12.0, "on": 1.0, "valve": 5.0, "count": 2.0}
    with Server([bundle], ServeConfig(listen="127.0.0.1:0")) as server:
        fmu = build_remote_fmu(bundle, server.address, tmp_path / "remote.fmu", fmi=fmi)
        with FmuSession(fmu, parameters={"size": 6}) as session:
            session.initialize()
            seen = session.do_step(values)
    for name, number in expected(bundle.manifest, values | {"size": 6}).items():
        if name not in ("speed_out", "warm"):
            assert seen[name] == pytest.approx(number, rel=1e-5)


def test_statistics_of_an_ensemble_are_real_whatever_the_output_is(tmp_path: Path) -> None:
    fmu = build_native_fmu(bundle_of(interface_of(V2, tmp_path)), tmp_path / "many.fmu", BuildConfig(ensemble=3))
    face = face_of(parsed(fmu))
    assert {face[f"{name}.mean"]["type"] for name in ("stage", "alarm", "position", "temperature")} == {"Real"}
    assert validate_fmu(str(fmu)) == []


def test_bundles_from_before_have_no_face_and_their_manifest_is_written_as_it_was(toy_bundle: Any) -> None:
    text = toy_bundle.manifest.to_json()
    for word in ("face", "type", "items", "plant_unit"):
        assert f'"{word}"' not in text
    assert Manifest.from_json(text) == toy_bundle.manifest
    manifest = bundle_of_any()
    assert Manifest.from_json(manifest.to_json()) == manifest


def bundle_of_any() -> Manifest:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return bundle_of(interface_of(V2, Path(folder))).manifest


def test_all_own_names_are_known_where_a_plant_is_read() -> None:
    assert {"time"} | {str(role) for role in Role if role not in (Role.KEPT, Role.STATISTIC)} == OWN_NAMES


def test_names_that_are_modelled_are_not_kept(tmp_path: Path) -> None:
    manifest = bundle_of(interface_of(V2, tmp_path)).manifest
    with pytest.raises(ValueError, match=r"the face keeps \['k'\], which are modelled"):
        manifest.replace(variables=(*manifest.variables, manifest.face.kept[0]))


def test_a_description_that_no_variable_can_be_made_of_is_refused(tmp_path: Path) -> None:
    def read(text: str, **settings: Any) -> FmuInterface:
        (tmp_path / "modelDescription.xml").write_text(text)
        return read_interface(read_description(tmp_path, "Bad.fmu"), PlantSettings(**settings), "Bad.fmu")

    with pytest.raises(ConfigError, match=r"Bad\.fmu: its modelDescription\.xml cannot be used: variable 'valve': names and val"):
        read(xml_of(V2).replace('name="open" value="5"', 'name="open" value="2"'))
    without = xml_of(V2).replace('<Enumeration declaredType="ZMode" start="2"/>', '<Enumeration start="2"/>')
    with pytest.raises(ConfigError, match=r"Bad\.fmu: the enumeration 'mode' has no type with items; export the FMU again"):
        read(without, parameters=("mode",))
    assert "parameter mode is described in a way that cannot be" in read(without).left_out
    with pytest.raises(ConfigError, match=r"Bad\.fmu: its modelDescription\.xml cannot be read .*; export it again"):
        read("<fmiModelDescription>")
    with pytest.raises(ConfigError, match=r"Bad\.fmu: 'load' is another name of 'power'; name that one"):
        read(xml_of(V3), outputs=("load",))
    named = read(xml_of(V2), outputs=("version", "stage"))
    assert [v.name for v in named.variables if v.causality == "output"] == ["stage"]
    assert "version" in {v.name for v in named.face.kept}
    assert "output temperature was not chosen" in named.left_out


def test_units_are_kept_and_known_ones_can_be_calculated_with(tmp_path: Path) -> None:
    variables = {v.name: v for v in interface_of(V2, tmp_path).variables}
    assert (variables["temperature"].unit, variables["temperature"].display_unit) == ("K", "degC")
    assert variables["temperature"].plant_unit is None
    assert variables["celsius"].unit == "1"  # to this package C is coulomb
    assert variables["celsius"].plant_unit == PlantUnit("C", (0, 0, 0, 0, 1, 0, 0, 0), 1.0, 273.15)
    assert variables["speed"].unit == "1" and variables["speed"].plant_unit.display_name == "turns"


TUNABLE = {
    V2: ('<ScalarVariable name="size" valueReference="11" causality="parameter" variability="fixed">', "fixed"),
    V3: ('<Int32 name="size" valueReference="11" causality="parameter" ', ""),
}


@pytest.mark.parametrize("fmi", [V2, V3], ids=["fmi2", "fmi3"])
@pytest.mark.parametrize("backend", ["native", "python"])
def test_tunable_parameters_that_are_modelled_stay_so_whatever_their_type(backend: str, fmi: FmiVersion, tmp_path: Path) -> None:
    line, word = TUNABLE[fmi]
    text = xml_of(fmi).replace(line, line.replace(word, "tunable") if word else f'{line}variability="tunable" ')
    (tmp_path / "modelDescription.xml").write_text(text)
    settings = PlantSettings(parameters=("k", "size", "mode") if fmi is V2 else ("k", "size"))
    interface = read_interface(read_description(tmp_path, "Mixer.fmu"), settings, "Mixer.fmu")
    bundle = bundle_of(interface)
    fmu = BACKENDS[backend](bundle, tmp_path / "tunable.fmu", fmi)
    plant, surrogate = face_of(ElementTree.fromstring(text)), face_of(parsed(fmu))
    for name in settings.parameters:
        assert surrogate[name] == plant[name] and surrogate[name]["variability"] == ("fixed" if name == "mode" else "tunable")
    assert validate_fmu(str(fmu)) == [] or fmi is V3  # see above
    wired = Wired(fmu, fmi, False, tmp_path)
    wired.initialize()
    wired.do_step(0.0)
    assert wired.get("in_domain")
    values: dict[str, float] = {}
    for step, (name, value) in enumerate((("k", 4.0), ("size", 5)), start=1):
        wired.set(name, value)
        values[name] = value
        assert wired.get(name) == value
        wired.do_step(0.5 * step)
        outputs = expected(bundle.manifest, values)
        assert wired.get("temperature") == pytest.approx(outputs["temperature"], rel=1e-5)
        assert wired.get("stage") == outputs["stage"] and not wired.get("in_domain")
    assert wired.get("domain_distance") == pytest.approx(2.0 / 2e6)  # of a range of 2e6
    if fmi is V2:
        assert refused(lambda: wired.set("mode", 1)) or refused(lambda: wired.do_step(1.5))
    wired.fmu.freeInstance()
