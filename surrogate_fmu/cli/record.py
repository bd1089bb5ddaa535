"""`surrogate-fmu record`: run the plant through designed schedules."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.variables import Causality, with_causality

if TYPE_CHECKING:
    from surrogate_fmu.dataset.trajectories import Trajectories

_SHOWN_FAILURES, _SHOWN_REASON = 5, 400

HELP = "record the plant: designed inputs, parallel runs, resumable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("config", type=Path, nargs="?", help="the surrogate.toml")
    tap = parser.add_argument_group("in its own system, without a surrogate.toml")
    tap.add_argument("--tap", type=Path, metavar="SYSTEM.ssp", help="run this system and record one of its components")
    tap.add_argument("--component", metavar="NAME", help="its name, or its path: building.heater")
    tap.add_argument("--step-size", type=float, metavar="S", help="communication step of the system [s]")
    tap.add_argument("--stop-time", type=float, metavar="S", help="default: that of the system's default experiment")
    tap.add_argument("--runs", type=int, default=1, metavar="N", help="each with other seeds of its components; default 1")
    parser.add_argument("--set", dest="splits", action="append", help="train, validation or test; default all in the file")
    parser.add_argument("--jobs", type=int, help="worker processes; default one per core")
    parser.add_argument("--engine", choices=("process", "ray"), default="process", help="who runs the plant (default: %(default)s)")
    parser.add_argument(
        "--ray-address", default="local", metavar="ADDRESS", help="local (default) starts a cluster; auto or host:port"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="folder of the datasets; default the one that the file names, with --tap this one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Record, and say what was left out."""
    if arguments.tap is not None:
        return _tap(arguments)
    if arguments.config is None:
        raise ConfigError("record needs a surrogate.toml, or --tap SYSTEM.ssp --component NAME --step-size S")
    from tqdm import tqdm

    from surrogate_fmu.config import load_config
    from surrogate_fmu.dataset.store import write_trajectories
    from surrogate_fmu.plant.excitation import draw_schedules
    from surrogate_fmu.plant.process_engine import run_in_processes
    from surrogate_fmu.plant.ray_engine import ray_engine
    from surrogate_fmu.plant.record import record
    from surrogate_fmu.schema import encode

    config = load_config(arguments.config)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError(f"--jobs {arguments.jobs} must be at least 1")
    splits = arguments.splits or list(config.recording.sets)
    for split in splits:
        if split not in config.recording.sets:
            raise config.error(("recording", "sets"), f"there is no set {split!r}; there are {', '.join(config.recording.sets)}")
    plant = config.plant_source.load()
    config.check_variables(plant.variables, f"the plant {config.surrogate.plant}")
    config.check_design(plant.variables, f"the plant {config.surrogate.plant}")
    engine = ray_engine(arguments.ray_address) if arguments.engine == "ray" else run_in_processes
    failed = 0
    for split in splits:
        entry = config.recording.sets[split]
        target = config.dataset_path(split)
        if arguments.output:
            target = arguments.output / target.name

        def progress(done: Iterator[Any], total: int, split: str = split) -> Iterator[Any]:
            return iter(tqdm(done, total=total, desc=f"recording {split}", unit="run"))

        recording = record(
            config.plant_source,
            draw_schedules(
                config.recording.design, entry.schedules, config.recording.steps, plant.communication_step_size, entry.seed
            ),
            entry.individuals,
            entry.seed,
            target.with_suffix(".runs"),
            arguments.jobs,
            progress,
            {"plant": config.surrogate.plant, "set": encode(entry), "design": encode(config.recording.design)},
            engine,
        )
        write_trajectories(recording.trajectories, target)
        runs = recording.trajectories
        print(f"{target}: {len(runs)} runs of {runs.step_count} steps, {target.stat().st_size / 1e6:.1f} MB")
        for failure in recording.failures[:_SHOWN_FAILURES]:
            reason = failure.reason if len(failure.reason) < _SHOWN_REASON else failure.reason[:_SHOWN_REASON] + " ..."
            print(f"  left out: plant seed {failure.plant_seed}, schedule {failure.schedule}: {reason}")
        if len(recording.failures) > _SHOWN_FAILURES:
            log = target.with_suffix(".failures.txt")
            log.write_text("".join(f"seed {f.plant_seed}, schedule {f.schedule}: {f.reason}\n" for f in recording.failures))
            print(f"  and {len(recording.failures) - _SHOWN_FAILURES} more runs; {log} has them all")
        failed += len(recording.failures)
    if failed:
        raise PlantError(f"{failed} runs failed and were left out; the datasets hold the others")
    return 0


def _tap(arguments: argparse.Namespace) -> int:
    """Record a component in its system."""
    from surrogate_fmu.dataset.store import write_trajectories
    from surrogate_fmu.ssp.tap import record_in_system

    if arguments.config is not None or arguments.component is None or arguments.step_size is None or arguments.runs < 1:
        raise ConfigError("--tap needs --component, --step-size and at least one of --runs, and no surrogate.toml")
    runs = record_in_system(arguments.tap, arguments.component, arguments.step_size, arguments.stop_time, arguments.runs)
    folder = arguments.output or Path()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{arguments.component.rpartition('.')[2]}.nc"
    write_trajectories(runs, target)
    print(f"{target}: {len(runs)} runs of {runs.step_count} steps")
    print_ranges(runs)
    return 0


def print_ranges(runs: "Trajectories") -> None:
    """Where the inputs moved, as `distill --range` takes it."""
    for place, variable in enumerate(with_causality(runs.variables, Causality.INPUT)):
        values = runs.inputs[..., place]
        print(f"  {variable.name} moved from {values.min():.6g} to {values.max():.6g} {variable.unit}")
