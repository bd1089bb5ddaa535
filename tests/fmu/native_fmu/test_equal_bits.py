"""A lowered network gives equal bits on every processor and system."""

import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from fmpy import read_model_description

from surrogate_fmu.fmu.config import BuildConfig, Platform
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.native.platforms import TARGETS
from tests.fmu.native.compare import Memoryless
from tests.fmu.native.lowered import make_bundle
from tests.fmu.native.test_numerics import Everything
from tests.fmu.native_fmu.test_hosts import ARM_ROOT, PLATFORMS, WINE, compile_host

MACHINES = [
    pytest.param(
        Platform.LINUX_X86_64,
        ["qemu-x86_64", "-cpu", "Nehalem"],
        "x86_64",
        id="without AVX2",
        marks=pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="the Debian package qemu-user is not installed"),
    ),
    pytest.param(
        Platform.LINUX_AARCH64,
        ["qemu-aarch64", "-L", str(ARM_ROOT)],
        "generic",
        id="arm64",
        marks=pytest.mark.skipif(
            shutil.which("qemu-aarch64") is None or not ARM_ROOT.is_dir(),
            reason="the Debian packages qemu-user and libc6-arm64-cross are not installed",
        ),
    ),
    pytest.param(
        Platform.WINDOWS_X86_64,
        [str(WINE)],
        None,
        id="Windows",
        marks=pytest.mark.skipif(WINE is None, reason="the Debian package wine64 is not installed"),
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bits")
    bundle = make_bundle(Memoryless(Everything().eval()), 10, 0, 0, 3)
    fmu = build_native_fmu(bundle, folder / "network.fmu", BuildConfig(platforms=PLATFORMS, model_identifier="network"))
    zipfile.ZipFile(fmu).extractall(folder)
    return folder


def answer(folder: Path, platform: Platform, before: Sequence[str] = ()) -> tuple[list[str], str]:
    """Bits of the outputs at each step, and the kernels that the processor got."""
    target = TARGETS[platform]
    description = read_model_description(str(folder / "network.fmu"))
    references = {v.name: v.valueReference for v in description.modelVariables}
    library = f"binaries/{target.folders['2.0']}/network{target.suffix}"
    arguments = [references["seed"], 5, 1.0, 12, references["x3"], references["y0"], 3]
    command = [*before, str(compile_host(platform, folder)), library, description.guid, *map(str, arguments)]
    environment = {"WINEPREFIX": str(folder / "prefix"), "WINEDEBUG": "-all", "HOME": str(folder)} if target.is_windows else None
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, env=environment)
    *rows, last = done.stdout.splitlines() or [done.stderr]
    word, _, kernels = last.strip().partition(" ")
    assert word == "done" and done.returncode == 0, done.stdout + done.stderr
    return [row for row in rows if "outside the training range" not in row], kernels


@pytest.mark.parametrize(("platform", "before", "expected_kernels"), MACHINES)
def test_processors_and_systems_give_equal_bits(
    folder: Path, platform: Platform, before: list[str], expected_kernels: str | None
) -> None:
    here, _ = answer(folder, Platform.LINUX_X86_64)
    assert len(here) == 13 and len(set(here)) == 13
    there, kernels = answer(folder, platform, before)
    assert there == here
    assert expected_kernels in (None, kernels)
