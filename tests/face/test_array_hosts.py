"""Arrays of the rod and its surrogates in other masters: one in C, linked with the sources and sanitizers, and FMPy's own loop."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fmpy import read_model_description, simulate_fmu

from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.plant.settings import PlantSettings
from tests.face.rods import ALL, SOME, rod_bundle
from tests.face.test_arrays import expected
from tests.face.test_same_face import BACKENDS
from tests.plant import rod as rod_module
from tests.plant.rod import build_rod, rod_steps

FOLDER = Path(__file__).parent
GAINS = np.array([[1.0, 2.0, 3.0], [0.5, 0.2, 0.3]])
HEATERS = np.array([[0.5 * k, 1.0, 3.0 - 0.25 * k] for k in range(6)])
OPEN = np.array([[k % 2 == 0, k % 3 == 0] for k in range(6)], float)


def run_host(sources: Sequence[Path], include: Path, token: str, folder: Path) -> np.ndarray:
    """Rows of the host, at the start, before and after each step."""
    headers = Path(str(find_spec("fmpy").origin)).with_name("c-code")
    compiler = ["gcc", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if shutil.which("gcc") is None:
        compiler = [sys.executable, "-m", "ziglang", "cc"]
    program = folder / "host"
    files = [str(FOLDER / "array_host.c"), *map(str, sources)]
    subprocess.run([*compiler, "-O1", "-g", f"-I{headers}", f"-I{include}", "-o", str(program), *files, "-lm"], check=True)
    finished = subprocess.run([str(program), token], capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stderr[-4000:]
    rows = np.array([[float(text) for text in row.split()] for row in finished.stdout.splitlines()])
    np.testing.assert_array_equal(rows[1::2], rows[0:-1:2])  # going back leaves nothing of the other step
    return np.concatenate([rows[:1], rows[2::2]])


def test_a_host_in_c_drives_the_plant(tmp_path: Path) -> None:
    rows = run_host([Path(rod_module.__file__).with_name("rod.c")], tmp_path, "{rod}", tmp_path)
    temperatures, fluxes = rod_steps(HEATERS, OPEN, np.full(6, 2), gains=GAINS)
    np.testing.assert_allclose(rows[:, :3], temperatures, rtol=1e-12)
    np.testing.assert_allclose(rows[1:, 3:9], fluxes[1:].reshape(6, 6), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", [ALL, SOME], ids=["all", "some"])
def test_a_host_in_c_drives_the_surrogate(settings: PlantSettings, tmp_path: Path) -> None:
    bundle = rod_bundle(tmp_path, settings)
    fmu = build_native_fmu(bundle, tmp_path / "rod.fmu", BuildConfig(fmi=FmiVersion.V3, with_sources=True))
    with zipfile.ZipFile(fmu) as archive:
        archive.extractall(tmp_path / "unpacked")
    folder = tmp_path / "unpacked" / "sources"
    rows = run_host(sorted(folder.glob("*.c")), folder, read_model_description(str(fmu)).instantiationToken, tmp_path)
    for k in range(6):
        values = {"gains": GAINS, "mode": 2, "heaters": HEATERS[k], "open": OPEN[k]}
        np.testing.assert_allclose(rows[k + 1, :15], row_of(bundle.manifest, values), rtol=1e-5)
        np.testing.assert_array_equal(rows[k + 1, 15:], [*HEATERS[k], *OPEN[k]])


def row_of(manifest: Manifest, values: dict) -> list[float]:
    wanted = expected(manifest, values)
    return [float(x) for name in ("T", "flux", "hot", "stage") for x in np.ravel(wanted[name])]


@pytest.mark.parametrize("backend", ["native", "python"])
def test_fmpys_own_loop_takes_arrays_of_both(backend: str, tmp_path: Path) -> None:
    # Its inputs may be arrays where they are continuous; discrete ones start where they stay.
    inputs = np.array([(0.5 * k, h) for k, h in enumerate(HEATERS)], [("time", float), ("heaters", float, (3,))])
    bundle = rod_bundle(tmp_path, ALL)
    surrogate = BACKENDS[backend](bundle, tmp_path / "surrogate.fmu", FmiVersion.V3)
    runs = [
        simulate_fmu(
            str(fmu),
            stop_time=2.5,
            step_size=0.5,
            output_interval=0.5,
            input=inputs,
            start_values={"gains": GAINS.ravel().tolist(), "open": [False, True], "mode": 2},
            output=["T", "flux", "hot", "stage"],
        )
        for fmu in (build_rod(tmp_path / "Rod.fmu"), surrogate)
    ]
    assert runs[0].dtype == runs[1].dtype
    temperatures, _ = rod_steps(HEATERS[:5], np.tile([0, 1], (5, 1)), np.full(5, 2), gains=GAINS)
    np.testing.assert_allclose(runs[0]["T"], temperatures, rtol=1e-12)
    for k in range(5):
        wanted = expected(bundle.manifest, {"gains": GAINS, "mode": 2, "heaters": HEATERS[k], "open": [0, 1]})
        for name in ("T", "flux", "hot", "stage"):
            np.testing.assert_allclose(np.array(runs[1][name][k + 1], float), wanted[name], rtol=1e-5)
