"""Whole runs of many members without a session, computed in a worker thread and sent chunk by chunk."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import InputError, ServiceFullError
from surrogate_fmu.manifest import ZMode
from surrogate_fmu.runtime.ensemble import RolloutRun
from surrogate_fmu.runtime.latent import SEED_MAX
from surrogate_fmu.service import conversion
from surrogate_fmu.service.batcher import one_thread
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.metrics import Metrics
from surrogate_fmu.service.served import ServedModel
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.variables import Causality, Variable, find_variable

_CHUNK_NUMBERS = 65_536  # of outputs in a chunk, where the caller does not say how many steps it wants
_WAITING_PER_WORKER = 2  # rollouts accepted for each worker: one that runs and one that waits


class Rollouts:
    """Computes rollouts, a few at a time.

    Args:
        config: limits and device.
        metrics: counts what happens.
    """

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._accepted = 0
        self._workers = ThreadPoolExecutor(config.rollout_worker_count, "surrogate-fmu-rollout", one_thread)

    @asynccontextmanager
    async def run(self, model: ServedModel, request: pb.RolloutRequest) -> AsyncIterator[AsyncIterator[pb.RolloutChunk]]:
        """The chunks of one rollout; a chunk is computed when it is asked for, so a caller that reads slowly costs nothing.

        Raises:
            InputError: the request cannot be used; the message says what was expected.
            ServiceFullError: as many rollouts as may be are worked on.
        """
        self._check_size(request)
        limit = self._config.rollout_worker_count * _WAITING_PER_WORKER
        if self._accepted >= limit:
            raise ServiceFullError(f"{self._accepted} rollouts are worked on, the limit is {limit}; ask again later", 1.0)
        chosen = _chosen_outputs(model, request)
        conditions = _conditions(model, request)
        self._accepted += 1
        try:
            yield self._chunks(model, request, conditions, chosen)
        finally:
            self._accepted -= 1

    def close(self) -> None:
        """End the workers; a chunk that runs is finished first."""
        self._workers.shutdown(wait=True)

    async def _chunks(
        self, model: ServedModel, request: pb.RolloutRequest, conditions: NDArray[np.float64], chosen: frozenset[str]
    ) -> AsyncIterator[pb.RolloutChunk]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        z_mode = conversion.z_mode_from_proto(request.z_mode)
        seeds = list(request.seeds)
        run = await loop.run_in_executor(
            self._workers, lambda: RolloutRun(model.bundle, conditions, seeds, z_mode, self._config.device)
        )
        size = request.chunk_steps or max(1, _CHUNK_NUMBERS // (len(seeds) * model.manifest.output_dim))
        first = 0
        while first <= request.step_count:
            points, distances = await loop.run_in_executor(self._workers, run.advance, size)
            chunk = pb.RolloutChunk(first_point=first, domain_distances=distances.tolist())
            model.outputs.write_columns(points, chunk.outputs, chosen)
            first += points.shape[1]
            yield chunk
        self._metrics.rollout(model.name, len(seeds), request.step_count, loop.time() - start)

    def _check_size(self, request: pb.RolloutRequest) -> None:
        members = len(request.seeds)
        if members < 1 or request.step_count < 1:
            raise InputError(f"a rollout needs at least 1 seed and 1 step, got {members} seeds and {request.step_count} steps")
        if members * request.step_count > self._config.rollout_limit:
            raise InputError(
                f"{members} members times {request.step_count} steps are more than the {self._config.rollout_limit} that one "
                "rollout may have here; ask for fewer, or serve with a larger --rollout-limit"
            )
        if not all(0 <= seed <= SEED_MAX for seed in request.seeds):
            raise InputError(f"seeds must be whole numbers from 0 to {SEED_MAX}")
        if conversion.z_mode_from_proto(request.z_mode) is ZMode.EXTERNAL:
            raise InputError("z_mode 'external' needs a caller that gives z at every step; use 'sampled', 'held' or 'mean'")


def _chosen_outputs(model: ServedModel, request: pb.RolloutRequest) -> frozenset[str]:
    names = {variable.name for variable in model.manifest.outputs}
    unknown = sorted(set(request.output_names) - names)
    if unknown:
        raise InputError(f"output_names has {', '.join(map(repr, unknown))}; the outputs are {', '.join(map(repr, sorted(names)))}")
    return frozenset(request.output_names) or frozenset(names)


def _conditions(model: ServedModel, request: pb.RolloutRequest) -> NDArray[np.float64]:
    """The conditions of every step, (step_count, condition_dim); checked as a session checks them."""
    manifest = model.manifest
    given: dict[str, Any] = {}
    for causality, values in ((Causality.INPUT, request.inputs), (Causality.PARAMETER, request.parameters)):
        for name, message in values.items():
            variable = find_variable(manifest.variables, name)
            if variable.causality is not causality:
                raise InputError(f"{name!r} is an {variable.causality}; give it as such")
            varies = causality is Causality.INPUT and _varies(variable, message)
            shape = (request.step_count, *variable.shape) if varies else variable.shape
            array = np.asarray(conversion.array_from_proto(name, message, shape), np.float64)
            if array.shape != shape:
                raise InputError(
                    f"{name!r}: expected the shape {variable.shape} or {(request.step_count, *variable.shape)}, got {array.shape}"
                )
            given[name] = array
    columns = []
    for variable in manifest.condition:
        start = np.full(variable.shape, float(variable.start or 0.0))
        array = given.get(variable.name, start)
        _check_range(variable, array)
        columns.append(np.broadcast_to(array, (request.step_count, *variable.shape)).reshape(request.step_count, variable.size))
    return np.concatenate(columns, axis=1)


def _varies(variable: Variable, message: pb.Value) -> bool:
    count = len(message.elements) or len(message.data)
    return len(message.shape) > len(variable.shape) or (not message.shape and count > variable.size * (8 if message.data else 1))


def _check_range(variable: Variable, array: NDArray[np.float64]) -> None:
    if not np.isfinite(array).all():
        raise InputError(f"{variable.name!r}: expected finite numbers in {variable.unit!r}")
    low = -np.inf if variable.min is None else variable.min
    high = np.inf if variable.max is None else variable.max
    if ((array < low) | (array > high)).any():
        raise InputError(f"{variable.name!r}: a value is outside the allowed range [{low:g}, {high:g}] {variable.unit}")
