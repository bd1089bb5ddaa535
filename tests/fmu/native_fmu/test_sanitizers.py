"""Shipped sources under sanitizers and valgrind, with random calls; minutes long."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from tests.fmu.native_fmu.conftest import FOLDER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, whose sanitizers these are, is not installed"),
]
CALLS, SEEDS = 400_000, 6


@pytest.fixture(scope="module")
def sources(toy_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    config = BuildConfig(fmi=fmi, with_sources=True, ensemble=3, external_latents=True)
    zipfile.ZipFile(build_native_fmu(toy_bundle, folder / "a.fmu", config)).extractall(folder)
    return folder / "sources"


def build(sources: Path, name: str, *flags: str) -> Path:
    program = sources / name
    files = [str(path) for path in sorted(sources.glob("*.c"))]
    version = ["-DFUZZ_FMI3"] if (sources / "fmi3.c").is_file() else []
    command = [
        "gcc",
        *version,
        "-std=c11",
        "-g",
        *flags,
        f"-I{sources}",
        f"-I{FOLDER}",
        "-o",
        str(program),
        str(FOLDER / "fuzz.c"),
        *files,
        "-lm",
    ]
    subprocess.run(command, check=True)
    return program


def run(program: Path, seed: int, calls: int, *before: str) -> None:
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    finished = subprocess.run(
        [*before, str(program), str(seed), str(calls)], capture_output=True, text=True, timeout=280, env=environment
    )
    assert finished.returncode == 0 and finished.stdout.startswith("done"), finished.stdout + finished.stderr[-4000:]


def test_random_calls_under_address_and_undefined_behaviour_sanitizers(sources: Path) -> None:
    program = build(sources, "sanitized", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    for seed in range(SEEDS):
        run(program, seed, CALLS)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_random_calls_under_valgrind(sources: Path) -> None:
    program = build(sources, "plain", "-O1", "-march=x86-64")
    valgrind = ("valgrind", "--quiet", "--error-exitcode=1", "--leak-check=full", "--show-leak-kinds=all")
    run(program, 99, 20_000, *valgrind)
