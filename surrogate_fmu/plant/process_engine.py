"""Runs of a plant in processes of this machine."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.protocol import Plant
from surrogate_fmu.plant.run import PlantRun, take_run
from surrogate_fmu.plant.source import PlantSource

Engine = Callable[[PlantSource, Mapping[int, PlantRun], Path, int | None], Iterator[tuple[int, str | None]]]
"""Takes runs by number and yields, as they end, their number and why they failed, if they did; outputs are files in the folder."""

_plant: Plant | None = None


def run_in_processes(
    source: PlantSource, runs: Mapping[int, PlantRun], folder: Path, jobs: int | None
) -> Iterator[tuple[int, str | None]]:
    """Take runs in so many processes; one that hangs or dies costs its run alone."""
    # spawn: a solver's threads and native state do not survive a fork
    context = multiprocessing.get_context("spawn")
    workers = min(jobs or os.cpu_count() or 1, len(runs))
    with ProcessPool(workers, initializer=_start_worker, initargs=(source,), context=context) as pool:
        timeout = source.settings.timeout_s or None
        futures: dict[Future[str | None], int] = {
            pool.schedule(_record_run, (run, str(folder)), timeout=timeout): index for index, run in runs.items()
        }
        try:
            for future in as_completed(futures):
                yield futures[future], _reason(future, source)
        except BaseException:
            pool.stop()  # type: ignore[no-untyped-call]
            raise


def timed_out(source: PlantSource) -> str:
    """Why a run that hung has failed."""
    return f"it was not finished after {source.settings.timeout_s:g} s (timeout_s in [plant])"


def _reason(future: "Future[str | None]", source: PlantSource) -> str | None:
    try:
        return future.result()
    except FutureTimeoutError:
        return timed_out(source)
    except ProcessExpired as error:
        return f"its process died with exit code {error.exitcode}; record again to try it anew, with fewer --jobs if memory ran out"


def _start_worker(source: PlantSource) -> None:
    global _plant
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _plant = source.load()


def _record_run(run: PlantRun, folder: str) -> str | None:
    assert _plant is not None
    try:
        run.write(*take_run(_plant, run), Path(folder))
    except PlantError as error:
        return str(error)
    return None
