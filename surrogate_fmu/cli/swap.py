"""`surrogate-fmu swap`: put the surrogate in the plant's place in a system (SSP 1.0)."""

import argparse
from pathlib import Path

HELP = "put an FMU in the place of a component of an SSP archive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("system", type=Path, metavar="SYSTEM.ssp", help="the finished system")
    parser.add_argument("--component", required=True, metavar="NAME", help="its name, or its path: building.heater")
    parser.add_argument("--with", dest="fmu", type=Path, required=True, metavar="FAST.fmu", help="what to put in its place")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FAST.ssp", help="the new system")


def run(arguments: argparse.Namespace) -> int:
    """Swap, and say what was done."""
    from surrogate_fmu.ssp.swap import swap

    done = swap(arguments.system, arguments.component, arguments.fmu, arguments.output)
    print(f"{arguments.output}: {done.component.path} is {done.member}, it was {done.component.source}")
    if done.removed:
        print(f"  {done.removed} is left out, no component needs it any more")
    for warning in done.warnings:
        print(f"warning: {warning}")
    return 0
