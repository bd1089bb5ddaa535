"""The masters, and one run of one of them: a process of its own, with a timeout."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from surrogate_fmu.fmu.config import Backend, FmiVersion, OwnOutputs
from tests.masters.environment import python_with, version_in
from tests.masters.system import System, Trajectory

DRIVERS = Path(__file__).with_name("drivers")
TIMEOUT_S = 120.0


class MasterError(Exception):
    """The master refused, crashed, or did not end; the text is what it printed last."""


def tbb_environment() -> dict[str, str]:
    """ECOS is linked with oneTBB, whose wheel puts the library beside Python's own."""
    library = next(file for file in distribution("tbb").files or () if file.name == "libtbb.so.12")
    return {"LD_LIBRARY_PATH": str(Path(str(library.locate())).resolve().parent)}


def python_environment() -> dict[str, str]:
    """What a host that is not Python needs for a Python FMU: libpython in the process, torch and numpy on Python's path."""
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    folders = [entry for entry in sys.path if entry.endswith("site-packages")]
    return {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(folders)}


@dataclass(frozen=True)
class Master:
    """A master from the package registry.

    Attributes:
        driver: script in `drivers/`.
        distributions: what must be installed.
        versions: of the standard that it takes, also mixed in one system.
        refuses: backends that it does not take in a version.
        rollback: whether it can take steps again from a saved state.
        ignores_refusals: whether it goes on with an FMU that gave no instance, and calls it.
        environment: of the process.
        has_python: whether there is a Python in the process that loads the FMUs.
        iterates: whether it can take steps again until the components agree.
        own_outputs: how the surrogates' own outputs are built for it; those that take every output as a real number want `real`.
        own_environment: the file in `environments/` with what it needs and the Python of these tests must not have; such a master
            is a slow one.
    """

    name: str
    driver: str
    distributions: tuple[str, ...]
    versions: frozenset[FmiVersion] = frozenset(FmiVersion)
    refuses: frozenset[tuple[Backend, FmiVersion]] = frozenset()
    rollback: bool = False
    iterates: bool = False
    ignores_refusals: bool = False
    environment: Callable[[], Mapping[str, str]] = dict
    has_python: bool = True
    own_outputs: OwnOutputs = OwnOutputs.TYPED
    own_environment: str = ""

    def takes(self, backend: Backend, fmi: FmiVersion) -> bool:
        return fmi in self.versions and (backend, fmi) not in self.refuses

    @property
    def missing(self) -> list[str]:
        """Distributions that are not installed."""
        return [] if self.own_environment else [name for name in self.distributions if not _is_installed(name)]

    @property
    def version(self) -> str:
        """Of its distribution."""
        name = self.distributions[0]
        return version_in(self.own_environment, name) if self.own_environment else distribution(name).version

    def run(self, system: System, folder: Path) -> Trajectory:
        """Run a system.

        Raises:
            MasterError: it did not end well.
            EnvironmentMissingError: its environment cannot be made here.
        """
        result = folder / "result.json"
        # A master that crashes says on stderr where its Python was.
        environment = {**os.environ, **self.environment(), "PYTHONFAULTHANDLER": "1"}
        if not self.has_python:
            environment |= {f"HOST_{name}": value for name, value in python_environment().items()}
        python = python_with(self.own_environment) if self.own_environment else sys.executable
        command = [python, str(DRIVERS / self.driver), str(system.write(folder / "system.json")), str(result)]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MasterError(f"{self.name} did not end within {TIMEOUT_S:g} s") from error
        if done.returncode or not result.is_file():
            raise MasterError(f"{self.name} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return Trajectory.read(result, system.record)


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


FMPY = Master("FMPy", "drive_fmpy.py", ("fmpy",), rollback=True, iterates=True)
MASTERS = (
    FMPY,
    Master("ecospy", "drive_ecospy.py", ("ecospy", "tbb"), ignores_refusals=True, environment=tbb_environment),
    Master(
        "ecos command line",
        "drive_ecos.py",
        ("ecospy", "tbb"),
        ignores_refusals=True,
        environment=tbb_environment,
        has_python=False,
    ),
    Master("libcosimpy", "drive_libcosim.py", ("libcosimpy",), frozenset({FmiVersion.V2})),
    Master("fmucontainer", "drive_fmucontainer.py", ("fmu-manipulation-toolbox", "fmpy")),
    Master(
        "fmuloader",
        "drive_fmuloader.py",
        ("fmuloader",),
        refuses=frozenset({(Backend.PYTHON, FmiVersion.V2)}),
        rollback=True,
    ),
    Master("SysSimX", "drive_syssimx.py", ("syssimx", "fmpy"), frozenset({FmiVersion.V2})),
    Master("pathsim-fmi", "drive_pathsim.py", ("pathsim-fmi", "pathsim", "fmpy"), own_outputs=OwnOutputs.REAL),
    Master("gemseo-fmu", "drive_gemseo.py", ("gemseo-fmu",), own_outputs=OwnOutputs.REAL, own_environment="gemseo-fmu.txt"),
    Master(
        "CoFmuPy",
        "drive_cofmupy.py",
        ("cofmupy",),
        iterates=True,
        own_outputs=OwnOutputs.REAL,
        own_environment="cofmupy.txt",
    ),
)
