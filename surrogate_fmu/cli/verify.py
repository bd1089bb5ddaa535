"""`surrogate-fmu verify`: measure an artefact against its plant and say whether it may take its place."""

import argparse
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from surrogate_fmu.cli.progress import counted
from surrogate_fmu.errors import ConfigError

if TYPE_CHECKING:
    from surrogate_fmu.config import SurrogateConfig
    from surrogate_fmu.dataset.trajectories import Trajectories
    from surrogate_fmu.evaluation.card import Speed
    from surrogate_fmu.evaluation.config import VerifyConfig
    from surrogate_fmu.evaluation.members import Members, Progress

HELP = "measure a built FMU or a bundle against its plant and give a verdict"
_EXTRA = ("xarray", "matplotlib", "jinja2", "rich")
_TIMED_STEPS = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("artefact", type=Path, metavar="ARTEFACT", help="a .fmu, run through an FMI master, or a .bundle")
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--config", type=Path, metavar="TOML", help="the surrogate.toml of the model")
    against.add_argument("--plant", type=Path, metavar="SLOW.fmu", help="replay the plant itself over the surrogate's domain")
    parser.add_argument("--steps", type=int, default=120, metavar="N", help="of a run, with --plant; default 120")
    parser.add_argument("--schedules", type=int, default=12, metavar="N", help="different inputs, with --plant; default 12")
    parser.add_argument(
        "--individuals", type=int, metavar="N", help="plant runs per schedule, with --plant; default 24, 1 if it has no latents"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="workers for the plant's runs, with --plant; default one per core")
    parser.add_argument("--engine", choices=("process", "ray"), default="process", help="who runs the plant, with --plant")
    parser.add_argument(
        "--ray-address", default="local", metavar="ADDRESS", help="local (default) starts a cluster; auto or host:port"
    )
    parser.add_argument("--dataset", type=Path, metavar="NC", help="test trajectories; default: the test set of the configuration")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="where card.html and card.json go; default: card/ beside it"
    )
    parser.add_argument("--members", type=int, metavar="N", help="surrogate runs per schedule; default: as configured")
    parser.add_argument("--rollouts", type=int, metavar="N", help="long runs that must not diverge; default: as configured")
    parser.add_argument("--time-plant", action="store_true", help="step the plant of the configuration too, for the speed-up")
    parser.add_argument("--embed", action="store_true", help="write the card into the bundle, for FMUs built from it")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1")


def run(arguments: argparse.Namespace) -> int:
    """Verify, print the verdict, write the card; 0 for replace and assist.

    Raises:
        VerdictError: the artefact was rejected; the card is written all the same.
        ConfigError, DatasetError, BundleError, BuildError: something given cannot be used.
    """
    artefact: Path = arguments.artefact
    if artefact.suffix not in (".fmu", ".bundle"):
        raise ConfigError(f"{artefact} has the suffix {artefact.suffix!r}; verify takes a .fmu or a .bundle")
    if not artefact.is_file():
        raise ConfigError(f"there is no file {artefact}; make it with: surrogate-fmu build, or train")
    if arguments.embed and artefact.suffix != ".bundle":
        raise ConfigError(f"--embed writes into a bundle, {artefact} is none; verify the bundle, and build the FMU from it again")
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed; install the extra: pip install 'surrogate-fmu[verify]'")
    import dataclasses
    from datetime import UTC, datetime

    from surrogate_fmu.config import load_config
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.errors import VerdictError
    from surrogate_fmu.evaluation.card import verdict_lines
    from surrogate_fmu.evaluation.config import Verdict
    from surrogate_fmu.evaluation.plots import draw_all
    from surrogate_fmu.evaluation.report import embed_card, write_report
    from surrogate_fmu.evaluation.verify import describe_artefact, verify

    config = load_config(arguments.config) if arguments.config else None
    if config is None:
        trajectories, settings = _replay(arguments)
    else:
        trajectories = read_trajectories(arguments.dataset or config.dataset_path("test"))
        settings = config.verify
    for option, name, value in (("--members", "members", arguments.members), ("--rollouts", "rollout_count", arguments.rollouts)):
        if value is not None:
            try:
                settings = dataclasses.replace(settings, **{name: value})
            except ValueError as error:
                raise ConfigError(f"{option}: {error}") from error
    make_members, speeds, latent_dim = _open(artefact, trajectories, arguments.device, _bar("run"))
    if arguments.time_plant and config is not None:
        speeds = _beside_plant(speeds, config, trajectories)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    verification = verify(
        make_members,
        trajectories,
        settings,
        describe_artefact(artefact),
        date,
        speeds,
        progress=_bar("resampling"),
        latent_dim=latent_dim,
    )
    folder = arguments.output or artefact.parent / "card"
    html, _ = write_report(verification.card, draw_all(verification), folder)
    if arguments.embed:
        embed_card(verification.card, artefact)
    print("\n".join(verdict_lines(verification.card)))
    print(html)
    if verification.card.verdict is Verdict.REJECT:
        raise VerdictError(f"{artefact} was rejected; {html} says by which gates")
    return 0


