"""How an FMU is built, as a frozen class that `schema.decode` reads from TOML."""

import keyword
from dataclasses import dataclass
from enum import StrEnum

ENSEMBLE_MAX = 4096


class Backend(StrEnum):
    """What computes the step inside the FMU."""

    NATIVE = "native"
    """The generator lowered to C: nothing is needed on the host; on the CPU."""
    PYTHON = "python"
    """TorchScript in the host's Python; runs on a GPU if told so."""
    REMOTE = "remote"
    """A service takes the steps; the host's Python calls it."""


class FmiVersion(StrEnum):
    """Version of the standard that the FMU keeps."""

    V2 = "2.0"
    V3 = "3.0"


class OwnOutputs(StrEnum):
    """How a surrogate tells `in_domain` and `domain_distance`, which are its own and none of the plant's."""

    TYPED = "typed"
    """Outputs of the types that they have: a Boolean and a real number."""
    REAL = "real"
    """Outputs that are real numbers, `in_domain` 1.0 or 0.0: for masters that read every output as one."""
    LOCAL = "local"
    """Local variables, which can be read, and no outputs: for masters that take all outputs for those of the plant."""


class Platform(StrEnum):
    """A machine that a native FMU has a library for."""

    LINUX_X86_64 = "linux-x86_64"
    LINUX_AARCH64 = "linux-aarch64"
    WINDOWS_X86_64 = "windows-x86_64"
    MACOS_X86_64 = "macos-x86_64"
    MACOS_ARM64 = "macos-arm64"


@dataclass(frozen=True)
class BuildConfig:
    """Options of a build; platforms, sources and float64 are the native backend's, ensembles not the remote one's.

    Attributes:
        backend: what computes the step.
        external_latents: add the inputs `z[1]`, `z[2]`, ... for z_mode = external.
        model_identifier: name of the binaries and of the class inside; None takes the bundle's name.
        fmi: version of the standard.
        platforms: what there are libraries for; empty is the machine that builds.
        ensemble: members that step together; with 2 and more, outputs gain `<name>.mean`, `.std` and quantiles.
        quantiles: of the members, each between 0 and 1; 0.05 is called q05.
        with_sources: add compilable sources.
        float64: arithmetic of the network in double precision.
        own_outputs: how `in_domain` and `domain_distance` are told; statistics of an ensemble are real outputs in any case.
    """

    backend: Backend = Backend.NATIVE
    external_latents: bool = False
    model_identifier: str | None = None
    fmi: FmiVersion = FmiVersion.V2
    platforms: tuple[Platform, ...] = ()
    ensemble: int = 1
    quantiles: tuple[float, ...] = (0.05, 0.95)
    with_sources: bool = False
    float64: bool = False
    own_outputs: OwnOutputs = OwnOutputs.TYPED

    def __post_init__(self) -> None:
        name = self.model_identifier
        if name is not None and (not name.isascii() or not name.isidentifier() or keyword.iskeyword(name)):
            raise ValueError(f"model_identifier {name!r} must be ASCII letters, digits and underscores, and no word of Python's")
        if not 1 <= self.ensemble <= ENSEMBLE_MAX:
            raise ValueError(f"ensemble {self.ensemble} must be a number of members from 1 to {ENSEMBLE_MAX}")
        if any(not 0.0 <= quantile <= 1.0 for quantile in self.quantiles) or len(set(self.quantiles)) != len(self.quantiles):
            raise ValueError(f"quantiles {list(self.quantiles)} must be different numbers from 0 to 1")
        if self.ensemble == 1 and self.quantiles != BuildConfig.quantiles:
            raise ValueError("quantiles are over the members of an ensemble; give ensemble 2 or more, or leave them out")
        if len(set(self.platforms)) != len(self.platforms):
            raise ValueError(f"platforms {[str(p) for p in self.platforms]} name one twice")
        native_only = {
            "platforms": bool(self.platforms),
            "ensemble": self.ensemble > 1 and self.backend is not Backend.PYTHON,
            "with_sources": self.with_sources,
            "float64": self.float64,
        }
        asked = [option for option, given in native_only.items() if given]
        if self.backend is not Backend.NATIVE and asked:
            raise ValueError(f"{', '.join(asked)} are for the native backend; leave them out, or choose backend 'native'")
