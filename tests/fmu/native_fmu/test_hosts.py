"""Hosts without Python: plain C on this machine, an older processor, Linux on arm64, Windows."""

import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fmpy import read_model_description

from surrogate_fmu.fmu.config import Platform
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.compile import _compiler
from surrogate_fmu.fmu.native.platforms import TARGETS
from tests.fmu.native_fmu.conftest import FOLDER, BuildToy
from tests.toy import STEP_SIZE

STEPS = 12
ARM_ROOT = Path("/usr/aarch64-linux-gnu")
WINE = shutil.which("wine64") or next((p for p in ("/usr/lib/wine/wine64",) if Path(p).exists()), None)
PLATFORMS = (Platform.LINUX_X86_64, Platform.LINUX_AARCH64, Platform.WINDOWS_X86_64)

# What the host takes from Windows; it is linked with nothing else, so nothing has to be built for it first.
WINDOWS_IMPORTS = {"msvcrt": "printf atoi atof __getmainargs", "kernel32": "LoadLibraryA GetProcAddress ExitProcess"}

Answer = tuple[np.ndarray, str]


@pytest.fixture(scope="module")
def fmu(build_toy: BuildToy) -> Path:
    return build_toy(platforms=PLATFORMS)


@pytest.fixture(scope="module")
def expected(fmu: Path) -> np.ndarray:
    with FmuSession(fmu, seed=5) as session:
        rows = [session.initialize()] + [session.do_step({"power": 10.0 + k}) for k in range(STEPS)]
    return np.array([[row["temperature"], row["flow"]] for row in rows])


@pytest.fixture(scope="module")
def run_host(fmu: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Answer]:
    folder = tmp_path_factory.mktemp("hosts")
    zipfile.ZipFile(fmu).extractall(folder)
    description = read_model_description(str(fmu))
    references = {v.name: v.valueReference for v in description.modelVariables}

    def run(platform: Platform, before: Sequence[str] = (), **environment: str) -> Answer:
        target = TARGETS[platform]
        host = compile_host(platform, folder)
        library = (
            next(folder.glob(f"binaries/*/*{target.suffix}"))
            if target.is_windows
            else folder / (f"binaries/{target.folders['2.0']}/thermal_mass{target.suffix}")
        )
        arguments = [references["seed"], 5, STEP_SIZE, STEPS, references["power"], references["temperature"], 2]
        command = [*before, str(host), str(library.relative_to(folder)), description.guid, *map(str, arguments)]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, env=environment or None)
        *rows, last = finished.stdout.split("\n")[:-1] or [finished.stderr]
        word, _, kernels = last.strip().partition(" ")
        assert word == "done" and finished.returncode == 0, finished.stdout + finished.stderr
        values = [[float(np.uint64(int(text, 16)).view(np.float64)) for text in row.split()] for row in rows]
        return np.array(values), kernels

    return run


def compile_host(platform: Platform, folder: Path) -> Path:
    compiler, _ = _compiler()
    target, source = TARGETS[platform], str(FOLDER / "host.c")
    host = folder / f"host_{platform}{'.exe' if target.is_windows else ''}"
    if host.is_file():
        return host
    start = [str(compiler), "cc", "-target", target.triple, "-O1", "-fno-builtin"]
    if not target.is_windows:
        subprocess.run([*start, "-o", str(host), source, "-ldl"], check=True, cwd=folder)
        return host
    libraries = []
    for name, functions in WINDOWS_IMPORTS.items():
        (folder / f"{name}.def").write_text("\n".join([f"LIBRARY {name}.dll", "EXPORTS", *functions.split()]) + "\n")
        libraries.append(f"{name}.lib")
        tool = [str(compiler), "dlltool", "-m", "i386:x86-64", "-d", f"{name}.def", "-l", libraries[-1]]
        subprocess.run(tool, check=True, cwd=folder)
    subprocess.run([*start, "-c", "-o", "host.obj", source], check=True, cwd=folder)
    link = [str(compiler), "lld-link", "/entry:host_start", "/subsystem:console", "host.obj", *libraries, f"/out:{host}"]
    subprocess.run(link, check=True, cwd=folder)
    return host


def test_a_c_host_gets_what_fmpy_gets(run_host: Callable[..., Answer], expected: np.ndarray) -> None:
    values, _ = run_host(Platform.LINUX_X86_64)
    assert np.array_equal(values, expected)


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="the Debian package qemu-user is not installed")
def test_an_old_processor_gets_the_baseline_kernels(run_host: Callable[..., Answer], expected: np.ndarray) -> None:
    values, kernels = run_host(Platform.LINUX_X86_64, ["qemu-x86_64", "-cpu", "Nehalem"])
    assert kernels == "x86_64"
    assert np.array_equal(values, expected)


@pytest.mark.skipif(
    shutil.which("qemu-aarch64") is None or not ARM_ROOT.is_dir(),
    reason="the Debian packages qemu-user and libc6-arm64-cross are not installed",
)
def test_linux_on_arm64(run_host: Callable[..., Answer], expected: np.ndarray) -> None:
    values, kernels = run_host(Platform.LINUX_AARCH64, ["qemu-aarch64", "-L", str(ARM_ROOT)])
    assert kernels == "generic"
    assert values == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.skipif(WINE is None, reason="the Debian package wine64 is not installed")
def test_windows(run_host: Callable[..., Answer], expected: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    prefix = tmp_path_factory.mktemp("wine") / "prefix"
    values, _ = run_host(Platform.WINDOWS_X86_64, [str(WINE)], WINEPREFIX=str(prefix), WINEDEBUG="-all", HOME=str(prefix.parent))
    assert values == pytest.approx(expected, rel=1e-6, abs=1e-5)
