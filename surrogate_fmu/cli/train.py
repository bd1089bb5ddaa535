"""`surrogate-fmu train`: a generator from recorded runs."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from surrogate_fmu.cli.durations import seconds
from surrogate_fmu.cli.progress import progress_bar

if TYPE_CHECKING:
    from surrogate_fmu.config import SurrogateConfig
    from surrogate_fmu.dataset.trajectories import Trajectories
    from surrogate_fmu.training.config import TrainingConfig

HELP = "train the generator on the recorded runs and write the bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("config", type=Path, help="the surrogate.toml")
    parser.add_argument("-o", "--output", type=Path, help="the bundle; default the one that the file names")
    parser.add_argument("--budget", type=seconds, metavar="CPU", help="end after so much CPU time in any case: 90s, 30m, 2h")
    parser.add_argument(
        "--race", metavar="RECIPES", help="train by several recipes side by side and take the best: energy,r3gan,vae or all"
    )
    parser.add_argument("--updates", type=int, help="length of the training")
    parser.add_argument("--objective", choices=("energy", "r3gan", "terms"), help="what to train on")
    parser.add_argument("--seed", type=int, help="of weights and batches")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint of an interrupted training")
    parser.add_argument("--log", type=Path, help="folder for TensorBoard event files")
    parser.add_argument("--mlflow", metavar="EXPERIMENT", help="log to MLflow, where MLFLOW_TRACKING_URI says")


def run(arguments: argparse.Namespace) -> int:
    """Train, with a progress bar; Ctrl-C leaves a checkpoint. Under torchrun, in all its processes together."""
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.training.processes import joined_processes

    with joined_processes() as processes:
        if processes.count > 1 and (arguments.race or arguments.resume):
            raise ConfigError("--race and --resume are for one process; leave out torchrun")
        return _train(arguments, processes.rank == 0)


def _train(arguments: argparse.Namespace, is_first: bool) -> int:
    """The first process shows, keeps and writes; the others only train."""
    from surrogate_fmu.bundle.archive import write_archive
    from surrogate_fmu.config import Split, load_config
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.schema import encode
    from surrogate_fmu.training.config import Objective
    from surrogate_fmu.training.export import make_trained_bundle
    from surrogate_fmu.training.log import open_log
    from surrogate_fmu.training.loop import Progress, train
    from surrogate_fmu.training.watch import Watch
    from surrogate_fmu.variables import Causality

    config = load_config(arguments.config)
    changes = {
        "budget_cpu_s": arguments.budget,
        "updates": arguments.updates,
        "seed": arguments.seed,
        "objective": Objective(arguments.objective) if arguments.objective else None,
    }
    try:
        settings = dataclasses.replace(config.training, **{k: v for k, v in changes.items() if v is not None})
    except ValueError as error:
        raise ConfigError(f"command line: {error}") from error
    datasets = {split: read_trajectories(config.dataset_path(split)) for split in (Split.TRAIN, Split.VALIDATION)}
    for split, dataset in datasets.items():
        config.check_variables(dataset.variables, f"the dataset {config.dataset_path(split)}")
    target = arguments.output or config.bundle_path
    checkpoint = target.with_name(target.name + ".checkpoint")
    names = datasets[Split.TRAIN].names(Causality.OUTPUT)
    if arguments.race:
        return _race(arguments, config, settings, datasets[Split.TRAIN], datasets[Split.VALIDATION], target)

    watch = Watch()
    try:
        with (
            progress_bar("training", 1.0, shown=is_first) as bar,
            open_log(arguments.log if is_first else None, arguments.mlflow if is_first else None, encode(settings)) as log,
        ):

            def report(progress: Progress) -> None:
                seen = progress.validation
                bar.show(progress.share, f"CRPS / plant's own: {seen.line(names)}" if seen else None)
                log(progress, names)
                for finding in watch.see(progress) if is_first else ():
                    bar.write(finding)

            result = train(
                datasets[Split.TRAIN],
                datasets[Split.VALIDATION],
                settings,
                checkpoint if is_first else None,
                arguments.resume,
                report,
                folder=arguments.config.parent,
            )
    except KeyboardInterrupt:
        if checkpoint.exists():
            print(f"stopped; {checkpoint} holds the state, go on with the same command and --resume")
        raise
    if not is_first:
        return 0
    bundle = make_trained_bundle(
        config.surrogate.name, config.surrogate.description, result, datasets[Split.TRAIN], datasets[Split.VALIDATION], settings
    )
    write_archive(bundle, target)
    checkpoint.unlink(missing_ok=True)
    print(
        f"{target}: {target.stat().st_size / 1e3:.0f} kB, best at update {result.best_update} of {result.updates}, "
        f"{result.cpu_s:.0f} CPU s"
    )
    print(f"validation CRPS over the plant's own: {result.best.line(names)}")
    return 0


def _race(
    arguments: argparse.Namespace,
    config: "SurrogateConfig",
    settings: "TrainingConfig",
    training: "Trajectories",
    validation: "Trajectories",
    target: Path,
) -> int:
    """Train by several recipes and keep the winner's bundle."""
    from rich.console import Console

    from surrogate_fmu.bundle.archive import write_archive
    from surrogate_fmu.cli.race_board import live_board, make_board, outcome
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.evaluation.ensembles import judge_conditions
    from surrogate_fmu.training.export import make_trained_bundle
    from surrogate_fmu.training.race import race
    from surrogate_fmu.training.recipes import find_recipes

    if arguments.resume or arguments.objective or arguments.updates:
        raise ConfigError("--race trains by its own recipes until the budget ends; leave out --resume, --objective and --updates")
    recipes = find_recipes(arguments.race)
    with live_board() as report:
        ended = race(
            training,
            validation,
            settings,
            recipes,
            settings.budget_cpu_s,
            report,
            arguments.config.parent,
            judge_conditions(validation, config.verify),
        )
    Console(width=None if Console().is_terminal else 160).print(make_board(ended.candidates, ended))
    for candidate in ended.candidates:
        for name, sentence in candidate.watch.findings.items():
            print(f"{candidate.recipe.name}, {name}: {sentence}")
    print(outcome(ended))
    winner = ended.winner
    assert winner.result is not None
    surrogate = config.surrogate
    bundle = make_trained_bundle(surrogate.name, surrogate.description, winner.result, training, validation, winner.config)
    write_archive(bundle, target)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB, trained by {winner.recipe.name}: {winner.recipe.description}")
    return 0
