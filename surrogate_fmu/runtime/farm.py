"""Farms: rollouts of more members than one process should compute, split into chunks that anybody may compute.

The members of a chunk share the calls of the generator. How members are split depends on the farm alone, never on who
computes or how many do, and every chunk is computed with one thread; so on one kind of processor the numbers have equal bits
whatever the engine.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import InputError
from surrogate_fmu.manifest import ZMode
from surrogate_fmu.runtime.ensemble import RolloutRun, Standing

CHUNK_MEMBERS = 64
_POINTS_AT_ONCE = 4096  # steps that are looped over in one call of the generator

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Farm:
    """What is to be computed; can be sent to other processes.

    Attributes:
        bundle: what to run.
        conditions: inputs held over the step and parameters, the same for all members: (step, condition_dim), physical units.
        seeds: of the latents (member,).
        varied: values that differ between members and hold for the whole run (member, count of columns), physical units.
        varied_columns: the places in the condition that they take.
        z_mode: where the latents come from; not `external`.
        device: "cpu", "cuda", "cuda:1".
        chunk_members: members of one chunk, the last one may have fewer.
        standing: where the members go on from; None is the start of a run.

    Raises:
        InputError: shapes do not fit.
    """

    bundle: Bundle
    conditions: Array
    seeds: NDArray[np.int64]
    varied: Array
    varied_columns: tuple[int, ...] = ()
    z_mode: ZMode = ZMode.SAMPLED
    device: str = "cpu"
    chunk_members: int = CHUNK_MEMBERS
    standing: Standing | None = None

    def __post_init__(self) -> None:
        if self.chunk_members < 1 or not len(self.seeds):
            raise InputError(f"a farm needs at least 1 member and 1 per chunk, got {len(self.seeds)} and {self.chunk_members}")
        if self.varied.shape != (len(self.seeds), len(self.varied_columns)):
            raise InputError(
                f"varied has the shape {self.varied.shape}; expected {(len(self.seeds), len(self.varied_columns))}: a row per "
                "member, a column per varied place"
            )

    @property
    def chunks(self) -> range:
        """The first member of every chunk."""
        return range(0, len(self.seeds), self.chunk_members)


class Chunk(NamedTuple):
    """The members of one chunk.

    Attributes:
        first: number of the first member.
        points: outputs (member, step + 1, output_dim), physical units; point 0 is the start.
        domain_distances: the largest distance from the training domain (member,).
    """

    first: int
    points: NDArray[np.float32]
    domain_distances: Array


Engine = Callable[[Farm], Iterable[Chunk]]  # gives the chunks of a farm in any order


def compute_chunk(farm: Farm, first: int) -> Chunk:
    """The chunk of which `first` is the first member.

    Raises:
        InputError, DeviceError: as `RolloutRun`.
    """
    torch.set_num_threads(1)  # for this thread: equal bits need equal threads
    members = slice(first, first + farm.chunk_members)
    conditions = farm.conditions
    if farm.varied_columns:
        conditions = np.repeat(conditions[None], len(farm.seeds[members]), axis=0)
        conditions[:, :, list(farm.varied_columns)] = farm.varied[members, None]
    standing = None if farm.standing is None else farm.standing.select(members)
    run = RolloutRun(farm.bundle, conditions, farm.seeds[members], farm.z_mode, farm.device, standing)
    parts, distances = [], np.empty(0)
    for _ in range(0, run.step_count + 1, _POINTS_AT_ONCE):
        points, distances = run.advance(_POINTS_AT_ONCE)
        parts.append(points)
    return Chunk(first, np.concatenate(parts, axis=1), distances)


def run_in_threads(farm: Farm, thread_count: int) -> Iterator[Chunk]:
    """The chunks in order, computed by threads of this process; torch lets go of the interpreter while it works."""
    with ThreadPoolExecutor(thread_count, "farm") as pool:
        chunks = iter(farm.chunks)
        waiting = deque(pool.submit(compute_chunk, farm, first) for first in islice(chunks, 2 * thread_count))
        while waiting:  # a few at a time, so that results do not pile up before they are taken
            chunk = waiting.popleft().result()
            waiting.extend(pool.submit(compute_chunk, farm, first) for first in islice(chunks, 1))
            yield chunk


def draw_uniform(seed: int, name: str, low: float, high: float, member_count: int) -> Array:
    """Values of a variable for each member, uniform in low to high (member_count,).

    They depend on seed and name alone: more members, or other varied variables, change none of them.
    """
    stream = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    generator = np.random.Generator(np.random.Philox(key=[seed, stream]))
    return low + (high - low) * generator.random(member_count)


def gather(farm: Farm, chunks: Iterable[Chunk], columns: Sequence[int]) -> tuple[NDArray[np.float32], Array]:
    """The chunks of an engine put together.

    Args:
        farm: that was computed.
        chunks: all of them, in any order.
        columns: of the outputs that are kept.

    Returns:
        Outputs (member, step + 1, len(columns)) and the largest distances from the training domain (member,).

    Raises:
        InputError: a chunk is missing.
    """
    points = np.empty((len(farm.seeds), len(farm.conditions) + 1, len(columns)), np.float32)
    distances = np.empty(len(farm.seeds))
    missing = np.ones(len(farm.seeds), bool)
    for chunk in chunks:
        members = slice(chunk.first, chunk.first + len(chunk.points))
        points[members] = chunk.points[:, :, list(columns)]
        distances[members] = chunk.domain_distances
        missing[members] = False
    if missing.any():
        raise InputError(f"the engine left out {missing.sum()} of {len(distances)} members; give all chunks of the farm")
    return points, distances
