"""The macOS libraries, which no test here can run: what their headers say (Apple's mach-o/loader.h)."""

import struct
import zipfile

import pytest

from surrogate_fmu.fmu.config import FmiVersion, Platform
from tests.fmu.native_fmu.conftest import BuildToy

MAGIC, DYLIB = 0xFEEDFACF, 6
X86_64, ARM64 = 0x01000007, 0x0100000C
LOAD_DYLIB, CODE_SIGNATURE, BUILD_VERSION, SYMTAB = 0xC, 0x1D, 0x32, 0x2
MACOS = 1


@pytest.fixture(scope="module", params=[("darwin64", X86_64), ("aarch64-darwin", ARM64)], ids=["x86_64", "arm64"])
def library(request: pytest.FixtureRequest, build_toy: BuildToy) -> tuple[bytes, int]:
    folder, processor = request.param
    path = build_toy(platforms=(Platform.MACOS_X86_64, Platform.MACOS_ARM64), fmi=FmiVersion.V2)
    return zipfile.ZipFile(path).read(f"binaries/{folder}/thermal_mass.dylib"), processor


def commands(content: bytes) -> list[tuple[int, bytes]]:
    count, place, found = struct.unpack_from("<I", content, 16)[0], 32, []
    for _ in range(count):
        kind, size = struct.unpack_from("<II", content, place)
        found.append((kind & 0x7FFFFFFF, content[place : place + size]))
        place += size
    return found


def test_it_is_a_library_for_its_processor_and_macos_11(library: tuple[bytes, int]) -> None:
    content, processor = library
    magic, cpu, _, kind = struct.unpack_from("<IIII", content)
    assert (magic, cpu, kind) == (MAGIC, processor, DYLIB)
    (version,) = [data for kind, data in commands(content) if kind == BUILD_VERSION]
    platform, oldest = struct.unpack_from("<II", version, 8)
    assert (platform, oldest >> 16) == (MACOS, 11)


def test_it_loads_the_system_library_alone(library: tuple[bytes, int]) -> None:
    names = []
    for kind, data in commands(library[0]):
        if kind == LOAD_DYLIB:
            (offset,) = struct.unpack_from("<I", data, 8)
            names.append(data[offset:].rstrip(b"\0").decode())
    assert names == ["/usr/lib/libSystem.B.dylib"]


def test_arm64_is_signed_as_its_system_demands(library: tuple[bytes, int]) -> None:
    content, processor = library
    signed = any(kind == CODE_SIGNATURE for kind, _ in commands(content))
    assert signed or processor == X86_64


def test_the_functions_of_the_standard_are_exported(library: tuple[bytes, int]) -> None:
    (table,) = [data for kind, data in commands(library[0]) if kind == SYMTAB]
    symbols, count, strings, _ = struct.unpack_from("<IIII", table, 8)
    exported = set()
    for place in range(symbols, symbols + 16 * count, 16):
        name, kind, section, _, _ = struct.unpack_from("<IBBHQ", library[0], place)
        if kind & 0x01 and section:  # external and defined
            end = library[0].index(b"\0", strings + name)
            exported.add(library[0][strings + name : end].decode())
    assert {"_fmi2Instantiate", "_fmi2DoStep", "_fmi2GetContinuousStates"} <= exported
    of_the_linker = {"___dso_handle", "__mh_dylib_header"}
    assert {name for name in exported - of_the_linker if not name.startswith("_fmi2")} == {"_surrogate_fmu_kernels"}
