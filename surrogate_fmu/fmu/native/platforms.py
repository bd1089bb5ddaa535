"""The machines that native FMUs are built for, from any of them."""

import platform as host
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import FmiVersion, Platform


@dataclass(frozen=True)
class Kernels:
    """One build of the lowered model for a level of the processor.

    Attributes:
        entry: name of the function that the session asks for it.
        cpu: what the compiler may use.
    """

    entry: str
    cpu: str


@dataclass(frozen=True)
class Target:
    """What the compiler and the FMU want to know about a platform.

    Attributes:
        triple: of the compiler; the oldest systems that the library runs on are in it.
        suffix: of a library.
        folders: in `binaries/`, by version of FMI.
        kernels: builds of the lowered model; with two, the processor chooses when an instance is made.
    """

    triple: str
    suffix: str
    folders: Mapping[FmiVersion, str]
    kernels: tuple[Kernels, ...]

    @property
    def is_windows(self) -> bool:
        """Whether the library is a DLL."""
        return self.suffix == ".dll"


_X86_64 = (Kernels("sf_model_baseline", "x86_64"), Kernels("sf_model_v3", "x86_64_v3"))


def _arm64(cpu: str) -> tuple[Kernels, ...]:
    return (Kernels("sf_model_generic", cpu),)


# FMI 2.0 names no folder for arm64; these are FMI 3.0's names, which masters look for in both.
TARGETS: Mapping[Platform, Target] = {
    Platform.LINUX_X86_64: Target(
        "x86_64-linux-gnu.2.17", ".so", {FmiVersion.V2: "linux64", FmiVersion.V3: "x86_64-linux"}, _X86_64
    ),
    Platform.LINUX_AARCH64: Target(
        "aarch64-linux-gnu.2.17", ".so", {FmiVersion.V2: "aarch64-linux", FmiVersion.V3: "aarch64-linux"}, _arm64("generic")
    ),
    Platform.WINDOWS_X86_64: Target(
        "x86_64-windows-gnu", ".dll", {FmiVersion.V2: "win64", FmiVersion.V3: "x86_64-windows"}, _X86_64
    ),
    Platform.MACOS_X86_64: Target(
        "x86_64-macos.11.0", ".dylib", {FmiVersion.V2: "darwin64", FmiVersion.V3: "x86_64-darwin"}, _X86_64
    ),
    Platform.MACOS_ARM64: Target(
        "aarch64-macos.11.0", ".dylib", {FmiVersion.V2: "aarch64-darwin", FmiVersion.V3: "aarch64-darwin"}, _arm64("apple_m1")
    ),
}

_HOSTS = {
    ("linux", "x86_64"): Platform.LINUX_X86_64,
    ("linux", "aarch64"): Platform.LINUX_AARCH64,
    ("win32", "amd64"): Platform.WINDOWS_X86_64,
    ("darwin", "x86_64"): Platform.MACOS_X86_64,
    ("darwin", "arm64"): Platform.MACOS_ARM64,
}


def this_platform() -> Platform:
    """The platform that this process runs on.

    Raises:
        BuildError: it is none that FMUs are built for.
    """
    found = _HOSTS.get((sys.platform, host.machine().lower()))
    if found is None:
        raise BuildError(
            f"this machine ({sys.platform}, {host.machine()}) is none that native FMUs are built for; "
            f"name one with --platform: {', '.join(Platform)}"
        )
    return found
