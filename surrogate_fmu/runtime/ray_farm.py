"""Farms on a Ray cluster: a chunk is a task, which Ray starts again elsewhere when its worker is lost."""

from collections.abc import Iterator

from surrogate_fmu.ray_cluster import LOCAL, ray_cluster
from surrogate_fmu.runtime.farm import Chunk, Farm, compute_chunk

_WAITING_PER_WORKER = 2


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
    with ray_cluster(worker_count, address) as ray:
        # its own CPU and GPU for each task: torch uses one thread, and Ray shows a task only the GPU that it gave
        task = ray.remote(compute_chunk).options(num_cpus=1, num_gpus=1 if farm.device.startswith("cuda") else 0, max_retries=3)
        shared = ray.put(farm)
        limit = _WAITING_PER_WORKER * (worker_count or int(ray.cluster_resources().get("CPU", 1)))
        waiting: list[object] = []
        for first in farm.chunks:
            if len(waiting) >= limit:
                done, waiting = ray.wait(waiting)
                yield ray.get(done[0])
            waiting.append(task.remote(shared, first))
        while waiting:
            done, waiting = ray.wait(waiting)
            yield ray.get(done[0])
