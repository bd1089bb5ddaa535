"""Sessions that all step at once, from a process of their own.

python benchmarks/service/crowd_client.py ADDRESS MODEL COUNT unary|stream SECONDS

Opens the sessions, steps each in lock-step for a moment, prints `ready`, goes on for so many seconds and prints the steps
taken meanwhile and the median and 99 % quantile of the wait for one [s].
"""

import asyncio
import sys
import time

import grpc

from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub

CHANNELS = 8  # connections, as of so many simulators
INPUTS = {f"x{k + 1}": pb.Value(elements=[0.08 * k]) for k in range(12)}


class Crowd:
    """The sessions of one server."""

    def __init__(self, address: str, model: str, count: int, way: str) -> None:
        self._address, self._model, self._count, self._way = address, model, count, way
        self._waits: list[float] = []
        self._stopped = False

    async def run(self, seconds: float) -> None:
        """See the head of this file."""
        work = unary if self._way == "unary" else stream
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(self._address, options=options) for _ in range(min(CHANNELS, self._count))]
        stubs = [SurrogateStub(channel) for channel in channels]
        tasks = [asyncio.create_task(work(self, stubs[seed % len(stubs)], seed)) for seed in range(self._count)]
        await asyncio.sleep(0.5 + self._count / 300)
        self._waits.clear()
        print("ready", flush=True)
        await asyncio.sleep(seconds)
        waits = sorted(self._waits)
        print(len(waits), waits[len(waits) // 2], waits[len(waits) * 99 // 100], flush=True)
        self._stopped = True
        await asyncio.gather(*tasks)
        for channel in channels:
            await channel.close()

    async def open(self, stub: SurrogateStub, seed: int) -> str:
        """The id of a new session."""
        return str((await stub.Open(pb.OpenRequest(model_name=self._model, seed=seed))).session_id)

    def went(self, start: float) -> bool:
        """Note a step that began then; whether to take another one."""
        self._waits.append(time.perf_counter() - start)
        return not self._stopped


def request(session_id: str, number: int) -> pb.DoStepRequest:
    """A step."""
    return pb.DoStepRequest(session_id=session_id, step_number=number, inputs=INPUTS)


async def unary(crowd: Crowd, stub: SurrogateStub, seed: int) -> None:
    """Step by single calls."""
    session_id, number, more = await crowd.open(stub, seed), 0, True
    while more:
        number, start = number + 1, time.perf_counter()
        await stub.DoStep(request(session_id, number))
        more = crowd.went(start)
    await stub.Close(pb.CloseRequest(session_id=session_id))


async def stream(crowd: Crowd, stub: SurrogateStub, seed: int) -> None:
    """Step on a stream, one step on its way at a time."""
    session_id, number, more = await crowd.open(stub, seed), 0, True
    call = stub.Run()
    while more:
        number, start = number + 1, time.perf_counter()
        await call.write(request(session_id, number))
        await call.read()
        more = crowd.went(start)
    await call.done_writing()
    await stub.Close(pb.CloseRequest(session_id=session_id))


if __name__ == "__main__":
    address, model, count, way, seconds = sys.argv[1:]
    asyncio.run(Crowd(address, model, int(count), way).run(float(seconds)))
