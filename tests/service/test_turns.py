"""Streams take turns while new calls come."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from surrogate_fmu.service.turns import Turns
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub
from tests.service.conftest import ServeProcess

STREAMS = 40


async def _begun(turns: Turns) -> list[int]:
    """How many streams begin at once, after one of these is over, and in the end; each gets a message and never replies."""
    order: list[int] = []

    async def stream(number: int) -> None:
        with turns.stream() as turn:
            await turn.begin()
            order.append(number)
            turn.came()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(stream(number)) for number in range(STREAMS)]
    await asyncio.sleep(0.0)
    first = list(order)
    tasks[first[0]].cancel()
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    second = order[len(first) :]
    tasks[STREAMS - 1].cancel()
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return [len(first), len(second), len(order)]


def test_streams_take_turns_while_new_calls_come() -> None:
    async def run() -> list[int]:
        turns = Turns()
        turns.call_arrived()
        return await _begun(turns)

    first, second, all_that_began = asyncio.run(run())
    assert 0 < first < STREAMS / 4  # a few at once
    assert second == 1  # one is over, the next begins
    assert all_that_began == STREAMS - 1  # no new call for a while: all that are still there begin


def test_all_streams_step_at_once_without_new_calls() -> None:
    async def run() -> list[int]:
        return await _begun(Turns())

    assert asyncio.run(run())[0] == STREAMS


def test_a_stream_whose_client_sends_nothing_holds_up_no_other() -> None:
    async def run() -> int:
        turns = Turns()
        began = 0

        async def stream() -> None:
            nonlocal began
            with turns.stream() as turn:
                await turn.begin()
                began += 1
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(stream()) for _ in range(STREAMS)]
        end = time.monotonic() + 30.0
        while began < STREAMS and time.monotonic() < end:
            turns.call_arrived()
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return began

    assert asyncio.run(run()) == STREAMS


@pytest.mark.slow
def test_single_calls_get_in_beside_busy_streams(serve_process: Callable[..., ServeProcess], toy_bundle_path: Path) -> None:
    """Left to grpc.aio, 60 callers of single steps took none at all beside 300 streams in several seconds."""
    steps = asyncio.run(
        _mixed_crowd(serve_process(str(toy_bundle_path), "--listen", "127.0.0.1:0").address, streams=300, callers=60)
    )
    assert min(steps["stream"]) > 0
    assert min(steps["unary"]) * 20 > sorted(steps["stream"])[150]


async def _mixed_crowd(address: str, streams: int, callers: int) -> dict[str, list[int]]:
    """Steps that each session took, by the way in which it steps."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    stubs = [SurrogateStub(grpc.aio.insecure_channel(address, options=options)) for _ in range(8)]
    taken = {"stream": [0] * streams, "unary": [0] * callers}
    stopped = False

    async def session(way: str, number: int) -> None:
        stub = stubs[number % len(stubs)]
        session_id = (await stub.Open(pb.OpenRequest(model_name="thermal_mass", seed=number))).session_id
        call = stub.Run() if way == "stream" else None
        for step in range(1, 1 << 30):
            request = pb.DoStepRequest(session_id=session_id, step_number=step)
            if call is None:
                await stub.DoStep(request)
            else:
                await call.write(request)
                await call.read()
            taken[way][number] = step
            if stopped:
                return

    tasks = [asyncio.create_task(session("stream", number)) for number in range(streams)]
    await asyncio.sleep(2.0)
    before = list(taken["stream"])
    tasks += [asyncio.create_task(session("unary", number)) for number in range(callers)]
    await asyncio.sleep(8.0)
    result = {"stream": [n - b for n, b in zip(taken["stream"], before, strict=True)], "unary": list(taken["unary"])}
    stopped = True
    await asyncio.wait(tasks, timeout=20.0)
    for task in tasks:
        task.cancel()
    return result
