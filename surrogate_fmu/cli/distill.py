"""`surrogate-fmu distill`: from a slow FMU to a fast one with its card, by the verbs that there are."""

import argparse
import contextlib
import math
import os
import shlex
import shutil
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from surrogate_fmu.cli.beside import verb_beside
from surrogate_fmu.cli.durations import seconds
from surrogate_fmu.cli.names import split_names
from surrogate_fmu.errors import ConfigError, PlantError

if TYPE_CHECKING:
    from surrogate_fmu.config import SurrogateConfig
    from surrogate_fmu.plant.design import Range
    from surrogate_fmu.plant.settings import PlantSettings

HELP = "from a slow FMU to a fast one: survey, plan, record, train, build, verify"
_SURVEY_STEPS = 200
_SHOWN = 12  # names in a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("plant", type=Path, metavar="SLOW.fmu", help="the component that is to be replaced")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FAST.fmu", help="the surrogate's FMU")
    parser.add_argument(
        "--range",
        dest="ranges",
        action="append",
        default=[],
        metavar="INPUT=LOW:HIGH",
        help="where an input, or each element of an array, moves in your system",
    )
    parser.add_argument("--hold", action="append", default=[], metavar="INPUT=VALUE", help="an input that keeps one value")
    parser.add_argument(
        "--parameter", dest="parameters", action="append", default=[], metavar="NAME=LOW:HIGH", help="a parameter that varies"
    )
    parser.add_argument("--set", dest="values", action="append", default=[], metavar="NAME=VALUE", help="a parameter to set")
    parser.add_argument("--outputs", metavar="A,B", help="the outputs that are needed; default all that are numbers")
    parser.add_argument("--step-size", type=float, default=0.0, metavar="S", help="communication step of your system [s]")
    parser.add_argument("--budget", type=seconds, default=1200.0, metavar="TIME", help="for recording and training: 20m, 2h")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes; default one per core")
    parser.add_argument("--rounds", action="store_true", help="record in rounds, where the surrogate is unsure; for slow plants")
    parser.add_argument("--backend", choices=("native", "python"), help="of the surrogate's FMU; default the plan's, native")
    parser.add_argument("--fmi", choices=("2.0", "3.0"), help="version of the surrogate's FMU; default the plan's or the plant's")
    parser.add_argument(
        "--own-outputs",
        choices=("typed", "real", "local"),
        help="how the surrogate's FMU has in_domain and domain_distance: see build",
    )
    parser.add_argument("--folder", type=Path, help="for plan, data, bundle and card; default beside the output")


def run(arguments: argparse.Namespace) -> int:
    """Go through the verbs; what is finished is not done again.

    Raises:
        SurrogateError: a step of the way cannot be taken.
    """
    from surrogate_fmu.config import load_config

    output: Path = arguments.output
    if output.suffix != ".fmu":
        raise ConfigError(f"--output {output} is the surrogate's FMU; give it the suffix .fmu")
    if not arguments.plant.is_file():
        raise ConfigError(f"there is no FMU at {arguments.plant}")
    if output.exists() and output.samefile(arguments.plant):
        raise ConfigError("--output is the plant itself; give the surrogate another name")
    if arguments.jobs < 1:
        raise ConfigError(f"--jobs {arguments.jobs} must be at least 1")
    folder: Path = arguments.folder or output.with_suffix(".distill")
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    plan = folder / "surrogate.toml"
    if plan.exists():
        print(f"{plan} is used as it is; remove it to survey the plant anew")
    else:
        _plan(arguments, folder, plan)
    config = load_config(plan)
    _record_and_train(config, plan, arguments.jobs, arguments.rounds)
    own = _version_of(arguments.plant)
    fmi = arguments.fmi or tomllib.loads(config.text).get("build", {}).get("fmi") or own
    if fmi != own:
        print(
            f"warning: the plant is FMI {own} and the surrogate FMI {fmi}, which has other types; some value references may differ"
        )
    options = {"--backend": arguments.backend, "--fmi": fmi, "--own-outputs": arguments.own_outputs}
    given = [part for name, value in options.items() if value for part in (name, value)]
    _verb("build", str(config.bundle_path), "--config", str(plan), *given, "-o", str(output))
    try:
        return _verb("verify", str(output), "--config", str(plan), "--time-plant", "-o", str(folder / "card"))
    finally:  # whatever the verdict
        print(f"{output}: {output.stat().st_size / 1e3:.0f} kB, after {(time.monotonic() - begin) / 60:.1f} minutes")


