"""Building native FMUs: lowered model, C session and FMI shell in one library per platform; nothing else on the host."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion
from surrogate_fmu.fmu.documentation import surrogate_page
from surrogate_fmu.fmu.interface import INTEGER_MAX, ensemble_statistics, surrogate_interface
from surrogate_fmu.fmu.model_description import Capabilities, ModelDescription, describe_surrogate
from surrogate_fmu.fmu.native.compile import CSources, compile_library
from surrogate_fmu.fmu.native.platforms import TARGETS, this_platform
from surrogate_fmu.fmu.native.sources import shipped_sources
from surrogate_fmu.fmu.native.tables import surrogate_source
from surrogate_fmu.fmu.package import MODEL_DESCRIPTION, write_fmu
from surrogate_fmu.fmu.provenance import DISTRIBUTION, guid_of, license_texts, package_version
from surrogate_fmu.fmu.scalar import Scalar
from surrogate_fmu.manifest import Manifest

NATIVE_HOST_NEEDS = ("nothing: the C library of the system is all that its library loads",)
_SEED_MAX = 2**63 - 1
_C_FOLDER = Path(__file__).with_name("c")
_SHELLS = {FmiVersion.V2: "fmi2.c", FmiVersion.V3: "fmi3.c"}
_SESSION_FILES = (
    "derivative.c",
    "dispatch.c",
    "domain.c",
    "latent.c",
    "message.c",
    "run.c",
    "session.c",
    "snapshot.c",
    "statistics.c",
    "tangent.c",
    "values.c",
    "windows.c",
)
_FMI_HEADERS = {
    FmiVersion.V2: ("fmi2FunctionTypes.h", "fmi2Functions.h", "fmi2TypesPlatform.h"),
    FmiVersion.V3: ("fmi3FunctionTypes.h", "fmi3Functions.h", "fmi3PlatformTypes.h"),
}


class Lowered(Protocol):
    """A lowered generator; see `c/model.h` for what its sources define."""

    @property
    def sources(self) -> Mapping[str, str]:
        """C files and headers of the network, by name."""

    @property
    def weights(self) -> Mapping[str, bytes]:
        """Arrays by symbol, little endian."""

    @property
    def initial_dependencies(self) -> Sequence[Collection[int]] | None:
        """For each scalar of y the scalars of x that it depends on at the start; None: all of them."""


@dataclass(frozen=True)
class _Plan:
    """What is decided before anything is compiled."""

    manifest: Manifest
    config: BuildConfig
    model_identifier: str
    scalars: tuple[Scalar, ...]
    seed_max: int


def build_native_fmu(bundle: Bundle, path: Path, config: BuildConfig | None = None, lowered: Lowered | None = None) -> Path:
    """Build the FMU of a bundle; equal bundles, options and versions give equal bytes, on every machine.

    Args:
        bundle: what runs.
        path: of the FMU.
        config: the options; None takes the defaults.
        lowered: the generator as C; None lowers that of the bundle.

    Raises:
        BuildError: the graph cannot be lowered, the compiler or FMPy (whose wheel has the FMI headers) is not installed, or
            the compiler reports something.
    """
    config = config or BuildConfig()
    if config.backend is not Backend.NATIVE:
        raise BuildError(f"build_native_fmu was given the backend {config.backend}; use build_python_fmu")
    platforms = config.platforms or (this_platform(),)
    if lowered is None:
        from surrogate_fmu.fmu.native.generate import generate_sources

        lowered = generate_sources(bundle, float64=config.float64)
    plan = _plan(bundle.manifest, config)
    parts = _c_sources(plan, lowered)
    digest = _digest(bundle, plan, parts)
    guid = guid_of(digest)
    description = _describe(plan, guid, lowered, ())
    sources = _with_tables(plan, parts, description)
    files: dict[str, bytes] = {}
    for platform in platforms:
        target = TARGETS[platform]
        library = compile_library(sources, target)
        files[f"binaries/{target.folders[config.fmi]}/{plan.model_identifier}{target.suffix}"] = library
    if config.with_sources:
        shipped = shipped_sources(sources)
        description = _describe(plan, guid, lowered, tuple(sorted(name for name in shipped if name.endswith(".c"))))
        files |= {f"sources/{name}": text.encode() for name, text in shipped.items()}
        if config.fmi is FmiVersion.V3:
            from surrogate_fmu.fmu.fmi3_xml import build_description_xml

            files["sources/buildDescription.xml"] = build_description_xml(description)
    files[MODEL_DESCRIPTION] = description.to_xml()
    return write_fmu(files | _documentation(plan), path)


def _plan(manifest: Manifest, config: BuildConfig) -> _Plan:
    name = config.model_identifier or manifest.name
    try:
        dataclasses.replace(config, model_identifier=name)  # the manifest's name is looked at as one that was given
    except ValueError as error:
        raise BuildError(str(error)) from error
    largest = _SEED_MAX if config.fmi is FmiVersion.V3 else INTEGER_MAX
    seed_max = largest - (config.ensemble - 1)  # member m has the seed + m
    statistics = ensemble_statistics(config.ensemble, config.quantiles)
    arrays = config.fmi is FmiVersion.V3
    scalars = surrogate_interface(manifest, config.external_latents, statistics, arrays, seed_max, config.own_outputs)
    return _Plan(manifest, config, name, scalars, seed_max)


def _c_sources(plan: _Plan, lowered: Lowered) -> CSources:
    fmi = plan.config.fmi
    session = {name: (_C_FOLDER / name).read_text("utf-8") for name in (*_SESSION_FILES, _SHELLS[fmi])}
    own = {file.name: file.read_text("utf-8") for file in sorted(_C_FOLDER.glob("*.h"))}
    model = {name: text for name, text in lowered.sources.items() if name.endswith(".c")}
    headers = own | {name: text for name, text in lowered.sources.items() if name not in model}
    headers |= {name: (_fmi_headers() / name).read_text("utf-8") for name in _FMI_HEADERS[fmi]}
    defines = ("SF_FLOAT64",) if plan.config.float64 else ()
    return CSources(session, model, headers, lowered.weights, defines)


def _with_tables(plan: _Plan, parts: CSources, description: ModelDescription) -> CSources:
    time = (description.time_name, description.time_reference) if plan.config.fmi is FmiVersion.V3 else None
    text = surrogate_source(plan.manifest, plan.scalars, time, plan.model_identifier, description.guid, plan.config, plan.seed_max)
    return dataclasses.replace(parts, session={**parts.session, "surrogate.c": text})


def _describe(plan: _Plan, guid: str, lowered: Lowered, source_files: tuple[str, ...]) -> ModelDescription:
    third = plan.config.fmi is FmiVersion.V3
    return describe_surrogate(
        plan.manifest,
        guid,
        package_version(),
        Capabilities(False, provides_directional_derivative=True, provides_adjoint_derivative=third),
        plan.config.external_latents,
        plan.model_identifier,
        fmi=plan.config.fmi,
        scalars=plan.scalars,
        dependencies=lowered.initial_dependencies,
        source_files=source_files,
    )


def _documentation(plan: _Plan) -> dict[str, bytes]:
    manifest, version = plan.manifest, package_version()
    page = surrogate_page(
        manifest,
        version,
        NATIVE_HOST_NEEDS,
        plan.config.external_latents,
        native=True,
        members=plan.config.ensemble,
        own_outputs=plan.config.own_outputs,
    )
    files = {"documentation/index.html": page.encode(), "documentation/manifest.json": manifest.to_json().encode()}
    if manifest.card:
        files["documentation/card.json"] = (json.dumps(manifest.card, indent=1, sort_keys=True) + "\n").encode()
    licenses = license_texts(DISTRIBUTION) | {"FMI-headers-LICENSE": _headers_license(plan.config.fmi)}
    return files | {f"documentation/licenses/{name}": content for name, content in licenses.items()}


def _fmi_headers() -> Path:
    """The FMI headers in FMPy's wheel; FMPy itself is not imported."""
    spec = find_spec("fmpy")
    folder = Path(str(spec.origin)).with_name("c-code") if spec is not None and spec.origin else None
    if folder is None or not folder.is_dir():
        raise BuildError(
            "FMPy, whose wheel has the FMI headers, is not installed; install the extra: pip install 'surrogate-fmu[native]'"
        )
    return folder


def _headers_license(fmi: FmiVersion) -> bytes:
    """The comment at the head of the standard's headers: 2-Clause BSD."""
    text = (_fmi_headers() / _FMI_HEADERS[fmi][0]).read_text("utf-8")
    start = text.index("Copyright")
    return text[start : text.index("*/", start)].rstrip().encode() + b"\n"


def _digest(bundle: Bundle, plan: _Plan, parts: CSources) -> str:
    """SHA-256 over all that decides what the FMU does; the platforms it is there for do not."""
    facts = [bundle.digest, package_version(), plan.model_identifier, str(plan.config.fmi), str(plan.config.external_latents)]
    facts += [str(plan.config.ensemble), repr(plan.config.quantiles), str(plan.config.float64)]
    facts += [str(plan.config.own_outputs)]
    total = hashlib.sha256(json.dumps(facts).encode())
    for part in (parts.session, parts.model, parts.headers, parts.weights):
        for name in sorted(part):
            value = part[name]
            content = value.encode() if isinstance(value, str) else value
            total.update(f"{name} {len(content)}\n".encode() + content)
    return total.hexdigest()