def _replay(arguments: argparse.Namespace) -> tuple["Trajectories", "VerifyConfig"]:
    """Runs of the plant over the domain of the artefact, and settings that fit their length."""
    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.distill.replay import record_test_runs
    from surrogate_fmu.evaluation.config import VerifyConfig
    from surrogate_fmu.fmu.unpacked import unpack_fmu
    from surrogate_fmu.plant.process_engine import run_in_processes
    from surrogate_fmu.plant.ray_engine import ray_engine

    for option in ("steps", "schedules", "individuals", "jobs"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option} {value} must be at least 1")
    artefact: Path = arguments.artefact
    manifest = read_bundle(artefact).manifest if artefact.suffix == ".bundle" else unpack_fmu(artefact).manifest
    individuals = arguments.individuals or (24 if manifest.latent_dim else 1)
    print(f"running the plant: {arguments.schedules} schedules x {individuals} runs of {arguments.steps} steps", flush=True)
    engine = ray_engine(arguments.ray_address) if arguments.engine == "ray" else run_in_processes
    runs = record_test_runs(manifest, arguments.plant, arguments.steps, arguments.schedules, individuals, arguments.jobs, engine)
    leads = tuple(sorted({max(1, arguments.steps // 12), max(1, arguments.steps // 4)}))
    return runs, VerifyConfig(leads=leads, rollout_count=0)


def _open(
    artefact: Path, trajectories: "Trajectories", device: str, progress: "Progress"
) -> tuple["Members", dict[str, "Speed"], int]:
    """The artefact's runs, what a step costs beside the plant's, and how many latents it has."""
    from surrogate_fmu.evaluation import members
    from surrogate_fmu.evaluation.card import Speed

    session: members.SteppedSession
    if artefact.suffix == ".fmu":
        from surrogate_fmu.fmu.master import FmuSession

        label, make_members = "FMU through FMPy", members.fmu_members(artefact, device=device, progress=progress)
        session = FmuSession(artefact, device=device)
    else:
        from surrogate_fmu.bundle.archive import read_bundle
        from surrogate_fmu.runtime.session import Session

        bundle = read_bundle(artefact)
        label, make_members = "session", members.batched_members(bundle, device=device)
        session = Session(bundle, device=device)
    try:
        members.check_same_interface(session.manifest, trajectories.variables, trajectories.communication_step_size)
        seconds = members.seconds_per_step(session, trajectories.conditions()[0, :_TIMED_STEPS])
    finally:
        session.close()
    return make_members, {label: Speed(seconds)}, session.manifest.latent_dim


def _beside_plant(speeds: "Mapping[str, Speed]", config: "SurrogateConfig", trajectories: "Trajectories") -> dict[str, "Speed"]:
    """The same with the plant's own step, taken on the same machine in the same run."""
    from surrogate_fmu.evaluation.card import Speed
    from surrogate_fmu.evaluation.members import plant_seconds_per_step

    plant = config.plant_source.load()
    config.check_variables(plant.variables, f"the plant {config.surrogate.plant}")
    seconds = plant_seconds_per_step(plant, trajectories.conditions()[0, :_TIMED_STEPS])
    ratios = {label: Speed(speed.seconds_per_step, seconds / speed.seconds_per_step) for label, speed in speeds.items()}
    return {"plant": Speed(seconds), **ratios}


def _bar(what: str) -> "Progress":
    return lambda items, total: counted(what, items, total)
