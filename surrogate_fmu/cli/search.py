"""`surrogate-fmu search`: settings of the training, by trials."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from surrogate_fmu.cli.durations import seconds

if TYPE_CHECKING:
    from surrogate_fmu.training.trial import Engine

HELP = "look for the best settings of the training by trials, and write the bundle of the best one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("config", type=Path, help="the surrogate.toml")
    parser.add_argument("-o", "--output", type=Path, help="the bundle; default the one that the file names")
    parser.add_argument("--trials", type=int, default=20, help="how many the study is to have in the end")
    parser.add_argument("--budget", type=seconds, required=True, metavar="CPU", help="CPU time of all trials: 90s, 30m, 2h")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="SETTING",
        help="a setting to vary, by its path in [training]: generator.width=32,64 or learning_rate=1e-4:1e-2:log; may be repeated",
    )
    parser.add_argument("--grid", action="store_true", help="try every combination of the values given with --vary")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="who trains (default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="COUNT", help="trials of Ray at once (default: one per core)")
    parser.add_argument(
        "--ray-address",
        default="local",
        metavar="ADDRESS",
        help="local starts a cluster here; auto or host:port joins a running one",
    )
    parser.add_argument("--study", type=Path, help="file that keeps the study; default search.db beside the bundle")


def run(arguments: argparse.Namespace) -> int:
    """Search, with a line for each trial; the same command again goes on with the study."""
    from rich.console import Console
    from rich.table import Table

    from surrogate_fmu.bundle.archive import write_archive
    from surrogate_fmu.config import Split, load_config
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.evaluation.ensembles import judge_conditions
    from surrogate_fmu.training.export import make_trained_bundle
    from surrogate_fmu.training.search import DEFAULT_SPACE, Trial, parse_space, search

    if arguments.trials < 1:
        raise ConfigError(f"--trials {arguments.trials} must be at least 1")
    if arguments.grid and not arguments.vary:
        raise ConfigError("--grid needs settings and their values: --vary generator.width=32,64")
    config = load_config(arguments.config)
    training, validation = (read_trajectories(config.dataset_path(split)) for split in (Split.TRAIN, Split.VALIDATION))
    target = arguments.output or config.bundle_path
    study = arguments.study or target.with_name("search.db")

    def report(trial: Trial) -> None:
        score = trial.state if trial.score is None else f"{trial.score:.3f}"
        settings = "  ".join(f"{path}={_short(value)}" for path, value in trial.settings.items())
        print(f"trial {trial.number + 1:3d} of {arguments.trials}  {score:>8}  {settings}", flush=True)

    found = search(
        training,
        validation,
        config.training,
        arguments.trials,
        arguments.budget,
        parse_space(arguments.vary) if arguments.vary else DEFAULT_SPACE,
        arguments.grid,
        study,
        report,
        arguments.config.parent,
        long_conditions=judge_conditions(validation, config.verify),
        engine=_engine(arguments),
    )
    table = Table(title="best trials; 1 is the plant's own")
    for name in ("trial", "score", *found.trial.settings):
        table.add_column(name, justify="right")
    complete = sorted((trial for trial in found.trials if trial.score is not None), key=lambda trial: trial.score or 0.0)
    for trial in complete[:8]:
        table.add_row(f"{trial.number + 1}", f"{trial.score:.3f}", *(_short(value) for value in trial.settings.values()))
    Console(width=None if Console().is_terminal else 160).print(table)
    surrogate = config.surrogate
    write_archive(
        make_trained_bundle(surrogate.name, surrogate.description, found.result, training, validation, found.config), target
    )
    judged = found.judgement
    print(
        f"{target}: {target.stat().st_size / 1e3:.0f} kB, trial {found.trial.number + 1}, score {judged.score:.3f} "
        f"[{judged.low:.3f} {judged.high:.3f}]; {study} keeps the study"
    )
    return 0


def _engine(arguments: argparse.Namespace) -> "Engine":
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.training.trial import in_turn

    if arguments.engine == "local":
        if arguments.workers is not None or arguments.ray_address != "local":
            raise ConfigError("--workers and --ray-address are for trials on Ray: add --engine ray")
        return in_turn
    if arguments.workers is not None and arguments.workers < 1:
        raise ConfigError(f"--workers {arguments.workers} must be at least 1")
    from surrogate_fmu.runtime.ray_farm import run_tasks_on_ray

    return partial(run_tasks_on_ray, worker_count=arguments.workers, address=arguments.ray_address)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
