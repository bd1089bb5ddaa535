"""Steps of several sessions in one call of the generator, without making anybody wait for company.

A step that arrives is flushed at the next turn of the event loop, together with what arrived in the same turn. So a lone
caller pays one turn of the loop, and under load, when many requests are read in one turn, batches form by themselves. A
generator that is slow goes to a worker thread; what arrives meanwhile is the next batch.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import torch

from surrogate_fmu.errors import ServiceFullError, SurrogateError
from surrogate_fmu.runtime.run_state import RunState
from surrogate_fmu.runtime.stepper import Stepper, StepPlan
from surrogate_fmu.service.conversion import Batching

Outcome = RunState | SurrogateError

_SLOW_S = 0.002  # a call of the generator that takes longer would hold up the other callers of the event loop
_MEMORY = 0.9  # weight of the past in the running mean of a call's duration


class _Order(NamedTuple):
    """Steps that one caller wants, and where their outcomes go."""

    plans: Sequence[StepPlan]
    batching: Batching
    future: "asyncio.Future[list[Outcome]]"


class Batcher:
    """The queue before one generator. To be used from the thread of the event loop.

    Args:
        stepper: runs the generator.
        limit: steps that wait or run at once.
        observe: called with the rows and the seconds of each call of the generator.
    """

    def __init__(self, stepper: Stepper, limit: int, observe: Callable[[int, float], None] = lambda rows, seconds: None) -> None:
        self._stepper = stepper
        self._limit = limit
        self._observe = observe
        self._waiting: list[_Order] = []
        self._waiting_count = 0
        self._running = 0
        self._scheduled = False
        self._mean_s = 0.0
        self._worker = ThreadPoolExecutor(1, "surrogate-fmu-generator", one_thread)

    @property
    def depth(self) -> int:
        """Steps that wait or run."""
        return self._waiting_count + self._running

    async def step(self, plans: Sequence[StepPlan], batching: Batching) -> list[Outcome]:
        """Take steps of different sessions in the next batch; each has its own outcome.

        Raises:
            ServiceFullError: too many steps wait.
        """
        if self.depth + len(plans) > self._limit:
            wait_s = max(self._mean_s * self.depth, 0.01)
            raise ServiceFullError(f"{self.depth} steps wait, the limit is {self._limit}; send this one again later", wait_s)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Outcome]] = loop.create_future()
        self._waiting.append(_Order(plans, batching, future))
        self._waiting_count += len(plans)
        self._schedule(loop)
        return await future

    def close(self) -> None:
        """End the worker; steps that run are finished first."""
        self._worker.shutdown(wait=True)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and not self._running and self._waiting:
            self._scheduled = True
            loop.call_soon(self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        # a caller that has gone, or whose deadline is over, has cancelled its future: its step is not taken
        orders = [order for order in self._waiting if not order.future.done()]
        self._waiting, self._waiting_count = [], 0
        if not orders:
            return
        if self._mean_s < _SLOW_S:
            _resolve(orders, self._advance(orders))
            self._schedule(loop)
            return
        self._running = sum(len(order.plans) for order in orders)
        work = loop.run_in_executor(self._worker, self._advance, orders)
        work.add_done_callback(lambda done: self._finish(loop, orders, done))

    def _finish(self, loop: asyncio.AbstractEventLoop, orders: "list[_Order]", done: "asyncio.Future[list[list[Outcome]]]") -> None:
        self._running = 0
        if not done.cancelled():
            _resolve(orders, done.result())
        self._schedule(loop)

    def _advance(self, orders: "list[_Order]") -> list[list[Outcome]]:
        """The outcomes of each order. What the generator raises becomes the outcome of its rows, and never ends the loop."""
        start = time.perf_counter()
        outcomes: list[list[Outcome]] = [[] for _ in orders]
        row_count = 0
        for batching in Batching:
            places = [place for place, order in enumerate(orders) if order.batching is batching]
            plans = [plan for place in places for plan in orders[place].plans]
            if not plans:
                continue
            row_count += len(plans)
            taken = iter(self._call(plans, batching))
            for place in places:
                outcomes[place] = list(islice(taken, len(orders[place].plans)))
        seconds = time.perf_counter() - start
        self._mean_s = _MEMORY * self._mean_s + (1.0 - _MEMORY) * seconds if self._mean_s else seconds
        self._observe(row_count, seconds)
        return outcomes

    def _call(self, plans: Sequence[StepPlan], batching: Batching) -> Sequence[Outcome]:
        try:
            if batching is Batching.REPRODUCIBLE:
                return self._stepper.advance_reproducibly(plans)
            return self._stepper.advance(plans)
        except Exception as error:
            failure = SurrogateError(f"the generator failed ({type(error).__name__}: {error}); the state is as before")
            failure.__cause__ = error
            return [failure] * len(plans)


def one_thread() -> None:
    """Let torch use one thread for what the present thread asks of it: the setting is one of each thread.

    Steps of small models lose twenty times their time to waking others up, and equal bits need equal threads.
    """
    torch.set_num_threads(1)


def _resolve(orders: "list[_Order]", outcomes: list[list[Outcome]]) -> None:
    for order, taken in zip(orders, outcomes, strict=True):
        if not order.future.done():
            order.future.set_result(taken)
