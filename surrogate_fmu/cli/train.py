"""`surrogate-fmu train`: a generator from recorded runs."""

import argparse
import dataclasses
from pathlib import Path

HELP = "train the generator on the recorded runs and write the bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("config", type=Path, help="the surrogate.toml")
    parser.add_argument("-o", "--output", type=Path, help="the bundle; default the one that the file names")
    parser.add_argument("--budget", type=float, metavar="CPU_S", help="end after so many CPU seconds in any case")
    parser.add_argument("--updates", type=int, help="length of the training")
    parser.add_argument("--objective", choices=("energy", "r3gan"), help="what to train on")
    parser.add_argument("--seed", type=int, help="of weights and batches")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint of an interrupted training")
    parser.add_argument("--log", type=Path, help="folder for TensorBoard event files")


def run(arguments: argparse.Namespace) -> int:
    """Train, with a progress bar; Ctrl-C leaves a checkpoint."""
    from tqdm import tqdm

    from surrogate_fmu.bundle.archive import write_archive
    from surrogate_fmu.config import Split, load_config
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.errors import ConfigError
    from surrogate_fmu.training.config import Objective
    from surrogate_fmu.training.export import make_trained_bundle
    from surrogate_fmu.training.log import open_log
    from surrogate_fmu.training.loop import Progress, train
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

    with (
        tqdm(total=1000, desc="training", bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}") as bar,
        open_log(arguments.log) as log,
    ):

        def report(progress: Progress) -> None:
            bar.update(round(1000 * progress.share) - bar.n)
            if progress.validation:
                bar.set_postfix_str(f"CRPS / plant's own: {progress.validation.line(names)}")
            log(progress, names)

        try:
            result = train(datasets[Split.TRAIN], datasets[Split.VALIDATION], settings, checkpoint, arguments.resume, report)
        except KeyboardInterrupt:
            bar.close()
            if checkpoint.exists():
                print(f"\nstopped; {checkpoint} holds the state, go on with the same command and --resume")
            raise
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
