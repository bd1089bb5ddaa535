"""The surrogate of a plant with arrays has them too: one variable each in FMI 3.0, with the plant's references and sizes."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from fmpy import extract, read_model_description
from fmpy.fmi1 import FMICallException
from fmpy.fmi3 import FMU3Slave
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.errors import BuildError
from surrogate_fmu.face import Face, FaceArray
from surrogate_fmu.fmu.build import build_remote_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.variables import element_names
from tests.face.plants import Mixer
from tests.face.rods import ALL, SOME, rod_bundle
from tests.face.test_same_face import BACKENDS, face_of, parsed, refused
from tests.plant.rod import ROD, TRIM, with_variables

V2, V3 = FmiVersion.V2, FmiVersion.V3
SHAPES = {"heaters": (3,), "open": (2,), "gains": (2, 3), "material": (3,), "T": (3,), "flux": (2, 3), "hot": (3,), "stage": (3,)}
CASES = [("native", ALL), ("native", SOME), ("python", ALL), ("python", SOME)]
IDS = ["native-all", "native-some", "python-all", "python-some"]


def sizes_of(root: ElementTree.Element) -> dict[str, list[str]]:
    return {v.get("name", ""): [d.get("start", "") for d in v.iterfind("Dimension")] for v in root.find("ModelVariables") or ()}


@pytest.fixture(scope="module")
def rods(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The rod's surrogate by backend, settings and version; each once."""
    folder, built = tmp_path_factory.mktemp("rods"), dict[tuple[str, int, FmiVersion], Path]()

    def build(backend: str, settings: PlantSettings, fmi: FmiVersion = V3) -> Path:
        key = backend, id(settings), fmi
        if key not in built:
            path = folder / f"{backend}_{len(built)}.fmu"
            built[key] = BACKENDS[backend](rod_bundle(folder, settings), path, fmi)
        return built[key]

    return build


# -- the description -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [ALL, SOME], ids=["all", "some"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_are_there_as_in_the_plant(rods: Callable[..., Path], backend: str, settings: PlantSettings) -> None:
    fmu = rods(backend, settings)
    plant, surrogate = ElementTree.fromstring(ROD), parsed(fmu)
    sizes = sizes_of(surrogate)
    assert {name: sizes[name] for name in SHAPES} == {name: [str(n) for n in shape] for name, shape in SHAPES.items()}
    theirs, ours = face_of(plant), face_of(surrogate)
    theirs["heaters"]["start"] = "0.5 0.5 0.5"  # the plant says one value for all
    wired = [name for name, v in theirs.items() if v["causality"] in ("input", "output", "parameter")]
    assert list(ours)[: len(wired)] == wired
    for name in wired:
        expected = theirs[name] | ({"min": "0", "max": ours[name]["max"], "description": None} if name == "seed" else {})
        assert ours[name] == expected, name
    assert ours["T"]["aliases"] == [{"name": "temperatures", "description": "the same"}]
    assert not [name for name in ours if "[" in name]
    # FMPy counts other names of an output as outputs that are missing in the structure.
    assert [problem for problem in validate_fmu(str(fmu)) if "InitialUnknowns" not in problem] == []


def test_the_structure_is_said_of_arrays(tmp_path: Path) -> None:
    """An array depends on all that one of its elements depends on, by an element of it or another."""
    manifest = rod_bundle(tmp_path, SOME).manifest
    mixer = Mixer(manifest.condition_dim, manifest.output_dim)
    inputs, outputs = [v.name for v in manifest.condition], [v.name for v in manifest.outputs]
    with torch.no_grad():
        mixer.weights.zero_()
        for into, of in (("T[1]", "heaters[3]"), ("T[3]", "mode"), ("flux[1,2]", "open[2]"), ("flux[2,3]", "gains[2,1]")):
            mixer.weights[inputs.index(of), outputs.index(into)] = 1.0
    root = parsed(build_native_fmu(export_bundle(mixer, manifest), tmp_path / "sparse.fmu", BuildConfig(fmi=V3)))
    structure = root.find("ModelStructure")
    assert [o.get("valueReference") for o in structure.iterfind("Output")][:5] == ["42", "40", "41", "43", "44"]
    unknowns = {u.get("valueReference"): set(u.get("dependencies", "").split()) for u in structure.iterfind("InitialUnknown")}
    assert "44" not in unknowns  # a constant
    policy = next(v.get("valueReference") for v in root.find("ModelVariables") if v.get("name") == "domain_policy")
    assert {vr: unknowns[vr] - {policy} for vr in ("40", "41", "42", "43")} == {
        "40": {"10", "12"},
        "41": {"11", "20"},
        "42": set(),
        "43": set(),
    }


