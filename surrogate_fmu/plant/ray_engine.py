"""Runs of a plant as tasks of a Ray cluster; outputs come back and are written here, so workers share no disk for them.

The plant's file must be at the same path on every worker.
"""

import functools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.process_engine import Engine, timed_out
from surrogate_fmu.plant.protocol import Plant
from surrogate_fmu.plant.run import Array, PlantRun, take_run
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.ray_cluster import LOCAL, ray_cluster

_LOOK_S = 0.5  # how exactly a run's time limit is kept
_RETRIES = 1  # of a run whose worker is lost

_plants: dict[str, Plant] = {}  # of a worker's process


def ray_engine(address: str = LOCAL) -> Engine:
    """An engine on a cluster; see `ray_cluster` for addresses and errors."""
    return functools.partial(_run_on_ray, address)


def _run_on_ray(
    address: str, source: PlantSource, runs: Mapping[int, PlantRun], folder: Path, jobs: int | None
) -> Iterator[tuple[int, str | None]]:
    with ray_cluster(jobs, address) as ray:
        task = ray.remote(_take).options(num_cpus=1, max_retries=_RETRIES)
        limit = jobs or int(ray.cluster_resources().get("CPU", 1))
        waiting: dict[Any, tuple[int, float]] = {}
        left = iter(runs.items())
        while True:
            while len(waiting) < limit and (following := next(left, None)) is not None:
                index, run = following
                waiting[task.remote(source, run)] = index, time.monotonic()
            if not waiting:
                return
            done, _ = ray.wait(list(waiting), timeout=_LOOK_S)
            for reference in done:
                index, _ = waiting.pop(reference)
                yield index, _keep(ray, reference, runs[index], folder)
            for reference, (index, begin) in list(waiting.items()):
                if source.settings.timeout_s and time.monotonic() - begin > source.settings.timeout_s:
                    ray.cancel(reference, force=True)
                    del waiting[reference]
                    yield index, timed_out(source)


def _keep(ray: Any, reference: Any, run: PlantRun, folder: Path) -> str | None:
    try:
        result: tuple[Array, float] | str = ray.get(reference)
    except ray.exceptions.WorkerCrashedError:
        return f"its worker died, {1 + _RETRIES} times; record again to try it anew, with fewer --jobs if memory ran out"
    if isinstance(result, str):
        return result
    outputs, seconds = result
    run.write(outputs, seconds, folder)
    return None


def _take(source: PlantSource, run: PlantRun) -> tuple[Array, float] | str:
    key = f"{source!r} {run.plant}"
    if key not in _plants:
        _plants[key] = source.load()
    try:
        return take_run(_plants[key], run)
    except PlantError as error:
        return str(error)
