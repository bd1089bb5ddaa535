"""Farms, and other tasks, on a Ray cluster, which starts a task again elsewhere when its worker is lost."""

import importlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from surrogate_fmu.errors import ConfigError, ServiceError, SurrogateError
from surrogate_fmu.runtime.farm import Chunk, Farm, compute_chunk

LOCAL = "local"
_WAITING_PER_WORKER = 2
_CONNECT_TIMEOUT_S = 10.0
_END = object()
Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


def run_on_ray(farm: Farm, worker_count: int | None = None, address: str = LOCAL) -> Iterator[Chunk]:
    """The chunks as they come.

    Args:
        farm: what to compute. Its device is that of the workers; each task of a farm on CUDA takes one GPU.
        worker_count: tasks at once; None takes all processors that Ray has.
        address: "local" starts a cluster on this machine that ends with the farm; "auto" or host:port joins a running one, whose
            workers need this package. A cluster that the process has joined already is used as it is.

    Raises:
        ConfigError: ray is not installed.
        ServiceError: the cluster cannot be reached, or lost a task too often.
        InputError, DeviceError: as `compute_chunk`.
    """
    # its own GPU for each task: Ray shows a task only the GPU that it gave
    gpus = 1 if farm.device.startswith("cuda") else 0
    yield from run_tasks_on_ray(compute_chunk, farm, farm.chunks, worker_count, address, _WAITING_PER_WORKER, gpus)


def run_tasks_on_ray(
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Iterable[Item],
    worker_count: int | None = None,
    address: str = LOCAL,
    waiting_per_worker: int = 1,
    gpus: int = 0,
) -> Iterator[Result]:
    """What a function gives for each item, as it comes.

    Args:
        function: of the shared thing and an item; one of a module, so that workers can import it.
        shared: sent to the cluster once.
        items: the next one is asked for when there is room for it, after what came before was yielded.
        worker_count, address: as `run_on_ray`.
        waiting_per_worker: tasks handed over for each worker, the one at work included.
        gpus: of each task.

    Raises:
        ConfigError: ray is not installed.
        ServiceError: the cluster cannot be reached, or lost a task too often.
        SurrogateError: as the function.
    """
    if find_spec("ray") is None:
        raise ConfigError("tasks on Ray need ray, which is not installed; run: pip install 'surrogate-fmu[ray]'")
    ray: Any = importlib.import_module("ray")
    failures: Any = importlib.import_module("ray.exceptions")
    joined = ray.is_initialized()
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        if not joined:
            _check_reachable(address)
            ray.init(
                address,
                num_cpus=worker_count if address == LOCAL else None,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        # its own CPU for each task: torch uses one thread
        task = ray.remote(function).options(num_cpus=1, num_gpus=gpus, max_retries=3)
        placed = ray.put(shared)
        limit = waiting_per_worker * (worker_count or int(ray.cluster_resources().get("CPU", 1)))
        waiting: list[object] = []
        remaining = iter(items)
        ended = False
        while waiting or not ended:
            while len(waiting) < limit and not ended:
                item = next(remaining, _END)
                ended = item is _END
                if not ended:
                    waiting.append(task.remote(placed, item))
            if waiting:
                done, waiting = ray.wait(waiting)
                yield ray.get(done[0])
    except SurrogateError:  # what a task raised; Ray gives it the class that it had
        raise
    except (failures.RayError, OSError, ValueError, RuntimeError) as error:
        raise ServiceError(
            f"the Ray cluster {address!r} failed ({type(error).__name__}: {error}); see `ray status`, and that its workers have "
            "this version of surrogate-fmu"
        ) from error
    finally:
        if not joined:
            ray.shutdown()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)  # Ray puts a handler of its own there and leaves it


def _check_reachable(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
