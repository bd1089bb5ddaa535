"""`surrogate-fmu build`: an FMU from a bundle, or from a plant."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import BuildError, ConfigError

HELP = "build an FMU from a bundle or a plant"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="the bundle to build from")
    parser.add_argument("-o", "--output", type=Path, metavar="FMU", help="the FMU to write (default: <name>.fmu)")
    parser.add_argument("--external-latents", action="store_true", help="add inputs z for z_mode = external")
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
    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.fmu.build import PLANT_HOST_NEEDS, SURROGATE_HOST_NEEDS, build_plant_fmu, build_python_fmu

    if (arguments.bundle is None) == (arguments.plant is None):
        raise ConfigError("build takes either a bundle or --plant FILE.py:CLASS")
    if arguments.plant is not None:
        if arguments.external_latents or arguments.model_identifier:
            raise ConfigError("--external-latents and --model-identifier are for bundles; leave them out with --plant")
        output = arguments.output or Path(f"{arguments.plant.rpartition(':')[2]}.fmu")
        path, needs = build_plant_fmu(arguments.plant, Path.cwd(), output), PLANT_HOST_NEEDS
    else:
        bundle = read_bundle(arguments.bundle)
        output = arguments.output or Path(f"{bundle.manifest.name}.fmu")
        path = build_python_fmu(
            bundle, output, external_latents=arguments.external_latents, model_identifier=arguments.model_identifier
        )
        needs = SURROGATE_HOST_NEEDS
    description = _validated(path)
    print(f"{path}  {path.stat().st_size / 1024:.0f} kB")
    print(f"FMI {description.fmiVersion} co-simulation, GUID {description.guid}")
    print(f"the host needs: {'; '.join(needs)}")
    return 0


def _validated(path: Path) -> Any:
    """FMPy's model description of an FMU in which FMPy finds no fault."""
    if find_spec("fmpy") is None:
        raise BuildError("FMPy, which checks the FMU, is not installed; install the extra: pip install 'surrogate-fmu[fmu]'")
    from fmpy import read_model_description
    from fmpy.validation import validate_fmu

    problems = validate_fmu(str(path))
    if problems:
        raise BuildError(f"{path} was written, but FMPy's validation reports: {'; '.join(problems)}")
    return read_model_description(str(path))
