"""Record a plant: many runs in parallel processes, resumable, failures set aside.

Every finished run is a file of its own below `<output>.runs/`, so an interrupted recording goes on where it stopped;
the dataset is put together at the end. A run's file is named after the digest of all that determines
it, the plant's source included.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.excitation import Schedule
from surrogate_fmu.plant.protocol import Plant, load_plant
from surrogate_fmu.schema import encode
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
    """The finished runs and those left out."""

    trajectories: Trajectories
    failures: tuple[RunFailure, ...]


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
    plant_reference: str,
    folder: Path,
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
        plant_reference: `file.py:ClassName`, relative to `folder`.
        seed: plant seeds are drawn from it, so they are written down by it and stand in the data.
        runs_folder: where finished runs are kept until all are there.
        progress: wraps the iterator of finished runs, given their number.

    Raises:
        PlantError: no run could be finished, or a worker process died (what is finished stays; run again to go on).
    """
    seeds = np.random.default_rng((seed, 2)).integers(1, 2**31, size=(len(schedules), individuals_per_schedule))
    plant = load_plant(plant_reference, folder)
    identity = _identify(plant, plant_reference, folder)
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
        with ProcessPoolExecutor(workers, context, _start_worker, (plant_reference, str(folder))) as pool:
            futures = {pool.submit(_record_run, runs[index], str(runs_folder)): index for index in pending}
            try:
                for future in as_completed(futures):
                    reason = future.result()
                    if reason is not None:
                        run = runs[futures[future]]
                        failures[futures[future]] = RunFailure(run.plant_seed, run.schedule_number, reason)
                    yield future
            except BrokenProcessPool as error:
                raise PlantError(
                    f"a worker process died while recording; finished runs are kept in {runs_folder}: "
                    "run the same command again to go on, with fewer --jobs if memory ran out"
                ) from error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    for _ in progress(results(), len(runs)):
        pass
    finished = [run for index, run in enumerate(runs) if index not in failures]
    if not finished:
        raise PlantError(f"none of the {len(runs)} runs could be finished; the first failed with: {failures[0].reason}")
    in_order = tuple(failures[index] for index in sorted(failures))
    return Recording(_assemble(plant, finished, runs_folder, dict(provenance or {})), in_order)


def _identify(plant: Plant, plant_reference: str, folder: Path) -> str:
    """A digest of the plant's class, source, variables and step: runs of another plant are no runs of this one."""
    file_name, _, class_name = plant_reference.partition(":")
    described = json.dumps([class_name, plant.communication_step_size, encode(tuple(plant.variables))], sort_keys=True)
    return hashlib.sha256((folder / file_name).read_bytes() + described.encode()).hexdigest()


def simulate(plant: Plant, plant_seed: int, parameters: Mapping[str, float], inputs: Mapping[str, Array]) -> Array:
    """One run: (step + 1, output), outputs in the order of the plant's variables.

    Raises:
        PlantError: the plant failed or gave a value that is not finite.
    """
    names = [v.name for v in with_causality(plant.variables, Causality.OUTPUT)]
    outputs = [plant.reset(plant_seed, parameters)]
    step_count = len(next(iter(inputs.values())))
    for k in range(step_count):
        outputs.append(plant.do_step({name: float(signal[k]) for name, signal in inputs.items()}, plant.communication_step_size))
    array = np.array([[point[name] for name in names] for point in outputs])
    if not np.isfinite(array).all():
        step = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise PlantError(f"the plant's outputs are not finite at step {step}: {dict(zip(names, array[step], strict=True))}")
    return array


_worker_plant: Plant | None = None


def _start_worker(plant_reference: str, folder: str) -> None:
    global _worker_plant
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _worker_plant = load_plant(plant_reference, Path(folder))


def _record_run(run: _Run, runs_folder: str) -> str | None:
    assert _worker_plant is not None
    try:
        outputs = simulate(_worker_plant, run.plant_seed, run.parameters, run.inputs)
    except PlantError as error:
        return str(error)
    target = Path(runs_folder) / f"{run.digest()}.npz"
    partial = target.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, outputs=outputs)
    partial.replace(target)
    return None


def _assemble(plant: Plant, runs: Sequence[_Run], runs_folder: Path, provenance: dict[str, Any]) -> Trajectories:
    inputs = [v.name for v in with_causality(plant.variables, Causality.INPUT)]
    parameters = with_causality(plant.variables, Causality.PARAMETER)
    outputs = []
    for run in runs:
        with np.load(runs_folder / f"{run.digest()}.npz") as stored:
            outputs.append(stored["outputs"])
    return Trajectories(
        variables=tuple(plant.variables),
        communication_step_size=plant.communication_step_size,
        inputs=np.array([np.stack([run.inputs[name] for name in inputs], axis=-1) for run in runs]),
        parameters=np.array([[run.parameters.get(v.name, v.start) for v in parameters] for run in runs], dtype=float),
        outputs=np.array(outputs),
        plant_seed=np.array([run.plant_seed for run in runs], dtype=np.int64),
        schedule=np.array([run.schedule_number for run in runs], dtype=np.int64),
        provenance=provenance,
    )