def test_fmi2_has_the_elements(rods: Callable[..., Path]) -> None:
    for backend in ("native", "python"):
        fmu = rods(backend, SOME, V2)
        face = face_of(parsed(fmu))
        for name, shape in SHAPES.items():
            elements = element_names(name, shape)
            assert name not in face and set(elements) <= set(face)
        assert [face[f"open[{i}]"]["start"] for i in (1, 2)] == ["true", "false"]
        assert face["heaters[1]"]["valueReference"] == "10" and face["T[1]"]["valueReference"] == "40"
        references = [v["valueReference"] for v in face.values()]
        assert len(set(references)) == len(references)
        assert face["flux[1,1]"]["variability"] == "constant" and face["flux[1,2]"]["variability"] == "continuous"
        assert validate_fmu(str(fmu)) == []


def test_types_that_pythonfmu3_does_not_have_are_refused(tmp_path: Path) -> None:
    bundle = rod_bundle(tmp_path, ALL, with_variables(TRIM))
    assert sizes_of(parsed(build_native_fmu(bundle, tmp_path / "small.fmu", BuildConfig(fmi=V3))))["trim"] == ["2"]
    with pytest.raises(BuildError, match=r"no functions for trim \(Float32\), .* build with --backend native"):
        BACKENDS["python"](bundle, tmp_path / "python.fmu", V3)


# -- answers -------------------------------------------------------------------------------------------------------------------


class Wired:
    """A master that knows the plant's references and sizes."""

    def __init__(self, fmu: Path, folder: Path) -> None:
        description = read_model_description(str(fmu))
        self.variables = {v.name: v for v in description.modelVariables}
        self.messages: list[str] = []
        self.fmu = FMU3Slave(
            guid=description.instantiationToken,
            unzipDirectory=extract(str(fmu), unzipdir=str(folder / "unzipped")),
            modelIdentifier=description.coSimulation.modelIdentifier,
            instanceName="one",
        )
        self.fmu.instantiate(loggingOn=True, logMessage=lambda e, status, category, text: self.messages.append(text.decode()))

    def _access(self, name: str) -> tuple[str, int, int]:
        variable = self.variables[name]
        kind = "Int64" if variable.type == "Enumeration" else variable.type
        return kind, variable.valueReference, int(np.prod(variable.shape))

    def get(self, name: str) -> Any:
        kind, reference, size = self._access(name)
        values = list(getattr(self.fmu, f"get{kind}")([reference], size))
        return np.reshape(values, self.variables[name].shape).tolist()

    def set(self, name: str, values: Any) -> None:
        kind, reference, _ = self._access(name)
        getattr(self.fmu, f"set{kind}")([reference], np.ravel(values).tolist())

    def initialize(self) -> None:
        self.fmu.enterInitializationMode()
        self.fmu.exitInitializationMode()


@pytest.fixture(params=CASES, ids=IDS)
def wired(request: pytest.FixtureRequest, rods: Callable[..., Path], tmp_path: Path) -> Iterator[Any]:
    backend, settings = request.param
    made: Any = Wired(rods(backend, settings), tmp_path)
    made.manifest, made.settings, made.backend = rod_bundle(tmp_path, settings).manifest, settings, backend
    yield made
    made.fmu.freeInstance()


STARTS = {
    "heaters": [0.5, 0.5, 0.5],
    "open": [True, False],
    "mode": 1,
    "gains": [[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]],
    "material": [1, 4, 1],
    "version": [3.0, 1.0],
}


