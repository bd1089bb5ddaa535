"""Taps of a plant with arrays: whole arrays pass, elements are logged, and a surrogate with arrays or with their elements leads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.dataset import dataset_of
from surrogate_fmu.fmu.tap.guard import Leader
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig
from surrogate_fmu.fmu.tap.reading import read_logs
from surrogate_fmu.manifest import Interval
from surrogate_fmu.variables import Causality, element_names
from tests.face.plants import Mixer
from tests.face.rods import rod_bundle
from tests.face.test_arrays import Wired, expected
from tests.face.test_same_face import BACKENDS, refused
from tests.plant.rod import build_rod, rod_steps

V2, V3 = FmiVersion.V2, FmiVersion.V3
PARTNERS = [("native", V3), ("native", V2), ("python", V3)]
STEPS = 9
RANDOM = np.random.default_rng(7)
HEATERS, OPEN, MODE = RANDOM.uniform(0.0, 4.0, (STEPS, 3)), RANDOM.integers(0, 2, (STEPS, 2)), RANDOM.integers(1, 3, STEPS)


@pytest.fixture(scope="module")
def rod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_rod(tmp_path_factory.mktemp("rod") / "Rod.fmu")


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "logs"))
    return tmp_path / "logs"


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The rod's surrogate, all of it modelled, in a domain of heaters up to 4 W; each once."""
    folder, built = tmp_path_factory.mktemp("partners"), dict[tuple[str, FmiVersion], Path]()

    def build(backend: str, fmi: FmiVersion) -> Path:
        if (backend, fmi) not in built:
            manifest = rod_bundle(folder).manifest
            domain = {**manifest.domain, **dict.fromkeys(element_names("heaters", (3,)), Interval(0.0, 4.0))}
            bundle = export_bundle(Mixer(manifest.condition_dim, manifest.output_dim), manifest.replace(domain=domain))
            built[backend, fmi] = BACKENDS[backend](bundle, folder / f"{backend}{fmi[0]}.fmu", fmi)
        return built[backend, fmi]

    return build


