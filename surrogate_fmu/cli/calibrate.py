"""`surrogate-fmu calibrate`: which unit of the fleet was measured."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surrogate_fmu.cli.names import split_names
from surrogate_fmu.errors import ConfigError

if TYPE_CHECKING:
    from surrogate_fmu.calibration.posterior import Posterior
    from surrogate_fmu.manifest import Manifest

HELP = "find the latents and parameters that explain what was measured of one unit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the surrogate of the fleet")
    parser.add_argument("measurements", type=Path, metavar="MEASUREMENTS", help="a table (.csv) or a dataset of record (.nc)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NPZ", help="the posterior to write")
    parser.add_argument(
        "--method", choices=("gradient", "enkf", "particles"), default="gradient", help="how (default: %(default)s)"
    )
    parser.add_argument("--until", type=int, metavar="STEP", help="use what was measured up to this step (default: all)")
    parser.add_argument("--run", dest="run_number", type=int, metavar="NUMBER", help="which run of a dataset, from 0")
    parser.add_argument("--outputs", metavar="NAME,NAME", help="calibrate by these outputs alone (default: all that were measured)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the run")
    parser.add_argument(
        "--estimate",
        action="append",
        default=[],
        metavar="NAME[=LOW:HIGH]",
        help="a parameter that is not known (default range: that of the training data)",
    )
    parser.add_argument("--noise", action="append", default=[], metavar="NAME=VALUE", help="noise of an output, standard deviation")
    parser.add_argument(
        "--noise-share", type=float, default=0.2, help="noise of the others, in spreads between units (default: %(default)s)"
    )
    parser.add_argument("--members", type=int, default=512, metavar="N", help="of the posterior (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of its draws (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, write, and say what was found; 0.

    Raises:
        ConfigError: the arguments do not go together, or the bundle is deterministic.
        DatasetError: the measurements do not fit the bundle.
        BundleError, DeviceError: the bundle cannot be read, or not run there.
    """
    if arguments.output.suffix != ".npz":
        raise ConfigError(f"--output {arguments.output} must end with .npz, which numpy reads")
    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.calibration.calibrate import calibrate
    from surrogate_fmu.calibration.config import CalibrationConfig, Method
    from surrogate_fmu.calibration.reading import read_measurements

    config = CalibrationConfig(
        Method(arguments.method),
        arguments.members,
        arguments.seed,
        dict(_estimate(text) for text in arguments.estimate),
        dict(_number(text, "--noise") for text in arguments.noise),
        arguments.noise_share,
    )
    bundle = read_bundle(arguments.bundle)
    given = dict(_number(text, "--set") for text in arguments.set)
    measurements = read_measurements(arguments.measurements, bundle.manifest, given, arguments.run_number)
    if arguments.outputs is not None:
        measurements = measurements.only(bundle.manifest, split_names(arguments.outputs))
    if arguments.until is not None:
        measurements = measurements.until(arguments.until)
    posterior = calibrate(bundle, measurements, config, arguments.device)
    posterior.save(arguments.output)
    print(describe(posterior, bundle.manifest))
    print(f"{arguments.output}  {arguments.output.stat().st_size / 1e6:.1f} MB, stands at step {posterior.step_count}")
    return 0


def describe(posterior: "Posterior", manifest: "Manifest") -> str:
    """What was found, in lines."""
    import numpy as np

    from surrogate_fmu.variables import scalar_names

    found = posterior.diagnostics
    lines = ["output: misfit before -> after, noise reckoned with"]
    for place, name in enumerate(name for variable in manifest.outputs for name in scalar_names(variable)):
        if math.isnan(found.misfit_before[place]):
            lines.append(f"  {name}: not measured")
        else:
            before, after, noise = found.misfit_before[place], found.misfit_after[place], posterior.noise[place]
            lines.append(f"  {name}: {before:.3g} -> {after:.3g}, {noise:.3g}")
    labels = [f"z[{place + 1}]" for place in range(posterior.run_latents.shape[1])]
    values = posterior.run_latents
    names = [name for variable in manifest.parameters for name in scalar_names(variable)]
    labels += posterior.estimated
    values = np.concatenate([values, posterior.parameters[:, [names.index(name) for name in posterior.estimated]]], axis=1)
    mean = posterior.weights @ values
    spread = np.sqrt(posterior.weights @ (values - mean) ** 2)
    lines.append("unknown: mean and standard deviation (of a run latent 0 and 1 before)")
    lines += [f"  {label}: {m:.3g} +- {s:.2g}" for label, m, s in zip(labels, mean, spread, strict=True)]
    lines.append(f"effective sample size: {found.effective_sample_size:.0f} of {len(posterior.weights)}")
    if found.outside_prior:
        lines.append(f"no unit of the fleet explains the data within the noise (p = {found.p_value:.1g})")
    else:
        lines.append(f"a unit of the fleet explains the data (p = {found.p_value:.2g})")
    return "\n".join(lines)


def _number(text: str, option: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError("there is no =")
        return name.strip(), float(value)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} cannot be read ({error}); give NAME=VALUE") from error


def _estimate(text: str) -> tuple[str, Any]:
    from surrogate_fmu.manifest import Interval

    name, equals, ends = text.partition("=")
    if not equals:
        return name.strip(), None
    low, _, high = ends.partition(":")
    try:
        return name.strip(), Interval(float(low), float(high))
    except ValueError as error:
        raise ConfigError(f"--estimate {text!r} cannot be read ({error}); give NAME or NAME=LOW:HIGH") from error
