"""`surrogate-fmu build`: an FMU from a bundle, from TorchScript with a manifest, or from a plant."""

import argparse
import dataclasses
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from surrogate_fmu.errors import BuildError, BundleError, ConfigError

if TYPE_CHECKING:
    from surrogate_fmu.bundle.archive import Bundle
    from surrogate_fmu.fmu.config import BuildConfig

HELP = "build an FMU from a bundle or a plant"
_ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="the bundle to build from, or TorchScript (*.pt) with --manifest"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FMU", help="the FMU to write (default: <name>.fmu)")
    parser.add_argument("--manifest", type=Path, metavar="JSON", help="the manifest of a TorchScript generator")
    parser.add_argument("--config", type=Path, metavar="TOML", help="options from the section [build]; those given here go first")
    parser.add_argument(
        "--backend",
        choices=("native", "python", "remote"),
        help="C with nothing to install (default), torch in the host's Python, or a service that takes the steps",
    )
    parser.add_argument("--target", metavar="HOST:PORT", help="the service of the remote backend")
    parser.add_argument("--fmi", choices=("2.0", "3.0"), help="version of the standard (default: 2.0)")
    parser.add_argument(
        "--platform",
        action="append",
        metavar="NAME",
        help="linux-x86_64, linux-aarch64, windows-x86_64, macos-x86_64, macos-arm64 or all; may be repeated (default: this one)",
    )
    parser.add_argument("--ensemble", type=int, metavar="N", help="members that step together; adds mean, std and quantiles")
    parser.add_argument(
        "--quantiles", type=_numbers, metavar="Q,Q", help="of the members, between 0 and 1 (default with --ensemble: 0.05,0.95)"
    )
    parser.add_argument("--with-sources", action="store_true", help="add C sources that the target may compile itself")
    parser.add_argument("--float64", action="store_true", help="compute the network in double precision")
    parser.add_argument("--external-latents", action="store_true", help="add inputs z for z_mode = external")
    parser.add_argument(
        "--own-outputs",
        choices=("typed", "real", "local"),
        help="in_domain and domain_distance as a Boolean and a real output (default), as real outputs 1.0 or 0.0, for masters that "
        "read every output so, or as local variables",
    )
    parser.add_argument("--model-identifier", metavar="NAME", help="name of the binaries (default: the bundle's name)")
    parser.add_argument(
        "--plant", metavar="FILE.py:CLASS", help="build the FMU of this plant instead; its packages must be on the host"
    )


def run(arguments: argparse.Namespace) -> int:
    """Build, validate, and print what was built; 0.

    Raises:
        ConfigError: the arguments do not go together, or there is no such plant.
        BundleError: the bundle cannot be read.
        BuildError: the FMU cannot be built, or FMPy finds something wrong with it.
    """
    if (arguments.bundle is None) == (arguments.plant is None):
        raise ConfigError("build takes either a bundle or --plant FILE.py:CLASS")
    if arguments.plant is not None:
        path, needs = _build_plant(arguments)
    else:
        config = _config(arguments)
        bundle = _bundle(arguments)
        output = arguments.output or Path(f"{bundle.manifest.name}.fmu")
        path, needs = _build_surrogate(bundle, output, config, arguments.target)
    description = _validated(path)
    print(f"{path}  {path.stat().st_size / 1024:.0f} kB")
    identity = description.guid
    print(f"FMI {description.fmiVersion} co-simulation, {'GUID' if description.fmiVersion == '2.0' else 'token'} {identity}")
    print(f"the host needs: {'; '.join(needs)}")
    return 0


def _build_plant(arguments: argparse.Namespace) -> tuple[Path, tuple[str, ...]]:
    from surrogate_fmu.fmu.build import PLANT_HOST_NEEDS, build_plant_fmu

    theirs = {
        "--manifest": arguments.manifest,
        "--config": arguments.config,
        "--backend": arguments.backend,
        "--fmi": arguments.fmi,
        "--platform": arguments.platform,
        "--ensemble": arguments.ensemble,
        "--quantiles": arguments.quantiles,
        "--with-sources": arguments.with_sources,
        "--float64": arguments.float64,
        "--external-latents": arguments.external_latents,
        "--model-identifier": arguments.model_identifier,
        "--own-outputs": arguments.own_outputs,
        "--target": arguments.target,
    }
    given = [name for name, value in theirs.items() if value]
    if given:
        raise ConfigError(f"{', '.join(given)} are for bundles; leave them out with --plant")
    output = arguments.output or Path(f"{arguments.plant.rpartition(':')[2]}.fmu")
    return build_plant_fmu(arguments.plant, Path.cwd(), output), PLANT_HOST_NEEDS