def expected(manifest: Manifest, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs as arrays; elements that are not modelled are 0."""
    flat: dict[str, float] = {}
    for name, values in (STARTS | dict(arrays)).items():
        shape = np.shape(values)
        names = element_names(name, shape) if shape else [name]
        flat |= dict(zip(names, map(float, np.ravel(values)), strict=True))
    x = np.array([flat[v.name] for v in manifest.condition], np.float32)
    y = x @ Mixer(manifest.condition_dim, manifest.output_dim).weights.detach().numpy()
    scalars = {v.name: v.nearest(float(number)) for v, number in zip(manifest.outputs, y, strict=True)}
    return {
        name: np.reshape([scalars.get(e, 0.0) for e in element_names(name, SHAPES[name])], SHAPES[name]).tolist()
        for name in ("T", "flux", "hot", "stage")
    }


def assert_outputs(wired: Any, arrays: Mapping[str, Any]) -> None:
    for name, numbers in expected(wired.manifest, arrays).items():
        np.testing.assert_allclose(np.array(wired.get(name), float), numbers, rtol=1e-5, err_msg=name)


def test_a_master_gets_and_sets_whole_arrays(wired: Any) -> None:
    assert {name: wired.get(name) for name in STARTS} == STARTS
    values = {"gains": [[1.0, 2.0, 3.0], [0.75, 0.2, 0.3]], "heaters": [2.0, 0.5, 1.25], "open": [False, True], "mode": 2}
    for name, value in values.items():
        wired.set(name, value)
    wired.initialize()
    assert_outputs(wired, values)
    for step in range(3):
        values["heaters"] = [2.0 + step, 0.5, 1.25]
        values["open"] = [step == 1, True]
        wired.set("heaters", values["heaters"])
        wired.set("open", values["open"])
        wired.fmu.doStep(0.5 * step, 0.5)
        assert_outputs(wired, values)
        assert wired.get("in_domain") and {name: wired.get(name) for name in values} == values
    assert wired.get("version") == [3.0, 1.0]


def test_arrays_and_scalars_go_through_one_call(wired: Any) -> None:
    wired.initialize()
    references = {name: v.valueReference for name, v in wired.variables.items()}
    wired.fmu.setFloat64([references["heaters"]], [1.0, 0.5, 3.0])
    wired.fmu.doStep(0.0, 0.5)
    wanted = expected(wired.manifest, {"heaters": [1.0, 0.5, 3.0]})
    mixed = [references[name] for name in ("domain_distance", "T", "time", "flux")]
    if wired.backend == "python":  # whose library does not tell the time
        mixed.remove(references["time"])
    values = wired.fmu.getFloat64(mixed, 1 + 3 + len(mixed) - 3 + 6)
    np.testing.assert_allclose(values[1:4], wanted["T"], rtol=1e-5)
    np.testing.assert_allclose(np.reshape(values[-6:], (2, 3)), wanted["flux"], rtol=1e-5)
    whole = wired.fmu.getInt64([references["mode"], references["material"], references["z_mode"]], 5)
    assert list(whole) == [1, 1, 4, 1, 1]


def test_a_wrong_number_of_values_is_refused_and_changes_nothing(wired: Any) -> None:
    wired.initialize()
    for name, values, elements in (("heaters", [1.0, 2.0], 3), ("open", [True, True, True], 2)):
        at_once = refused(lambda name=name, values=values: wired.set(name, values))
        assert at_once or refused(lambda: wired.fmu.doStep(0.0, 0.5))
        assert any(f"{len(values)} values" in text and f"{elements} elements" in text for text in wired.messages)
        assert wired.get(name) == STARTS[name]
        wired.set(name, STARTS[name])
    reference = wired.variables["T"].valueReference
    if wired.backend == "native":
        with pytest.raises(FMICallException):
            wired.fmu.getFloat64([reference], 2)
        with pytest.raises(FMICallException):
            wired.fmu.getInt32([wired.variables["stage"].valueReference], 4)
    else:  # the library of PythonFMU3 does not say how many values were asked for
        assert list(wired.fmu.getFloat64([reference], 2)) == wired.get("T")[:2]
    wired.fmu.doStep(0.0, 0.5)


def test_an_element_that_cannot_be_is_named_and_the_array_stays(wired: Any) -> None:
    wired.initialize()
    for name, values, said in (
        ("heaters", [1.0, 2.0, 11.0], "'heaters[3]': 11.0 is outside the allowed range [0, 10]"),
        ("T", [1.0, 2.0, 3.0], "'T[1]' is calculated and cannot be set"),
        ("gains", [[1.0, 2.0, 3.0], [9.0, 0.2, 0.3]], "'gains[2,1]' is a parameter and fixed during a run"),
    ):
        before = wired.get(name)
        at_once = refused(lambda name=name, values=values: wired.set(name, values))
        assert at_once or refused(lambda: wired.fmu.doStep(0.0, 0.5))
        assert any(said in text for text in wired.messages), wired.messages
        if wired.backend == "native":
            assert wired.get(name) == before
        if name != "T":
            wired.set(name, before)
    wired.fmu.doStep(0.0, 0.5)


def test_an_enumeration_in_an_array_takes_its_items_alone(wired: Any) -> None:
    assert refused(lambda: wired.set("material", [1, 2, 1])) or refused(wired.initialize)
    if wired.backend == "native":
        wired.set("material", [1, 4, 4])
        assert wired.get("material") == [1, 4, 4]


def test_what_is_not_modelled_of_an_array_leaves_the_domain_when_it_is_moved(wired: Any) -> None:
    wired.initialize()
    wired.set("heaters", [0.5, 2.5, 0.5])
    wired.fmu.doStep(0.0, 0.5)
    if wired.settings is ALL:
        assert wired.get("in_domain")
        return
    assert not wired.get("in_domain") and wired.get("domain_distance") == 2.0
    assert any("heaters[2] = 2.5 is not modelled, the surrogate knows it at 0.5 alone" in text for text in wired.messages)
    assert_outputs(wired, {})


def test_going_back_keeps_arrays(wired: Any) -> None:
    wired.initialize()
    wired.set("heaters", [4.0, 0.5, 2.0])
    wired.set("open", [False, True])
    wired.fmu.doStep(0.0, 0.5)
    before = {name: wired.get(name) for name in SHAPES}
    state = wired.fmu.getFMUState()
    wired.set("heaters", [0.0, 1.5, 9.0])
    wired.set("open", [True, True])
    wired.fmu.doStep(0.5, 0.5)
    assert wired.get("T") != before["T"] and wired.get("heaters") == [0.0, 1.5, 9.0]
    wired.fmu.setFMUState(state)
    assert {name: wired.get(name) for name in SHAPES} == before
    serialized = wired.fmu.serializeFMUState(state)
    wired.fmu.reset()
    assert wired.get("heaters") == STARTS["heaters"]
    again = wired.fmu.deserializeFMUState(serialized)
    wired.fmu.setFMUState(again)
    assert {name: wired.get(name) for name in SHAPES} == before
    wired.fmu.doStep(0.5, 0.5)
    for kept in (state, again):
        wired.fmu.freeFMUState(kept)


def test_derivatives_of_arrays_are_those_of_their_elements(rods: Callable[..., Path], tmp_path: Path) -> None:
    for number, settings in enumerate((ALL, SOME)):
        (tmp_path / str(number)).mkdir()
        wired = Wired(rods("native", settings), tmp_path / str(number))
        manifest = rod_bundle(tmp_path, settings).manifest
        weights = Mixer(manifest.condition_dim, manifest.output_dim).weights.detach().numpy()
        inputs, outputs = [v.name for v in manifest.condition], [v.name for v in manifest.outputs]
        wired.initialize()
        wired.fmu.doStep(0.0, 0.5)
        references = {name: v.valueReference for name, v in wired.variables.items()}
        unknowns = [*element_names("T", (3,)), *element_names("flux", (2, 3))]
        for direction in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 2.0, -1.0]):
            known = np.zeros(len(inputs))
            for name, value in zip(element_names("heaters", (3,)), direction, strict=True):
                if name in inputs:
                    known[inputs.index(name)] = value
            dy = dict(zip(outputs, known @ weights, strict=True))
            seen = wired.fmu.getDirectionalDerivative([references["T"], references["flux"]], [references["heaters"]], direction, 9)
            np.testing.assert_allclose(seen, [dy.get(name, 0.0) for name in unknowns], rtol=1e-5, atol=1e-7)
        wired.fmu.freeInstance()


# -- masters -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmi", [V2, V3])
@pytest.mark.parametrize(("backend", "settings"), CASES, ids=IDS)
def test_the_projects_own_master_gets_what_a_session_gives(
    rods: Callable[..., Path], backend: str, settings: PlantSettings, fmi: FmiVersion, tmp_path: Path
) -> None:
    bundle = rod_bundle(tmp_path, settings)
    values = {"heaters[1]": 3.0, "heaters[3]": 1.0, "open[2]": 1.0, "mode": 2.0}
    with (
        Session(bundle, seed=3, parameters={"gains[2,1]": 0.5}) as session,
        FmuSession(rods(backend, settings, fmi), seed=3, parameters={"gains[2,1]": 0.5}) as fmu,
    ):
        session.initialize()
        assert fmu.initialize().keys() == session.outputs.keys()
        snapshot = fmu.snapshot()
        outputs, seen = session.do_step(values), fmu.do_step(values)
        for variable in bundle.manifest.outputs:
            assert seen[variable.name] == pytest.approx(variable.nearest(outputs[variable.name]), rel=1e-5)
        assert fmu.values == session.values and fmu.in_domain
        with pytest.raises(Exception, match=r"'heaters\[1\]': 11\.0 is outside"):
            fmu.set_values({"open[1]": 0.0, "heaters[1]": 11.0})
        assert fmu.values == session.values
        fmu.restore(snapshot)
        assert fmu.values["heaters[1]"] == 0.5 and fmu.do_step(values) == seen


@pytest.mark.parametrize("fmi", [V2, V3])
def test_a_service_behind_an_fmu_with_arrays(fmi: FmiVersion, tmp_path: Path) -> None:
    bundle = rod_bundle(tmp_path, SOME)
    values = {"heaters[1]": 3.0, "open[2]": 1.0, "mode": 2.0}
    with Server([bundle], ServeConfig(listen="127.0.0.1:0")) as server:
        fmu = build_remote_fmu(bundle, server.address, tmp_path / "remote.fmu", fmi=fmi)
        with FmuSession(fmu) as session:
            session.initialize()
            seen = session.do_step(values)
    wanted = expected(bundle.manifest, {"heaters": [3.0, 0.5, 0.5], "open": [True, True], "mode": 2})
    assert [seen[f"T[{i}]"] for i in (1, 2, 3)] == pytest.approx(wanted["T"], rel=1e-5)
    assert (seen["stage[2]"], seen["hot[3]"]) == (wanted["stage"][1], wanted["hot"][2])


def test_an_ensemble_tells_statistics_of_elements(tmp_path: Path) -> None:
    fmu = build_native_fmu(rod_bundle(tmp_path, SOME), tmp_path / "many.fmu", BuildConfig(fmi=V3, ensemble=3))
    face = face_of(parsed(fmu))
    assert {face[name]["type"] for name in ("T[1].mean", "flux[2,3].std", "hot[1].q95")} == {"Float64"}
    assert "flux[1,1].mean" not in face and not [name for name in face if name.startswith("surrogate.")]
    assert validate_fmu(str(fmu)) == [] or "InitialUnknowns" in validate_fmu(str(fmu))[0]


# -- what is written of it -----------------------------------------------------------------------------------------------------


def test_a_manifest_keeps_arrays_and_has_none_where_the_plant_has_none(tmp_path: Path, toy_bundle: Any) -> None:
    manifest = rod_bundle(tmp_path, SOME).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert '"arrays"' in manifest.to_json() and '"arrays"' not in toy_bundle.manifest.to_json()
    with pytest.raises(ValueError, match=r"the array 'T' lacks its elements \['T\[3\]'\]; they must be variables, or kept"):
        manifest.replace(variables=tuple(v for v in manifest.variables if v.name != "T[3]"))
    with pytest.raises(ValueError, match=r"the array 'a' has the shape \(0,\); expected at least one dimension, each at least 1"):
        Face((), arrays=(FaceArray("a", (0,), 1),))
