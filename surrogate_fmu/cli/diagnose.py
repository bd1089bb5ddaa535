"""`surrogate-fmu diagnose`: what is wrong with a generator, and what to do."""

import argparse
from pathlib import Path

HELP = "look for known failures of a bundle: collapse, calibration, memory, modes, tails, domain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="what to look at")
    parser.add_argument("--dataset", type=Path, required=True, metavar="NC", help="runs that were not trained on")
    parser.add_argument("--training", type=Path, metavar="NC", help="runs that were trained on, to look for overfitting")
    parser.add_argument("--config", type=Path, metavar="TOML", help="the surrogate.toml, whose balances long runs must keep")
    parser.add_argument("--members", type=int, default=64, metavar="N", help="surrogate runs per schedule")
    parser.add_argument("--seed", type=int, default=0, help="of runs and floors")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="write diagnosis.html, with pictures, and diagnosis.json there"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each failure that is looked for, and the measures beside the plant's own."""
    from rich.console import Console
    from rich.table import Table

    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.config import load_config
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.evaluation.diagnostics.diagnose import diagnose
    from surrogate_fmu.evaluation.diagnostics.finding import Level, worst_first
    from surrogate_fmu.evaluation.diagnostics.page import to_json, write_page
    from surrogate_fmu.evaluation.members import batched_members, check_same_interface

    if arguments.members < 4:
        raise ConfigError(f"--members {arguments.members} must be at least 4")
    bundle, test = read_bundle(arguments.bundle), read_trajectories(arguments.dataset)
    check_same_interface(bundle.manifest, test.variables, test.communication_step_size)
    training = None if arguments.training is None else read_trajectories(arguments.training)
    balances = () if arguments.config is None else load_config(arguments.config).verify.balances
    found = diagnose(batched_members(bundle), bundle.manifest, test, training, arguments.members, arguments.seed, bundle, balances)
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title=f"{arguments.bundle.name}: {found.worst.value}")
    for name in ("", "looked for", "figure", "plant's own", "what it means"):
        table.add_column(name, justify="right" if name in ("figure", "plant's own") else "left")
    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    for finding in worst_first(found.findings):
        level = f"[{colours[finding.level]}]{finding.level.value}[/]"
        table.add_row(level, finding.name, f"{finding.figure:.3g}", f"{finding.floor:.3g}", finding.sentence)
    console.print(table)
    measures = Table(title="two-sample measures of run properties")
    for name in ("measure", "surrogate", "plant's own", "what it means"):
        measures.add_column(name, justify="right" if name in ("surrogate", "plant's own") else "left")
    for name, (figure, floor, sentence) in found.measures.items():
        measures.add_row(name, f"{figure:.3g}", f"{floor:.3g}", sentence)
    console.print(measures)
    if arguments.json is not None:
        arguments.json.write_text(to_json(found), encoding="utf-8")
    if arguments.output is not None:
        html, _ = write_page(found, arguments.bundle.name, arguments.output)
        print(html)
    return 0