def drive(wired: Any, heaters: np.ndarray = HEATERS, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """T and flux (step, ...) after each step."""
    rows = []
    for k in range(first, first + len(heaters)):
        wired.set("heaters", heaters[k - first])
        wired.set("open", OPEN[k].astype(bool))
        wired.set("mode", [int(MODE[k])])
        wired.fmu.doStep(0.5 * k, 0.5)
        rows.append((wired.get("T"), wired.get("flux")))
        assert wired.get("heaters") == heaters[k - first].tolist()
        assert wired.get("open") == OPEN[k].astype(bool).tolist() and wired.get("mode") == MODE[k]
    return np.array([t for t, _ in rows]), np.array([flux for _, flux in rows])


def test_a_recorded_run_is_the_bare_plants_and_elements_are_logged(rod: Path, tmp_path: Path, logs: Path) -> None:
    tap = build_tap_fmu(rod, tmp_path / "Tap.fmu", TapConfig())
    assert [problem for problem in validate_fmu(str(tap.path)) if "InitialUnknowns" not in problem] == []
    wired = Wired(tap.path, tmp_path)
    wired.set("gains", [[1.0, 2.0, 3.0], [0.1, 0.5, 0.3]])
    wired.set("material", [4, 4, 1])
    wired.initialize()
    assert wired.get("material") == [4, 4, 1] and wired.get("size") == 3 and wired.get("version") == [3.0, 1.0]
    t, flux = drive(wired)
    gains = np.array([[1.0, 2.0, 3.0], [0.1, 0.5, 0.3]])
    known, fluxes = rod_steps(HEATERS, OPEN, MODE, gains=gains, material=np.array([4.0, 4.0, 1.0]))
    np.testing.assert_allclose(t, known[1:], rtol=1e-12)
    np.testing.assert_allclose(flux, fluxes[1:], rtol=1e-12, atol=1e-12)
    assert wired.get("stage") == np.floor(known[-1] / 2.0).tolist() and wired.get("hot") == (known[-1] > 25.0).tolist()
    wired.fmu.terminate()
    wired.fmu.freeInstance()
    (run,) = read_logs([logs])
    columns = dict(zip(run.names(Causality.INPUT), run.inputs.T, strict=True))
    np.testing.assert_array_equal(columns["heaters[2]"], HEATERS[:, 1])
    np.testing.assert_array_equal(columns["open[2]"], OPEN[:, 1])
    assert run.parameters["gains[2,2]"] == 0.5 and run.parameters["material[1]"] == 4.0
    outputs = dict(zip(run.names(Causality.OUTPUT), run.plant.T, strict=True))
    np.testing.assert_allclose(outputs["T[3]"][1:], known[1:, 2], rtol=1e-12)
    np.testing.assert_allclose(outputs["flux[2,1]"][1:], fluxes[1:, 1, 0], rtol=1e-12, atol=1e-12)
    runs, _ = dataset_of([run])
    assert {"heaters[1]", "T[1]", "flux[2,3]", "stage[2]"} <= {v.name for v in runs.variables}


@pytest.mark.parametrize(("backend", "fmi"), PARTNERS)
def test_a_shadow_changes_nothing_and_is_logged(
    rod: Path, partner: Callable[..., Path], backend: str, fmi: FmiVersion, tmp_path: Path, logs: Path
) -> None:
    tap = build_tap_fmu(rod, tmp_path / "Tap.fmu", TapConfig(Mode.SHADOW), partner(backend, fmi))
    assert tap.warnings == (f"{backend}{fmi[0]}.fmu has no size",)  # which is not set by anybody
    wired = Wired(tap.path, tmp_path)
    wired.initialize()
    t, _ = drive(wired)
    wired.fmu.freeInstance()
    np.testing.assert_allclose(t, rod_steps(HEATERS, OPEN, MODE)[0][1:], rtol=1e-12)
    (run,) = read_logs([logs])
    assert run.plant_leads.all()
    manifest = rod_bundle(tmp_path).manifest
    seen = dict(zip(run.names(Causality.OUTPUT), run.surrogate_outputs.T, strict=True))
    for k in range(STEPS):
        wanted = expected(manifest, {"heaters": HEATERS[k], "open": OPEN[k], "mode": MODE[k]})
        for name, shape in (("T", (3,)), ("flux", (2, 3)), ("stage", (3,)), ("hot", (3,))):
            told = [seen[element][k + 1] for element in element_names(name, shape)]
            np.testing.assert_allclose(told, np.ravel(wanted[name]), rtol=1e-5)


@pytest.mark.parametrize(("backend", "fmi"), PARTNERS)
def test_the_solver_takes_over_with_all_that_it_has_missed(
    rod: Path, partner: Callable[..., Path], backend: str, fmi: FmiVersion, tmp_path: Path, logs: Path
) -> None:
    heaters = HEATERS.copy()
    heaters[4:6, 1] = 9.0  # outside the domain in one element
    tap = build_tap_fmu(rod, tmp_path / "Tap.fmu", TapConfig(Mode.GUARDED, inside=2), partner(backend, fmi))
    fast, wired = (Wired(path, tmp_path / str(place)) for place, path in enumerate((partner("native", V3), tap.path)))
    for one in (fast, wired):
        one.initialize()
    (led, _), (seen, flux) = drive(fast, heaters), drive(wired, heaters)
    known, fluxes = rod_steps(heaters, OPEN, MODE)
    np.testing.assert_allclose(seen[:4], led[:4], rtol=1e-6)
    np.testing.assert_allclose(seen[4:8], known[5:9], rtol=1e-12)
    np.testing.assert_allclose(flux[4:8], fluxes[5:9], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(seen[8:], led[8:], rtol=1e-6)
    assert np.abs(led - known[1:]).max() > 1.0
    for one in (fast, wired):
        one.fmu.freeInstance()
    (run,) = read_logs([logs])
    assert [h.to for h in run.handovers] == [Leader.PLANT, Leader.SURROGATE]
    assert (
        run.handovers[0].reason == "heaters[2] = 9 lies outside the training range [0, 4]" and run.handovers[0].replayed_steps == 4
    )


def test_a_tolerance_of_an_array_is_that_of_its_elements(rod: Path, partner: Callable[..., Path], tmp_path: Path) -> None:
    config = TapConfig(Mode.GUARDED, agree={"T": 0.5, "T[2]": 2.0, "flux[1,2]": 1.0})
    tap = build_tap_fmu(rod, tmp_path / "Tap.fmu", config, partner("native", V3))
    assert tap.plan.config.agree == {"T[1]": 0.5, "T[2]": 2.0, "T[3]": 0.5, "flux[1,2]": 1.0}
    with pytest.raises(BuildError, match=r"--agree names 'heat', which is no output of Rod\.fmu; it has stage\[1\]"):
        build_tap_fmu(rod, tmp_path / "Tap.fmu", TapConfig(Mode.GUARDED, agree={"heat": 1.0}), partner("native", V3))


def test_going_back_keeps_arrays_while_the_surrogate_leads(rod: Path, partner: Callable[..., Path], tmp_path: Path) -> None:
    wired = Wired(build_tap_fmu(rod, tmp_path / "Tap.fmu", TapConfig(Mode.GUARDED), partner("native", V3)).path, tmp_path)
    wired.initialize()
    drive(wired, HEATERS[:3])
    names = ("heaters", "open", "T", "flux", "hot", "stage")
    before = {name: wired.get(name) for name in names}
    state = wired.fmu.getFMUState()
    first, _ = drive(wired, HEATERS[3:6], 3)
    assert wired.get("T") != before["T"]
    wired.fmu.setFMUState(state)
    assert {name: wired.get(name) for name in names} == before
    np.testing.assert_array_equal(drive(wired, HEATERS[3:6], 3)[0], first)
    wired.fmu.freeFMUState(state)
    wired.fmu.freeInstance()


@pytest.mark.parametrize("mode", [Mode.RECORD, Mode.GUARDED])
def test_what_the_plant_does_not_take_is_refused(rod: Path, partner: Callable[..., Path], mode: Mode, tmp_path: Path) -> None:
    surrogate = None if mode is Mode.RECORD else partner("native", V3)
    wired = Wired(build_tap_fmu(rod, tmp_path / "Tap.fmu", TapConfig(mode), surrogate).path, tmp_path)
    wired.initialize()
    wired.set("heaters", [1.0, 2.0])
    assert any("2 values were given for variables with 3 elements; give all of them" in text for text in wired.messages)
    assert refused(lambda: wired.fmu.doStep(0.0, 0.5))
    wired.set("heaters", [1.0, 2.0, 3.0])
    wired.fmu.doStep(0.0, 0.5)
    if mode is Mode.RECORD:
        wired.set("T", [1.0, 2.0, 3.0])  # an output: refused once
        assert [refused(lambda: wired.fmu.doStep(0.5, 0.5)) for _ in range(2)] == [True, False]
    wired.fmu.freeInstance()