def _record_and_train(config: "SurrogateConfig", plan: Path, jobs: int, rounds: bool) -> None:
    """Record what is not there, and train; the test set, which no training needs, is recorded beside it by the other workers."""
    from surrogate_fmu.config import Split

    bundle = config.bundle_path
    missing = [split for split in config.recording.sets if not config.dataset_path(split).exists()]
    beside = [Split.TEST] if jobs > 1 and Split.TEST in missing and not bundle.exists() else []
    now = [split for split in missing if split not in beside]
    if now:
        sets = [word for split in now for word in ("--set", split)]
        with contextlib.suppress(_IncompleteError):
            _verb("record", str(plan), *sets, "--jobs", str(jobs), *(["--rounds"] if rounds and Split.TRAIN in now else []))
    if bundle.exists():
        return
    resume = ["--resume"] if bundle.with_name(bundle.name + ".checkpoint").exists() else []
    if not beside:
        _verb("train", str(plan), *resume)
        return
    recording = ["record", str(plan), "--set", Split.TEST, "--jobs", str(jobs - 1)]
    with verb_beside(plan.with_name("record-test.log"), *recording) as said:
        _verb("train", str(plan), *resume)
    if not config.dataset_path(Split.TEST).exists():
        raise PlantError(f"the test set could not be recorded; {shlex.join(recording)} said: {'; '.join(said[-2:])}")
    print("\n".join(line for line in said if not line.startswith("recording ")), flush=True)


class _IncompleteError(Exception):
    """Runs were left out, and the datasets hold the others."""


def _verb(name: str, *arguments: str) -> int:
    from surrogate_fmu.cli.main import make_parser

    command = shlex.join([name, *arguments])
    print(f"\n$ surrogate-fmu {command}", flush=True)
    parsed = make_parser().parse_args([name, *arguments])
    try:
        return int(parsed.run(parsed))
    except PlantError as error:
        if name == "record" and "were left out" in str(error):
            print(f"warning: {error}")
            raise _IncompleteError from error
        raise


