"""`surrogate-fmu record`: run the plant through designed schedules."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surrogate_fmu.cli.progress import counted
from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.variables import Causality, with_causality

if TYPE_CHECKING:
    from surrogate_fmu.config import SurrogateConfig
    from surrogate_fmu.dataset.trajectories import Trajectories
    from surrogate_fmu.plant.excitation import Schedule
    from surrogate_fmu.plant.record import Recording

_SHOWN_FAILURES, _SHOWN_REASON = 5, 400

HELP = "record the plant: designed inputs, parallel runs, resumable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("config", type=Path, nargs="?", help="the surrogate.toml; with --plan the FMU")
    parser.add_argument(
        "--plan", type=Path, metavar="PLAN.toml", help="how the FMU is recorded: a surrogate.toml of which [recording] is enough"
    )
    tap = parser.add_argument_group("in its own system, without a surrogate.toml")
    tap.add_argument("--tap", type=Path, metavar="SYSTEM.ssp", help="run this system and record one of its components")
    tap.add_argument("--component", metavar="NAME", help="its name, or its path: building.heater")
    tap.add_argument("--step-size", type=float, metavar="S", help="communication step of the system [s]")
    tap.add_argument("--stop-time", type=float, metavar="S", help="default: that of the system's default experiment")
    tap.add_argument("--runs", type=int, default=1, metavar="N", help="each with other seeds of its components; default 1")
    parser.add_argument(
        "--rounds", action="store_true", help="record the training set in rounds, where a surrogate trained on it is unsure"
    )
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
    plan, fmu = _plan_of(arguments)
    from surrogate_fmu.config import RecordingSet, Split, load_config
    from surrogate_fmu.dataset.store import write_trajectories
    from surrogate_fmu.plant.excitation import Schedule, draw_schedules
    from surrogate_fmu.plant.process_engine import run_in_processes
    from surrogate_fmu.plant.ray_engine import ray_engine
    from surrogate_fmu.plant.record import Recording, record
    from surrogate_fmu.schema import encode

    config = load_config(plan, fmu)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError(f"--jobs {arguments.jobs} must be at least 1")
    splits = arguments.splits or list(config.recording.sets)
    for split in splits:
        if split not in config.recording.sets:
            raise config.error(("recording", "sets"), f"there is no set {split!r}; there are {', '.join(config.recording.sets)}")
    plant = config.plant_source.load()
    config = config.by_element(plant.variables)
    config.check_variables(plant.variables, f"the plant {config.surrogate.plant}")
    config.check_design(plant.variables, f"the plant {config.surrogate.plant}")
    profiles = config.read_profiles()
    engine = ray_engine(arguments.ray_address) if arguments.engine == "ray" else run_in_processes
    rounds = config.recording.rounds
    if arguments.rounds:
        splits = sorted(splits, key=lambda split: split == Split.TRAIN)  # the rounds are scored on the validation set
    failed = 0
    for split in splits:
        entry = config.recording.sets[split]
        target = config.dataset_path(split)
        if arguments.output:
            target = arguments.output / target.name
        in_rounds = arguments.rounds and split == Split.TRAIN
        schedules = draw_schedules(
            config.recording.design,
            entry.schedules * (rounds.pool if in_rounds else 1),
            config.recording.steps,
            plant.communication_step_size,
            entry.seed,
            profiles,
        )
        provenance = {
            "plant": config.surrogate.plant,
            "set": encode(entry),
            "design": encode(config.recording.design),
            "profiles": {name: profile.checksum() for name, profile in profiles.items()},
        }

        def record_some(
            places: Sequence[int],
            split: str = split,
            entry: RecordingSet = entry,
            target: Path = target,
            schedules: Sequence[Schedule] = schedules,
            provenance: Mapping[str, Any] = provenance,
        ) -> Recording:
            return record(
                config.plant_source,
                [schedules[place] for place in places],
                entry.individuals,
                entry.seed,
                target.with_suffix(".runs"),
                arguments.jobs,
                lambda done, total: counted(f"recording {split}", done, total),
                provenance,
                engine,
            )

        if in_rounds:
            recording = _in_rounds(record_some, schedules, target, config)
        else:
            recording = record_some(range(len(schedules)))
        write_trajectories(recording.trajectories, target)
        failed += _tell(recording, target)
    if failed:
        raise PlantError(f"{failed} runs failed and were left out; the datasets hold the others")
    return 0


def _in_rounds(
    record_some: Callable[[Sequence[int]], "Recording"], schedules: Sequence["Schedule"], target: Path, config: "SurrogateConfig"
) -> "Recording":
    """Record the training set in rounds, and say after each how the surrogate stands."""
    from surrogate_fmu.config import Split
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.dataset.trajectories import Trajectories
    from surrogate_fmu.distill.rounds import Round, run_rounds
    from surrogate_fmu.plant.excitation import conditions_of

    beside = target.with_name(config.dataset_path(Split.VALIDATION).name)
    if not beside.exists():
        raise ConfigError(
            f"rounds are scored on the validation set, and there is none at {beside}; leave out --set, or record it first"
        )
    validation = read_trajectories(beside)
    last: list[Recording] = []

    def take(places: Sequence[int]) -> Trajectories:
        last[:] = [record_some(places)]
        return last[0].trajectories

    def report(found: Round) -> None:
        line = f"  {found.recorded} schedules: score {found.score:.4g}, disagreement {found.disagreement:.3g} of the spread"
        print(f"{line}; {found.why}" if found.why else f"{line}; {len(found.chosen)} more where it is unsure", flush=True)

    run_rounds(
        take,
        conditions_of(schedules, validation.variables),
        validation,
        config.training,
        config.recording.rounds,
        config.recording.sets[Split.TRAIN].schedules,
        report,
    )
    return last[0]


def _tell(recording: "Recording", target: Path) -> int:
    """Say what was recorded and what was left out, and give the number of these."""
    runs = recording.trajectories
    print(f"{target}: {len(runs)} runs of {runs.step_count} steps, {target.stat().st_size / 1e6:.1f} MB")
    for failure in recording.failures[:_SHOWN_FAILURES]:
        reason = failure.reason if len(failure.reason) < _SHOWN_REASON else failure.reason[:_SHOWN_REASON] + " ..."
        print(f"  left out: plant seed {failure.plant_seed}, schedule {failure.schedule}: {reason}")
    if len(recording.failures) > _SHOWN_FAILURES:
        log = target.with_suffix(".failures.txt")
        log.write_text("".join(f"seed {f.plant_seed}, schedule {f.schedule}: {f.reason}\n" for f in recording.failures))
        print(f"  and {len(recording.failures) - _SHOWN_FAILURES} more runs; {log} has them all")
    return len(recording.failures)


def _plan_of(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """The configuration, and the FMU that takes the place of its plant."""
    given: Path | None = arguments.config
    is_fmu = given is not None and given.suffix.lower() == ".fmu"
    if arguments.plan is not None and not is_fmu:
        raise ConfigError(f"--plan goes with an FMU: record Slow.fmu --plan {arguments.plan}; got {given or 'none'}")
    if given is None:
        raise ConfigError(
            "record needs a surrogate.toml, or Slow.fmu --plan plan.toml, or --tap SYSTEM.ssp --component NAME --step-size S"
        )
    if is_fmu and arguments.plan is None:
        raise ConfigError(
            f"{given} does not say how its inputs are excited; give a plan with [recording]: record {given} --plan plan.toml"
        )
    return (arguments.plan, given) if is_fmu else (given, None)


def _tap(arguments: argparse.Namespace) -> int:
    """Record a component in its system."""
    from surrogate_fmu.dataset.store import write_trajectories
    from surrogate_fmu.ssp.tap import record_in_system

    no_file = arguments.config is None and arguments.plan is None
    if not no_file or arguments.component is None or arguments.step_size is None or arguments.runs < 1:
        raise ConfigError(
            "--tap needs --component, --step-size and at least one of --runs, and neither a surrogate.toml nor --plan"
        )
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
