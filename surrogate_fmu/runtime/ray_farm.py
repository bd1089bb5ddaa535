"""Farms, and other tasks, on a Ray cluster, which starts a task again elsewhere when its worker is lost."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from surrogate_fmu.ray_cluster import LOCAL, ray_cluster
from surrogate_fmu.runtime.farm import Chunk, Farm, compute_chunk

_WAITING_PER_WORKER = 2
_END = object()
Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


def run_on_ray(farm: Farm, worker_count: int | None = None, address: str = LOCAL) -> Iterator[Chunk]:
    """The chunks as they come.

    Args:
        farm: what to compute. Its device is that of the workers; each task of a farm on CUDA takes one GPU.
        worker_count: tasks at once; None takes all processors that Ray has.
        address: see `ray_cluster`.

    Raises:
        ConfigError, ServiceError: as `ray_cluster`.
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
        ConfigError, ServiceError: as `ray_cluster`.
        SurrogateError: as the function.
    """
    with ray_cluster(worker_count, address) as ray:
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