def _plan(arguments: argparse.Namespace, folder: Path, plan: Path) -> None:
    """Survey the plant and write the plan."""
    from surrogate_fmu.config import surrogate_name
    from surrogate_fmu.distill.choices import run_steps
    from surrogate_fmu.distill.plan import check_unnamed, input_ranges, write_plan
    from surrogate_fmu.distill.survey import survey_plant
    from surrogate_fmu.plant.fmu_arrays import by_element
    from surrogate_fmu.plant.fmu_plant import FmuPlant
    from surrogate_fmu.plant.source import PlantSource
    from surrogate_fmu.variables import Causality

    copy = folder / arguments.plant.name
    if not copy.exists():
        shutil.copy2(arguments.plant, copy)
    given, held = _intervals("--range", arguments.ranges), _values("--hold", arguments.hold)
    parameters, settings = _intervals("--parameter", arguments.parameters), _settings(arguments)
    plant = FmuPlant(copy, settings)
    arrays = plant.interface.arrays
    given, held, parameters = by_element(given, arrays), by_element(held, arrays), by_element(parameters, arrays)
    ranges, unnamed = input_ranges(plant.variables, given, held, arguments.plant.name)
    print(f"{arguments.plant.name}: FMI {plant.description.fmiVersion}, {plant.description.generationTool or 'unknown tool'}")
    print(f"  communication step {plant.communication_step_size:g} s")
    for name, interval in ranges.items():
        print(f"  input {name} from {interval.min:g} to {interval.max:g}")
    for name, value in held.items():
        print(f"  input {name} held at {value:g}")
    kept = [f"{v.name} = {plant.face.recorded(v):g}" for v in plant.face.kept if v.causality is not Causality.OUTPUT]
    if kept:
        more = f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
        print(f"  kept and not modelled, other values lead out of the surrogate's domain: {', '.join(kept[:_SHOWN])}{more}")
    for name, value in plant.face.values.items():
        print(f"  {name} is {value:g} as it was set; the surrogate starts where the plant does, so the system has to set it, too")
    for sentence in plant.interface.left_out:
        print(f"  the surrogate will not have: {sentence}")
    print(f"surveying: runs of {_SURVEY_STEPS} steps at rest, under steps of the inputs, and repeated ones", flush=True)
    source = PlantSource(copy.name, folder, settings)
    survey = survey_plant(source, ranges, {**held, **unnamed}, parameters, _SURVEY_STEPS, folder / "survey.runs", arguments.jobs)
    check_unnamed(survey, unnamed, arguments.plant.name)
    for name, value in unnamed.items():
        print(
            f"warning: {name} has no range, and no output changes when it is moved; it is kept at {value:g}, and elsewhere the "
            f"surrogate says that it is outside its domain. With --range {name}=LOW:HIGH it learns it"
        )
    held = {**held, **unnamed}
    for name, effect in survey.effects.items():
        print(
            f"warning: {name} matters: moved, it changes an output by {effect:.0%} of its range; the surrogate knows it at "
            f"{held[name]:g} only, and says elsewhere that it is outside its domain. With --range {name}=LOW:HIGH it learns it"
        )
    for reason in survey.failures:
        print(f"warning: a run of the survey failed: {reason}")
    text = write_plan(
        surrogate_name(arguments.output.stem),
        copy.name,
        settings,
        plant.variables,
        plant.communication_step_size,
        ranges,
        held,
        parameters,
        survey,
        arguments.budget,
        arguments.jobs,
        plant.interface.left_out,
    )
    plan.write_text(text, encoding="utf-8")
    comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    print("\n".join(f"  {comment}" for comment in comments[1:]))
    print(f"{plan}: the plan, with runs of {run_steps(survey, arguments.budget, arguments.jobs)} steps")


def _settings(arguments: argparse.Namespace) -> "PlantSettings":
    from surrogate_fmu.plant.settings import PlantSettings

    outputs = tuple(split_names(arguments.outputs)) if arguments.outputs else ()
    try:
        return PlantSettings(
            communication_step_size=arguments.step_size,
            outputs=outputs,
            parameters=tuple(_intervals("--parameter", arguments.parameters)),
            values=_values("--set", arguments.values),
        )
    except ValueError as error:
        raise ConfigError(f"command line: {error}") from error


def _intervals(option: str, texts: list[str]) -> "dict[str, Range]":
    from surrogate_fmu.plant.design import Range

    intervals = {}
    for text in texts:
        name, separator, interval = text.rpartition("=")
        low, colon, high = interval.partition(":")
        try:
            if not separator or not colon:
                raise ValueError("there is no = or no :")
            intervals[name] = Range(float(low), float(high))
        except ValueError as error:
            raise ConfigError(f"{option} {text!r}: {error}; expected NAME=LOW:HIGH, as current=-5:7.5") from error
    return intervals


def _values(option: str, texts: list[str]) -> Mapping[str, float]:
    values = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            values[name] = float(value)
            if not math.isfinite(values[name]):
                raise ValueError(f"{value} is no value to keep")
        except ValueError as error:
            raise ConfigError(f"{option} {text!r}: {error}; expected NAME=VALUE, as k1=1.0") from error
        if not name:
            raise ConfigError(f"{option} {text!r}: there is no name; expected NAME=VALUE, as k1=1.0")
    return values


def _version_of(plant: Path) -> str:
    from fmpy import read_model_description

    return "3.0" if str(read_model_description(str(plant), validate=False).fmiVersion).startswith("3") else "2.0"
