"""`surrogate-fmu tap`: an FMU in the plant's place with the plant inside, and what its logs are good for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from surrogate_fmu.errors import BuildError, ConfigError

HELP = "put a recorder, a comparison or a guard around a plant's FMU, for any master"
_MODES = ("record", "shadow", "guarded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("fmu", nargs="?", type=Path, metavar="SLOW.fmu", help="the plant")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="the tap (*.fmu), the dataset (*.nc), or the report's folder"
    )
    parser.add_argument("--surrogate", type=Path, metavar="FAST.fmu", help="for the modes shadow and guarded")
    parser.add_argument(
        "--mode",
        metavar="MODE",
        help="record (default): the plant alone; shadow: the surrogate beside it; guarded: the surrogate leads, the plant where "
        "the surrogate cannot be trusted",
    )
    parser.add_argument(
        "--log", metavar="FOLDER", help="of the logs, relative to the master's working directory (default: tap-log)"
    )
    guard = parser.add_argument_group("mode guarded")
    guard.add_argument("--inside", type=int, metavar="N", help="steps in the domain until the surrogate leads again (default: 5)")
    guard.add_argument("--spread", action="append", metavar="OUTPUT=VALUE", help="of an ensemble, above which the plant leads")
    guard.add_argument("--agree", action="append", metavar="OUTPUT=VALUE", help="how near the surrogate must be to lead again")
    logs = parser.add_argument_group("logs instead of an FMU")
    logs.add_argument("--to-dataset", type=Path, nargs="+", metavar="LOGS", help="files or folders, made a dataset for train")
    logs.add_argument(
        "--to-report", type=Path, nargs="+", metavar="LOGS", help="files or folders, made a page: errors and hand-overs"
    )
    logs.add_argument("--steps", type=int, metavar="N", help="of each run of the dataset (default: those of the shortest run)")


def run(arguments: argparse.Namespace) -> int:
    """Build a tap, or read its logs; 0.

    Raises:
        ConfigError: the arguments do not go together, or a file is no FMU for co-simulation.
        BuildError: the FMUs cannot go into a tap.
        DatasetError: the logs cannot be used.
    """
    wanted = [arguments.fmu is not None, arguments.to_dataset is not None, arguments.to_report is not None]
    if sum(wanted) != 1 or arguments.output is None:
        raise ConfigError("tap takes SLOW.fmu, --to-dataset LOGS or --to-report LOGS, one of them, and -o PATH for what it makes")
    if arguments.fmu is not None:
        return _build(arguments)
    theirs = ("surrogate", "mode", "log", "inside", "spread", "agree")
    given = [f"--{name}" for name in theirs if getattr(arguments, name) is not None]
    if given:
        raise ConfigError(f"{', '.join(given)} are for building a tap; leave them out with logs")
    return _dataset(arguments) if arguments.to_dataset is not None else _report(arguments)


def _build(arguments: argparse.Namespace) -> int:
    from surrogate_fmu.fmu.tap.build import TAP_HOST_NEEDS, build_tap_fmu
    from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig

    mode = arguments.mode or Mode.RECORD.value
    if mode not in _MODES:
        raise ConfigError(f"there is no mode {mode!r}; the modes are {', '.join(_MODES)}")
    if arguments.steps is not None:
        raise ConfigError("--steps is for --to-dataset; leave it out when building a tap")
    guard = [f"--{name}" for name in ("inside", "spread", "agree") if getattr(arguments, name) is not None]
    if guard and mode != Mode.GUARDED:
        raise ConfigError(
            f"{', '.join(guard)} are for mode guarded, and the mode is {mode}; leave them out, or give --mode guarded"
        )
    try:
        config = TapConfig(
            Mode(mode),
            TapConfig.log if arguments.log is None else arguments.log,
            TapConfig.inside if arguments.inside is None else arguments.inside,
            _numbers("--spread", arguments.spread or ()),
            _numbers("--agree", arguments.agree or ()),
        )
    except ValueError as error:
        raise BuildError(str(error)) from error
    tap = build_tap_fmu(arguments.fmu, arguments.output, config, arguments.surrogate)
    print(f"{tap.path}  {tap.path.stat().st_size / 1024:.0f} kB, FMI {tap.fmi} co-simulation, mode {mode}")
    for warning in tap.warnings:
        print(f"warning: {warning}")
    print(f"it logs to {config.log} in the master's working directory, or where {LOG_VARIABLE} says")
    print(f"the host needs: {'; '.join(TAP_HOST_NEEDS)}")
    return 0


def _dataset(arguments: argparse.Namespace) -> int:
    from surrogate_fmu.cli.record import print_ranges
    from surrogate_fmu.dataset.store import write_trajectories
    from surrogate_fmu.fmu.tap.dataset import dataset_of
    from surrogate_fmu.fmu.tap.reading import read_logs

    if arguments.steps is not None and arguments.steps < 1:
        raise ConfigError(f"--steps {arguments.steps} must be at least 1")
    runs, left_out = dataset_of(read_logs(arguments.to_dataset), arguments.steps)
    write_trajectories(runs, arguments.output)
    print(f"{arguments.output}: {len(runs)} runs of {runs.step_count} steps")
    for sentence in left_out:
        print(f"  left out: {sentence}")
    print_ranges(runs)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from surrogate_fmu.evaluation.tap_report import report_lines, report_of, write_tap_report
    from surrogate_fmu.fmu.tap.reading import read_logs

    if arguments.steps is not None:
        raise ConfigError("--steps is for --to-dataset; leave it out with --to-report")
    report = report_of(read_logs(arguments.to_report))
    print("\n".join(report_lines(report)))
    print(write_tap_report(report, arguments.output))
    return 0


def _numbers(option: str, texts: Sequence[str]) -> dict[str, float]:
    numbers = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"{option} {text!r} must be OUTPUT=VALUE, such as {option} temperature=0.5")
    return numbers
