"""Python FMUs in a host in plain C: what it has to set, the numbers, and that it comes to its end well."""

import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from fmpy import read_model_description

from surrogate_fmu.fmu.config import Backend, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from tests.masters.conftest import BuildPlant
from tests.masters.masters import python_environment
from tests.toy import STEP_SIZE

STEPS, SEED = 6, 5
RUNS = 100

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host and LD_PRELOAD are for Linux")

RunHost = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("host") / "host"
    source = Path(__file__).with_name("host.c")
    command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return program


@pytest.fixture
def run_host(host: Path, plant: BuildPlant, fmi: FmiVersion, tmp_path: Path) -> RunHost:
    """Runs the host with a Python FMU in an environment that has nothing but what is given."""
    folder = tmp_path / "fmu"
    zipfile.ZipFile(plant(Backend.PYTHON, fmi)).extractall(folder)
    description = read_model_description(str(folder))
    references = {variable.name: variable.valueReference for variable in description.modelVariables}
    (library,) = folder.glob(f"binaries/{'x86_64-linux' if fmi is FmiVersion.V3 else 'linux64'}/*.so")
    resources = folder / "resources"
    location = f"{resources}{os.sep}" if fmi is FmiVersion.V3 else resources.as_uri()
    numbers = [references["seed"], SEED, STEP_SIZE, STEPS, references["power"], references["temperature"], references["flow"]]
    command = [str(host), fmi[0], str(library), description.guid, location, *map(str, numbers)]

    def run(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)

    return run


def values_of(finished: subprocess.CompletedProcess[str]) -> np.ndarray:
    assert finished.returncode == 0, f"exit code {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
    *rows, last = finished.stdout.splitlines()
    assert last == "unloaded"
    return np.array([[float.fromhex(text) for text in row.split()] for row in rows])


def test_a_c_host_gets_what_fmpy_gets(run_host: RunHost, plant: BuildPlant, fmi: FmiVersion) -> None:
    with FmuSession(plant(Backend.PYTHON, fmi), seed=SEED) as session:
        session.initialize()
        rows = [session.do_step({"power": 10.0 + k}) for k in range(STEPS)]
    expected = np.array([[row["temperature"], row["flow"]] for row in rows])
    np.testing.assert_array_equal(values_of(run_host(python_environment())), expected)


def test_a_host_that_sets_nothing_is_told_by_its_loader(run_host: RunHost) -> None:
    finished = run_host({})
    assert finished.returncode == 1 and "undefined symbol: _Py" in finished.stderr


def test_a_host_without_torch_on_its_path_is_told_so_and_ends_well(run_host: RunHost) -> None:
    environment = python_environment()
    del environment["PYTHONPATH"]
    finished = run_host(environment)
    assert finished.returncode == 1 and "needs 'torch' in the Python that the host loads" in finished.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_run_of_many_crashes_at_its_end(run_host: RunHost) -> None:
    """Before the interpreter was ended first, most runs did: a double drop inside the libraries of PythonFMU and PythonFMU3."""
    codes = Counter(run_host(python_environment()).returncode for _ in range(RUNS))
    assert codes == {0: RUNS}
