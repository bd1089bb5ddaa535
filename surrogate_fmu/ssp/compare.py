"""A system before and after a swap: signals, errors, spread, wall time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.ssp.master import SystemMaster, SystemRun
from surrogate_fmu.ssp.structure import read_structure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SignalDifference:
    """One signal in both systems.

    Attributes:
        name: "component.output".
        rmse: root mean square difference of the means over runs, as a share of the signal's range before.
        largest: largest such difference, likewise.
        spread_before, spread_after: root mean square standard deviation over runs, likewise; 0 for a single run.
    """

    name: str
    rmse: float
    largest: float
    spread_before: float
    spread_after: float


@dataclass(frozen=True)
class Comparison:
    """Two systems.

    Attributes:
        times: (point,) [s].
        before, after: (run, point) by signal.
        signals: differences, largest first.
        seconds_before, seconds_after: wall time of the steps of a component in one run [s], by path.
        wall_before, wall_after: of a run [s].
        swapped: paths of the components whose source differs.
    """

    times: Array
    before: Mapping[str, Array]
    after: Mapping[str, Array]
    signals: tuple[SignalDifference, ...]
    seconds_before: Mapping[str, float]
    seconds_after: Mapping[str, float]
    wall_before: float
    wall_after: float
    swapped: tuple[str, ...]


def compare(before: Path, after: Path, step_size: float, stop_time: float | None = None, runs: int = 1) -> Comparison:
    """Run both systems in one master.

    Args:
        before, after: SSP archives.
        step_size: communication step [s].
        stop_time: [s]; None takes that of the first system's default experiment.
        runs: of each, where a component has a parameter `seed`, with seeds from 1.

    Raises:
        ConfigError: a system cannot be run here, they share no signal, or no end is known.
        PlantError: a component refuses.
    """
    structures = read_structure(before), read_structure(after)
    end = structures[0].stop_time if stop_time is None else stop_time
    if end is None:
        raise ConfigError(f"{before.name} has no default experiment; say where to stop: --stop-time SECONDS")
    start = structures[0].start_time or 0.0
    if not 0.0 < step_size <= end - start:
        raise ConfigError(f"a step of {step_size:g} s does not fit a run from {start:g} to {end:g} s")
    with SystemMaster(structures[0]) as first, SystemMaster(structures[1]) as second:
        collected = [_runs(master, step_size, end, start, runs) for master in (first, second)]
    shared = [name for name in collected[0][0].signals if name in collected[1][0].signals]
    if not shared:
        raise ConfigError(f"{before.name} and {after.name} have no output in common; they are not one system before and after")
    signals = [{name: np.stack([run.signals[name] for run in some]) for name in shared} for some in collected]
    differences = [_difference(name, signals[0][name], signals[1][name]) for name in shared]
    sources = [{c.path: (c.source, c.member) for c in structure.components.values()} for structure in structures]
    return Comparison(
        collected[0][0].times,
        signals[0],
        signals[1],
        tuple(sorted(differences, key=lambda d: -d.rmse)),
        _fastest(collected[0]),
        _fastest(collected[1]),
        min(run.wall_s for run in collected[0]),
        min(run.wall_s for run in collected[1]),
        tuple(path for path, source in sources[0].items() if sources[1].get(path) != source),
    )


def _runs(master: SystemMaster, step_size: float, end: float, start: float, count: int) -> list[SystemRun]:
    seeded = bool(master.seeds(1))
    return [master.run(step_size, end, start, master.seeds(1 + run)) for run in range(count if seeded else 1)]


def _fastest(runs: Sequence[SystemRun]) -> dict[str, float]:
    return {path: min(run.seconds[path] for run in runs) for path in runs[0].seconds}


def _difference(name: str, before: Array, after: Array) -> SignalDifference:
    width = max(float(np.ptp(before)), 1e-300)
    error = np.abs(after.mean(axis=0) - before.mean(axis=0)) / width
    spreads = [_spread(runs) / width for runs in (before, after)]
    return SignalDifference(name, float(np.sqrt((error**2).mean())), float(error.max()), *spreads)


def _spread(runs: Array) -> float:
    if (runs == runs[:1]).all():
        return 0.0
    return float(np.sqrt(runs.var(axis=0, ddof=1).mean()))
