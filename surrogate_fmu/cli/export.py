"""`surrogate-fmu export`: a bundle for the server of somebody else."""

import argparse
from pathlib import Path

HELP = "write a bundle as a model of another server: Triton"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle to export")
    parser.add_argument("--to", choices=("triton",), required=True, help="a model repository of NVIDIA Triton, see docs/scale.md")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the repository; its other models stay")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where Triton runs it (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, metavar="ROWS", help="rows of a batch at most (default: %(default)s)")
    parser.add_argument(
        "--sequences", type=int, default=1024, metavar="COUNT", help="runs in memory at once (default: %(default)s)"
    )
    parser.add_argument(
        "--idle-timeout-s", type=float, default=3600.0, metavar="SECONDS", help="idle runs lose their state (default: %(default)g)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the repository and print where; 0.

    Raises:
        ConfigError: a setting cannot be used, or the folder cannot be written.
        BundleError: the bundle cannot be read or exported.
    """
    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.bundle.triton import write_triton_repository

    folder = write_triton_repository(
        read_bundle(arguments.bundle),
        arguments.output,
        arguments.device,
        arguments.batch,
        arguments.sequences,
        arguments.idle_timeout_s,
    )
    print(f"{folder}  (tritonserver --model-repository {arguments.output})")
    return 0
