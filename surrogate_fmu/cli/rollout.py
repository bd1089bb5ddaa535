"""`surrogate-fmu rollout`: many runs of a bundle at once, here or on a Ray cluster."""

import argparse
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surrogate_fmu.cli.names import split_names
from surrogate_fmu.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from surrogate_fmu.bundle.archive import Bundle
    from surrogate_fmu.manifest import Manifest
    from surrogate_fmu.runtime.farm import Chunk, Farm

HELP = "compute many runs of a bundle, on this machine or on a Ray cluster"

_RESERVED = ("time", "seed", "domain_distance")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle to run")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NPZ", help="the file to write")
    parser.add_argument("--members", type=int, required=True, metavar="N", help="runs, with the seeds SEED, SEED + 1, ...")
    parser.add_argument(
        "--posterior", type=Path, metavar="NPZ", help="go on from the unit that calibrate found, where its measurements end"
    )
    parser.add_argument("--steps", type=int, metavar="T", help="steps of each run; with --inputs it is the number of rows")
    parser.add_argument("--seed", type=int, default=0, help="of the first member (default: %(default)s)")
    parser.add_argument("--inputs", type=Path, metavar="CSV", help="a row per step with the inputs held over it; names in the head")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an input or parameter of all runs")
    parser.add_argument(
        "--vary", action="append", default=[], metavar="NAME=LOW:HIGH", help="an input or parameter drawn uniformly for each run"
    )
    parser.add_argument("--z-mode", choices=("sampled", "mean", "held"), default="sampled", help="(default: %(default)s)")
    parser.add_argument("--outputs", metavar="NAME,NAME", help="which outputs to write (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="who computes (default: %(default)s)")
    parser.add_argument("--workers", type=int, metavar="COUNT", help="threads, or tasks of Ray at once (default: one per core)")
    parser.add_argument(
        "--ray-address",
        default="local",
        metavar="ADDRESS",
        help="local starts a cluster here; auto or host:port joins a running one",
    )
    parser.add_argument(
        "--chunk-members",
        type=int,
        default=64,
        metavar="COUNT",
        help="runs that share a call; equal bits need equal counts (default: 64)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Compute, write, and say what was written; 0.

    Raises:
        ConfigError: the arguments do not go together, or ray is not installed.
        BundleError, DeviceError: the bundle cannot be read, or not run there.
        InputError: a name is unknown, or a value cannot be used.
        ServiceError: the Ray cluster failed.
    """
    for option in ("members", "steps", "workers", "chunk_members"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option.replace('_', '-')} {value} must be at least 1")
    if arguments.output.suffix != ".npz":
        raise ConfigError(f"--output {arguments.output} must end with .npz, which numpy reads")
    import numpy as np

    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.runtime.farm import gather
    from surrogate_fmu.runtime.slots import make_slots

    bundle = read_bundle(arguments.bundle)
    manifest = bundle.manifest
    slots = make_slots(manifest.outputs)
    chosen = _chosen(manifest, arguments.outputs)
    farm, varied = _farm(arguments, bundle)
    places = [range(*slots[name].place.indices(manifest.output_dim)) for name in chosen]
    points, distances = gather(farm, _compute(farm, arguments), [column for place in places for column in place])
    arrays: dict[str, Any] = {"seed": farm.seeds, "domain_distance": distances, **varied}
    arrays["time"] = _times(manifest, len(farm.conditions), 0 if farm.standing is None else farm.standing.step_index)
    first = 0
    for name, place in zip(chosen, places, strict=True):
        arrays[name] = points[:, :, first : first + len(place)].reshape(*points.shape[:2], *slots[name].variable.shape)
        first += len(place)
    _write(arguments.output, arrays)
    outside, broken = int((distances > 0).sum()), int((~np.isfinite(points).all(axis=(1, 2))).sum())
    size = arguments.output.stat().st_size
    print(f"{arguments.output}  {len(farm.seeds)} runs of {len(farm.conditions)} steps, {size / 1e6:.1f} MB")
    print(f"outside the training domain: {outside} runs" if outside else "all runs inside the training domain")
    if broken:
        print(f"not finite at some point: {broken} runs")
    return 0


def _compute(farm: "Farm", arguments: argparse.Namespace) -> "Iterable[Chunk]":
    if arguments.engine == "ray":
        from surrogate_fmu.runtime.ray_farm import run_on_ray

        return run_on_ray(farm, arguments.workers, arguments.ray_address)
    from surrogate_fmu.runtime.farm import run_in_threads

    return run_in_threads(farm, arguments.workers or os.cpu_count() or 1)


def _farm(arguments: argparse.Namespace, bundle: Any) -> "tuple[Farm, dict[str, NDArray[np.float64]]]":
    """The farm, and the values that differ between its members, by name."""
    import numpy as np

    from surrogate_fmu.manifest import ZMode
    from surrogate_fmu.runtime.farm import Farm, draw_uniform
    from surrogate_fmu.runtime.latent import SEED_MAX
    from surrogate_fmu.runtime.slots import make_slots
    from surrogate_fmu.runtime.values import ConditionValues

    if not 0 <= arguments.seed <= SEED_MAX - arguments.members:
        raise ConfigError(f"--seed {arguments.seed} must be 0 or more, and less than 2^63 with those of all members")
    manifest = bundle.manifest
    values = ConditionValues(manifest)
    unit = _Unit(arguments, bundle) if arguments.posterior else None
    settings = [_assignment(text, "--set", _value) for text in arguments.set]
    ranges = dict(_assignment(text, "--vary", _range) for text in arguments.vary)
    _check_once([name for name, _ in settings] + [text.partition("=")[0].strip() for text in arguments.vary])
    start = values.start if unit is None else unit.condition
    condition = values.apply(start, dict(settings), running=unit is not None)
    for bound in (0, 1):  # both ends of a range are checked as values are
        values.apply(condition, {name: ends[bound] for name, ends in ranges.items()}, running=unit is not None)
    slots = make_slots(manifest.condition)
    columns = tuple(slots[name].place.start for name in ranges)
    varied = {name: draw_uniform(arguments.seed, name, low, high, arguments.members) for name, (low, high) in ranges.items()}
    if unit is not None:
        columns += tuple(slots[name].place.start for name in unit.estimated)
        varied |= unit.estimated
    farm = Farm(
        bundle,
        _conditions(arguments, manifest, condition, {*dict(settings), *ranges}),
        arguments.seed + np.arange(arguments.members, dtype=np.int64),
        np.stack(list(varied.values()), axis=1) if varied else np.empty((arguments.members, 0)),
        columns,
        ZMode(arguments.z_mode),
        arguments.device,
        arguments.chunk_members,
        None if unit is None else unit.standing,
    )
    return farm, varied


class _Unit:
    """Members drawn from a posterior, where its measurements end.

    Attributes:
        condition: last inputs and parameters (condition_dim,).
        estimated: values of the inferred parameters by name (member,).
        standing: where the members go on from.
    """

    def __init__(self, arguments: argparse.Namespace, bundle: "Bundle") -> None:
        from surrogate_fmu.calibration.posterior import read_posterior
        from surrogate_fmu.calibration.resume import replay
        from surrogate_fmu.variables import scalar_names

        posterior = read_posterior(arguments.posterior)
        members = posterior.choose(arguments.members, arguments.seed)
        self.standing = replay(bundle, posterior, members, arguments.device)
        names = [name for variable in bundle.manifest.parameters for name in scalar_names(variable)]
        self.estimated = {name: posterior.parameters[members, names.index(name)] for name in posterior.estimated}
        self.condition = (*posterior.inputs[-1].tolist(), *posterior.parameters[members[0]].tolist())


def _conditions(
    arguments: argparse.Namespace, manifest: "Manifest", condition: tuple[float, ...], given: set[str]
) -> "NDArray[np.float64]":
    """(step, condition_dim); `given` are the names that --set and --vary give values to."""
    import numpy as np

    if arguments.inputs is None:
        if arguments.steps is None:
            raise ConfigError("give --steps T, or --inputs CSV with a row per step")
        return np.tile(condition, (arguments.steps, 1))
    names, rows = _table(arguments.inputs)
    if arguments.steps not in (None, len(rows)):
        raise ConfigError(f"--steps is {arguments.steps} and {arguments.inputs} has {len(rows)} rows; leave --steps out")
    columns = _scalar_columns(manifest)
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise InputError(f"{arguments.inputs} has {', '.join(map(repr, unknown))}; the inputs are {', '.join(map(repr, columns))}")
    _check_once([*given, *{name if name in given else name.partition("[")[0] for name in names}])
    conditions = np.tile(condition, (len(rows), 1))
    for place, name in enumerate(names):
        column, low, high = columns[name]
        outside = np.flatnonzero(~((rows[:, place] >= low) & (rows[:, place] <= high) & np.isfinite(rows[:, place])))
        if len(outside):
            raise InputError(
                f"{arguments.inputs}, row {outside[0] + 1}: {name!r} is {rows[outside[0], place]:g}, expected [{low:g}, {high:g}]"
            )
        conditions[:, column] = rows[:, place]
    return conditions


def _scalar_columns(manifest: "Manifest") -> dict[str, tuple[int, float, float]]:
    """Column in the condition, min and max of every scalar of the inputs."""
    from surrogate_fmu.variables import scalar_names

    found: dict[str, tuple[int, float, float]] = {}
    for variable in manifest.inputs:
        low = -float("inf") if variable.min is None else variable.min
        high = float("inf") if variable.max is None else variable.max
        for name in scalar_names(variable):
            found[name] = (len(found), low, high)
    return found


def _table(path: Path) -> "tuple[list[str], NDArray[np.float64]]":
    import csv

    import numpy as np

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
        names, rows = [name.strip() for name in lines[0]], np.array([[float(cell) for cell in line] for line in lines[1:]])
    except (OSError, UnicodeDecodeError, csv.Error, IndexError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a CSV file with names in its head and numbers below") from error
    if rows.shape != (len(lines) - 1, len(names)) or len(lines) < 2 or len(set(names)) < len(names):
        raise InputError(f"{path}: expected different names in the head and as many numbers in each of at least one row below")
    return names, rows


def _check_once(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{', '.join(map(repr, twice))} is given twice by --set, --vary and --inputs; give each value once")
    reserved = sorted(set(names) & set(_RESERVED))
    if reserved:
        raise ConfigError(f"{', '.join(map(repr, reserved))} is the name of an array of the file; it cannot be given here")


def _assignment(text: str, option: str, read: Any) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError("there is no =")
        return name.strip(), read(value)
    except ValueError as error:
        expected = "NAME=LOW:HIGH" if option == "--vary" else "NAME=VALUE"
        raise ConfigError(f"{option} {text!r} cannot be read ({error}); give {expected}") from error


def _value(text: str) -> float | list[float]:
    numbers = [float(part) for part in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def _range(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    if not colon or not float(low) < float(high):
        raise ValueError("LOW must be below HIGH")
    return float(low), float(high)


def _chosen(manifest: "Manifest", names: str | None) -> list[str]:
    known = [variable.name for variable in manifest.outputs]
    chosen = known if names is None else split_names(names)
    for name in chosen:
        if name not in known:
            raise InputError(f"--outputs has {name!r}; the outputs are {', '.join(map(repr, known))}")
        if name in _RESERVED:
            raise ConfigError(f"an output is called {name!r}, as an array of the file is; leave it out with --outputs")
    return list(dict.fromkeys(chosen))


def _times(manifest: "Manifest", step_count: int, first: int) -> "NDArray[np.float64]":
    import numpy as np

    return (first + np.arange(step_count + 1, dtype=np.float64)) * manifest.step_size


def _write(path: Path, arrays: dict[str, Any]) -> None:
    """The file appears whole or not at all."""
    import numpy as np

    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error}); give another --output") from error