def _build_surrogate(bundle: "Bundle", output: Path, config: "BuildConfig", target: str | None) -> tuple[Path, tuple[str, ...]]:
    from surrogate_fmu.fmu.config import Backend

    if (target is not None) != (config.backend is Backend.REMOTE):
        raise ConfigError("--backend remote and --target HOST:PORT belong together; give both or none")
    if config.backend is Backend.NATIVE:
        from surrogate_fmu.fmu.native.build import NATIVE_HOST_NEEDS, build_native_fmu

        return build_native_fmu(bundle, output, config), NATIVE_HOST_NEEDS
    from surrogate_fmu.fmu.build import REMOTE_HOST_NEEDS, SURROGATE_HOST_NEEDS, build_python_fmu, build_remote_fmu

    options: dict[str, Any] = {
        "external_latents": config.external_latents,
        "model_identifier": config.model_identifier,
        "fmi": config.fmi,
        "own_outputs": config.own_outputs,
    }
    if target is not None:
        return build_remote_fmu(bundle, target, output, **options), REMOTE_HOST_NEEDS
    path = build_python_fmu(bundle, output, ensemble=config.ensemble, quantiles=config.quantiles, **options)
    return path, SURROGATE_HOST_NEEDS


def _bundle(arguments: argparse.Namespace) -> "Bundle":
    path: Path = arguments.bundle
    if arguments.manifest is None:
        from surrogate_fmu.bundle.archive import read_bundle

        if path.suffix in (".pt", ".pth", ".ts"):
            raise ConfigError(f"{path} is TorchScript without a manifest; name one with --manifest FILE.json")
        return read_bundle(path)
    from surrogate_fmu.bundle.torchscript import export_bundle, read_torchscript
    from surrogate_fmu.manifest import Manifest

    if not arguments.manifest.is_file():
        raise BundleError(f"there is no manifest at {arguments.manifest}")
    return export_bundle(read_torchscript(path), Manifest.from_json(arguments.manifest.read_bytes()))


def _config(arguments: argparse.Namespace) -> "BuildConfig":
    from surrogate_fmu.fmu.config import Backend, FmiVersion, OwnOutputs, Platform

    try:
        names = list(Platform) if arguments.platform and _ALL in arguments.platform else arguments.platform
        given = {
            "backend": arguments.backend and Backend(arguments.backend),
            "external_latents": arguments.external_latents or None,
            "model_identifier": arguments.model_identifier,
            "fmi": arguments.fmi and FmiVersion(arguments.fmi),
            "platforms": names and tuple(Platform(name) for name in names),
            "ensemble": arguments.ensemble,
            "quantiles": arguments.quantiles,
            "with_sources": arguments.with_sources or None,
            "float64": arguments.float64 or None,
            "own_outputs": arguments.own_outputs and OwnOutputs(arguments.own_outputs),
        }
        return dataclasses.replace(
            _section(arguments.config), **{name: value for name, value in given.items() if value is not None}
        )
    except ValueError as error:
        raise BuildError(f"{error}; platforms are {', '.join(Platform)} and {_ALL}") from error


def _section(path: Path | None) -> "BuildConfig":
    """`[build]` of a configuration; the defaults where there is none."""
    from surrogate_fmu.fmu.config import BuildConfig

    if path is None:
        return BuildConfig()
    from surrogate_fmu.config import load_config

    return load_config(path).build


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(",") if part.strip())


def _validated(path: Path) -> Any:
    """FMPy's model description of an FMU in which FMPy finds no fault."""
    if find_spec("fmpy") is None:
        raise BuildError("FMPy, which checks the FMU, is not installed; install the extra: pip install 'surrogate-fmu[fmu]'")
    from fmpy import read_model_description
    from fmpy.validation import validate_fmu

    problems = validate_fmu(_without_aliases(path))
    if problems:
        raise BuildError(f"{path} was written, but FMPy's validation reports: {'; '.join(problems)}")
    return read_model_description(str(path))


def _without_aliases(path: Path) -> Any:
    """The FMU for FMPy, without other names of variables: version 0.3.32 misses those of outputs among the initial unknowns."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read("modelDescription.xml")
    if b"<Alias" not in content:
        return str(path)
    root = ElementTree.fromstring(content)
    for variable in root.iterfind("ModelVariables/*"):
        for alias in variable.findall("Alias"):
            variable.remove(alias)
    described = io.BytesIO()
    with zipfile.ZipFile(described, "w") as archive:
        archive.writestr("modelDescription.xml", ElementTree.tostring(root))
    return described
