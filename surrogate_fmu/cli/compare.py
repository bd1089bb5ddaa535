"""`surrogate-fmu compare`: a system before and after a swap, in one master."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from surrogate_fmu.errors import ConfigError

HELP = "run a system before and after a swap: signals, errors, spread, wall time"
_EXTRA = ("fmpy", "jinja2", "matplotlib")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("before", type=Path, metavar="SYSTEM.ssp")
    parser.add_argument("after", type=Path, metavar="FAST.ssp")
    parser.add_argument("--step-size", type=float, required=True, metavar="S", help="communication step [s]")
    parser.add_argument("--stop-time", type=float, metavar="S", help="default: that of the system's default experiment")
    parser.add_argument("--runs", type=int, default=8, metavar="N", help="of a system with seeds; default 8")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="of compare.html; default compare/ beside the second")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the table, write the page."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed; install the extra: pip install 'surrogate-fmu[verify]'")
    if arguments.runs < 1:
        raise ConfigError(f"--runs {arguments.runs} must be at least 1")
    from surrogate_fmu.evaluation.system_report import comparison_lines, write_comparison
    from surrogate_fmu.ssp.compare import compare

    result = compare(arguments.before, arguments.after, arguments.step_size, arguments.stop_time, arguments.runs)
    folder = arguments.output or arguments.after.parent / "compare"
    page = write_comparison(result, arguments.before.name, arguments.after.name, folder)
    print("\n".join(comparison_lines(result)))
    print(page)
    return 0
