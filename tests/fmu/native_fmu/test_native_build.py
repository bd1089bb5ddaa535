"""What is in a built native FMU, and how it is built."""

import importlib.metadata
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle, make_bundle
from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion, Platform
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native import compile as compilation
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.session import Session
from tests.fmu.native_fmu.conftest import BuildToy, HandWritten

ALL = tuple(Platform)


@pytest.fixture(scope="module")
def everywhere(build_toy: BuildToy, fmi: FmiVersion) -> Path:
    return build_toy(fmi=fmi, platforms=ALL)


def test_equal_inputs_give_equal_bytes(
    toy_bundle: Bundle, everywhere: Path, fmi: FmiVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURROGATE_FMU_CACHE", str(tmp_path / "cache"))  # linked again, not read back
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    time.sleep(1.1)  # a time in a header would count seconds
    again = build_native_fmu(toy_bundle, tmp_path / "again.fmu", BuildConfig(fmi=fmi, platforms=ALL), HandWritten())
    assert again.read_bytes() == everywhere.read_bytes()
    assert len([file for file in (tmp_path / "cache").rglob("*") if file.is_file()]) == len(ALL)


def test_the_token_follows_the_content(toy_bundle: Bundle, build_toy: BuildToy, tmp_path: Path) -> None:
    from fmpy import read_model_description

    changed = make_bundle(toy_bundle.manifest.replace(description="another"), toy_bundle.payload)
    paths = [build_toy(), build_toy(fmi=FmiVersion.V3), build_toy(float64=True), build_toy(external_latents=True)]
    paths.append(build_native_fmu(changed, tmp_path / "a.fmu", BuildConfig(), HandWritten()))
    descriptions = [read_model_description(str(path)) for path in paths]
    assert len({d.guid or d.instantiationToken for d in descriptions}) == len(paths)
    one, all_of_them = (read_model_description(str(build_toy(platforms=p))) for p in ((), ALL))
    assert one.guid == all_of_them.guid  # states go from one platform to another


def test_five_platforms_are_in_one_fmu(everywhere: Path, fmi: FmiVersion) -> None:
    names = zipfile.ZipFile(everywhere).namelist()
    folders = {
        FmiVersion.V2: {"linux64", "aarch64-linux", "win64", "darwin64", "aarch64-darwin"},
        FmiVersion.V3: {"x86_64-linux", "aarch64-linux", "x86_64-windows", "x86_64-darwin", "aarch64-darwin"},
    }
    assert {name.split("/")[1] for name in names if name.startswith("binaries/")} == folders[fmi]
    assert {"documentation/licenses/FMI-headers-LICENSE", "documentation/licenses/surrogate-fmu-LICENSE"} <= set(names)
    text = zipfile.ZipFile(everywhere).read("documentation/licenses/FMI-headers-LICENSE").decode()
    assert "Redistributions of source code" in text and "MODELISAR" in text
    assert everywhere.stat().st_size < 400_000


def test_libraries_import_the_c_library_alone(everywhere: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(everywhere).extractall(tmp_path)
    for library in tmp_path.glob("binaries/*linux*/*.so"):
        text = subprocess.run(["objdump", "-p", library], capture_output=True, text=True, check=True).stdout
        assert set(re.findall(r"NEEDED\s+(\S+)", text)) <= {"libc.so.6", "libm.so.6"}
        versions = re.findall(r"GLIBC_(\d+)\.(\d+)", text)
        assert versions and max((int(a), int(b)) for a, b in versions) <= (2, 17)
    (dll,) = tmp_path.glob("binaries/*/*.dll")
    text = subprocess.run(["objdump", "-p", dll], capture_output=True, text=True, check=True).stdout
    assert {name.lower() for name in re.findall(r"DLL Name: (\S+)", text)} <= {"msvcrt.dll", "kernel32.dll"}


def test_libraries_export_the_standard_and_hold_no_paths(everywhere: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(everywhere).extractall(tmp_path)
    for library in tmp_path.glob("binaries/*/*"):
        content = library.read_bytes()
        for text in (b"/tmp/", b"/home/", b"/root/", str(Path.home()).encode()):
            assert text not in content, (library, text)
    for library in tmp_path.glob("binaries/*linux*/*.so"):
        text = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
        names = {line.split()[-1] for line in text.splitlines()}
        assert {name for name in names if not name.startswith("fmi")} == {"surrogate_fmu_kernels"}


@pytest.mark.parametrize("ensemble", [1, 3])
def test_shipped_sources_compile_and_give_the_same_numbers(
    toy_bundle: Bundle, fmi: FmiVersion, ensemble: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what FMPy makes of them: CMake and the system's compiler."""
    from fmpy.build import build_platform_binary

    if shutil.which("cc") is None:
        pytest.skip("this machine has no C compiler of its own")
    cmake = Path(compilation._compiler()[0]).parents[5] / "bin"
    monkeypatch.setenv("PATH", f"{cmake}:{__import__('os').environ['PATH']}")
    path = build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(fmi=fmi, with_sources=True, ensemble=ensemble))
    folder = tmp_path / "unpacked"
    zipfile.ZipFile(path).extractall(folder)
    (library,) = folder.glob("binaries/*/*.so")
    library.unlink()
    (tmp_path / "build").mkdir()
    build_platform_binary(folder, tmp_path / "build", cmake_options={"CMAKE_C_FLAGS:STRING": "-Wall -Wextra -Werror -O2"})
    assert library.is_file()
    with FmuSession(path, seed=5) as shipped, FmuSession(folder, seed=5) as compiled:
        first, second = shipped.initialize(), compiled.initialize()
        for step in range(50):
            assert list(first.values()) == pytest.approx(list(second.values()), rel=2e-6, abs=2e-4)
            first, second = shipped.do_step({"power": step % 30}), compiled.do_step({"power": step % 30})


def test_float64_is_closer_to_the_truth(toy_bundle: Bundle, tmp_path: Path) -> None:
    path = build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(float64=True))
    with FmuSession(path, seed=5) as session:
        reference = Session(toy_bundle, seed=5)
        assert list(session.initialize().values()) == pytest.approx(list(reference.initialize().values()), rel=1e-6)
        outputs = [session.do_step({"power": 3.0})["temperature"] for _ in range(20)]
    # float32 has nothing between its own numbers
    assert any(float(np.float32(value)) != value for value in outputs)


def test_without_the_compiler_it_says_what_to_install(toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(compilation, "distribution", absent)
    with pytest.raises(BuildError, match=re.escape("pip install 'surrogate-fmu[native]'")):
        build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(), HandWritten())
    assert not list(tmp_path.iterdir())


def test_what_the_compiler_reports_is_told(toy_bundle: Bundle, tmp_path: Path) -> None:
    broken = HandWritten(sources={"model.c": "int x = ;"})
    with pytest.raises(BuildError, match=r"model\.c:1:9: error"):
        build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(), broken)
    warned = HandWritten(sources={"model.c": HandWritten().sources["model.c"] + "static int unused(void) { return 0; }"})
    with pytest.raises(BuildError, match="unused"):
        build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(), warned)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SURROGATE_FMU_CACHE", str(tmp_path / "file"))
    assert build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(), HandWritten()).is_file()


def test_the_other_backend_is_refused(toy_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="build_python_fmu"):
        build_native_fmu(toy_bundle, tmp_path / "a.fmu", BuildConfig(Backend.PYTHON))
