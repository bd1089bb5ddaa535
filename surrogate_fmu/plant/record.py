"""Record a plant: many runs in parallel processes, resumable, failures set aside.

A run that fails, hangs or takes its process down is left out, and the others go on in a new process.
Every finished run is a file of its own below `<output>.runs/`, so an interrupted recording goes on where it stopped;
the dataset is put together at the end. A run's file is named after the digest of all that determines
it, the plant's source included.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.excitation import Schedule
from surrogate_fmu.plant.process_engine import Engine, run_in_processes
from surrogate_fmu.plant.protocol import Plant
from surrogate_fmu.plant.run import PlantRun
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Causality, Variable, VariableType, with_causality


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


def record(
    source: PlantSource,
    schedules: Sequence[Schedule],
    individuals_per_schedule: int,
    seed: int,
    runs_folder: Path,
    jobs: int | None = None,
    progress: Callable[[Iterator[Any], int], Iterator[Any]] = lambda done, total: done,
    provenance: Mapping[str, Any] | None = None,
    engine: Engine = run_in_processes,
) -> Recording:
    """Drive the plant through every schedule, `individuals_per_schedule` times with different plant seeds.

    Integers, booleans and enumerations get the values of their type that are nearest to the schedule's.

    Args:
        source: of the plant.
        seed: plant seeds are drawn from it, so they are written down by it and stand in the data.
        runs_folder: where finished runs are kept until all are there.
        progress: wraps the iterator of finished runs, given their number.
        provenance: for the dataset.
        engine: who takes the runs; the dataset is the same whoever does.

    Raises:
        PlantError: no run could be finished.
    """
    seeds = np.random.default_rng((seed, 2)).integers(1, 2**31, size=(len(schedules), individuals_per_schedule))
    plant = source.load()
    identity = source.digest(plant)
    typed = [v for v in plant.variables if v.type is not VariableType.REAL]
    runs = [
        PlantRun(identity, number, int(plant_seed), schedule.parameters, schedule.inputs)
        for number, schedule in enumerate(_of_their_type(schedule, typed) for schedule in schedules)
        for plant_seed in seeds[number]
    ]
    runs_folder.mkdir(parents=True, exist_ok=True)
    failures: dict[int, RunFailure] = {}
    pending = [index for index, run in enumerate(runs) if not run.file(runs_folder).exists()]
    finished_before = len(runs) - len(pending)

    def results() -> Iterator[Any]:
        yield from range(finished_before)
        for index, reason in engine(source, {index: runs[index] for index in pending}, runs_folder, jobs) if pending else ():
            if reason is not None:
                failures[index] = RunFailure(runs[index].plant_seed, runs[index].schedule_number, reason)
            yield index

    for _ in progress(results(), len(runs)):
        pass
    finished = [run for index, run in enumerate(runs) if index not in failures]
    if not finished:
        raise PlantError(f"none of the {len(runs)} runs could be finished; the first failed with: {failures[0].reason}")
    in_order = tuple(failures[index] for index in sorted(failures))
    trajectories, seconds = _assemble(plant, finished, runs_folder, dict(provenance or {}))
    return Recording(trajectories, in_order, seconds)


def _of_their_type(schedule: Schedule, typed: Sequence[Variable]) -> Schedule:
    parameters = {v.name: v.nearest(schedule.parameters[v.name]) for v in typed if v.name in schedule.parameters}
    inputs = {
        v.name: np.array([v.nearest(x) for x in schedule.inputs[v.name].tolist()]) for v in typed if v.name in schedule.inputs
    }
    return Schedule(schedule.parameters | parameters, schedule.inputs | inputs, schedule.excitations)


def _assemble(plant: Plant, runs: Sequence[PlantRun], runs_folder: Path, provenance: dict[str, Any]) -> tuple[Trajectories, float]:
    inputs = [v.name for v in with_causality(plant.variables, Causality.INPUT)]
    parameters = with_causality(plant.variables, Causality.PARAMETER)
    outputs, seconds = [], []
    for run in runs:
        with np.load(run.file(runs_folder)) as stored:
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
        face=getattr(plant, "face", None),
    )
    return trajectories, float(np.median(seconds))
