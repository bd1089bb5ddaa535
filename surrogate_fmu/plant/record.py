"""Record a plant: many runs in parallel processes, resumable, failures set aside.

A run that fails, hangs or takes its process down is left out, and the others go on in a new process.
Every finished run is a file of its own below `<output>.runs/`, so an interrupted recording goes on where it stopped;
the dataset is put together at the end. A run's file is named after the digest of all that determines
it, the plant's source included.
"""

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.excitation import Schedule
from surrogate_fmu.plant.protocol import Plant
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Causality, with_causality

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RunFailure:
    """A run that the plant did not finish."""

    plant_seed: int
    schedule: int
    reason: str


@dataclass(frozen=True)
class Recording:
    """The finished runs and those left out.

    Attributes:
        trajectories: of the finished runs.
        failures: of those left out.
        seconds_per_step: wall time of a step [s], median over the runs.
    """

    trajectories: Trajectories
    failures: tuple[RunFailure, ...]
    seconds_per_step: float


@dataclass(frozen=True)
class _Run:
    plant: str
    schedule_number: int
    plant_seed: int
    parameters: Mapping[str, float]
    inputs: Mapping[str, Array]

    def digest(self) -> str:
        text = json.dumps(
            [self.plant, self.plant_seed, dict(self.parameters), {k: v.tolist() for k, v in self.inputs.items()}], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def record(
    source: PlantSource,
    schedules: Sequence[Schedule],
    individuals_per_schedule: int,
    seed: int,
    runs_folder: Path,
    jobs: int | None = None,
    progress: Callable[[Iterator[Any], int], Iterator[Any]] = lambda done, total: done,
    provenance: Mapping[str, Any] | None = None,
) -> Recording:
    """Drive the plant through every schedule, `individuals_per_schedule` times with different plant seeds.

    Args:
        source: of the plant.
        seed: plant seeds are drawn from it, so they are written down by it and stand in the data.
        runs_folder: where finished runs are kept until all are there.
        progress: wraps the iterator of finished runs, given their number.

    Raises:
        PlantError: no run could be finished.
    """
    seeds = np.random.default_rng((seed, 2)).integers(1, 2**31, size=(len(schedules), individuals_per_schedule))
    plant = source.load()
    identity = source.digest(plant)
    runs = [
        _Run(identity, number, int(plant_seed), schedule.parameters, schedule.inputs)
        for number, schedule in enumerate(schedules)
        for plant_seed in seeds[number]
    ]
    runs_folder.mkdir(parents=True, exist_ok=True)
    failures: dict[int, RunFailure] = {}
    pending = [index for index, run in enumerate(runs) if not (runs_folder / f"{run.digest()}.npz").exists()]
    finished_before = len(runs) - len(pending)

    def results() -> Iterator[Any]:
        yield from range(finished_before)
        if not pending:
            return
        # spawn: a solver's threads and native state do not survive a fork
        context = multiprocessing.get_context("spawn")
        workers = min(jobs or os.cpu_count() or 1, len(pending))
        with ProcessPool(workers, initializer=_start_worker, initargs=(source,), context=context) as pool:
            timeout = source.settings.timeout_s or None
            futures: dict[Future[str | None], int] = {
                pool.schedule(_record_run, (runs[index], str(runs_folder)), timeout=timeout): index for index in pending
            }
            try:
                for future in as_completed(futures):
                    reason = _reason(future, source)
                    if reason is not None:
                        run = runs[futures[future]]
                        failures[futures[future]] = RunFailure(run.plant_seed, run.schedule_number, reason)
                    yield future
            except BaseException:
                pool.stop()  # type: ignore[no-untyped-call]
                raise

    for _ in progress(results(), len(runs)):
        pass
    finished = [run for index, run in enumerate(runs) if index not in failures]
    if not finished:
        raise PlantError(f"none of the {len(runs)} runs could be finished; the first failed with: {failures[0].reason}")
    in_order = tuple(failures[index] for index in sorted(failures))
    trajectories, seconds = _assemble(plant, finished, runs_folder, dict(provenance or {}))
    return Recording(trajectories, in_order, seconds)


def _reason(future: "Future[str | None]", source: PlantSource) -> str | None:
    """Why a run has failed, if it has."""
    try:
        return future.result()
    except FutureTimeoutError:
        return f"it was not finished after {source.settings.timeout_s:g} s (timeout_s in [plant])"
    except ProcessExpired as error:
        return f"its process died with exit code {error.exitcode}; record again to try it anew, with fewer --jobs if memory ran out"


def simulate(plant: Plant, plant_seed: int, parameters: Mapping[str, float], inputs: Mapping[str, Array]) -> Array:
    """One run: (step + 1, output), outputs in the order of the plant's variables.

    Raises:
        PlantError: the plant failed or gave a value that is not finite.
    """
    names = [v.name for v in with_causality(plant.variables, Causality.OUTPUT)]
    start = dict(parameters)
    if getattr(plant, "takes_inputs_at_reset", False):
        start |= {name: float(signal[0]) for name, signal in inputs.items()}
    outputs = [plant.reset(plant_seed, start)]
    step_count = len(next(iter(inputs.values())))
    for k in range(step_count):
        outputs.append(plant.do_step({name: float(signal[k]) for name, signal in inputs.items()}, plant.communication_step_size))
    array = np.array([[point[name] for name in names] for point in outputs])
    if not np.isfinite(array).all():
        step = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise PlantError(f"the plant's outputs are not finite at step {step}: {dict(zip(names, array[step], strict=True))}")
    return array


_worker_plant: Plant | None = None


def _start_worker(source: PlantSource) -> None:
    global _worker_plant
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _worker_plant = source.load()


def _record_run(run: _Run, runs_folder: str) -> str | None:
    assert _worker_plant is not None
    try:
        start = time.perf_counter()
        outputs = simulate(_worker_plant, run.plant_seed, run.parameters, run.inputs)
        seconds = time.perf_counter() - start
    except PlantError as error:
        return str(error)
    target = Path(runs_folder) / f"{run.digest()}.npz"
    partial = target.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, outputs=outputs, seconds=seconds)
    partial.replace(target)
    return None


def _assemble(plant: Plant, runs: Sequence[_Run], runs_folder: Path, provenance: dict[str, Any]) -> tuple[Trajectories, float]:
    inputs = [v.name for v in with_causality(plant.variables, Causality.INPUT)]
    parameters = with_causality(plant.variables, Causality.PARAMETER)
    outputs, seconds = [], []
    for run in runs:
        with np.load(runs_folder / f"{run.digest()}.npz") as stored:
            outputs.append(stored["outputs"])
            seconds.append(float(stored["seconds"]) / (len(outputs[-1]) - 1))
    trajectories = Trajectories(
        variables=tuple(plant.variables),
        communication_step_size=plant.communication_step_size,
        inputs=np.array([np.stack([run.inputs[name] for name in inputs], axis=-1) for run in runs]),
        parameters=np.array([[run.parameters.get(v.name, v.start) for v in parameters] for run in runs], dtype=float),
        outputs=np.array(outputs),
        plant_seed=np.array([run.plant_seed for run in runs], dtype=np.int64),
        schedule=np.array([run.schedule_number for run in runs], dtype=np.int64),
        provenance=provenance,
    )
    return trajectories, float(np.median(seconds))
