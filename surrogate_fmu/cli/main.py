"""`surrogate-fmu`: the verbs, and how errors leave the process."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from surrogate_fmu.errors import SurrogateError

VERBS = (
    "distill",
    "record",
    "train",
    "search",
    "build",
    "verify",
    "swap",
    "compare",
    "tap",
    "diagnose",
    "calibrate",
    "serve",
    "top",
    "rollout",
    "export",
    "inspect",
)
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_READER_GONE = 141  # 128 + SIGPIPE


def make_parser() -> argparse.ArgumentParser:
    """The parser with all verbs; verb modules import nothing heavy until they run."""
    parser = argparse.ArgumentParser(
        prog="surrogate-fmu",
        description="Record a slow co-simulation component, train a conditional generator on it, and put it in its place.",
        epilog="The usual order: record, train, build, verify; serve and top for gRPC; inspect looks into any file.",
    )
    parser.add_argument("--version", action="version", version=f"surrogate-fmu {metadata.version('surrogate-fmu')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        module = importlib.import_module(f"surrogate_fmu.cli.{verb}")
        subparser = verbs.add_parser(verb, help=module.HELP, description=module.HELP)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; errors of the package become a sentence on stderr and their exit code."""
    parsed = make_parser().parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
        return status
    except SurrogateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # as with `surrogate-fmu inspect X | head`
        # What is still in the buffer has nowhere to go, and would raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE


if __name__ == "__main__":
    sys.exit(main())
