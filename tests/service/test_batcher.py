"""The queue before a generator: company is taken, never waited for, and nobody who has gone is stepped."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import ServiceFullError, SurrogateError
from surrogate_fmu.service.batcher import Batcher
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.conversion import Batching
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.status import error_of, status_of
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from tests.service.wire import MODEL, step_request, stub_of

SAME = Batching.REPRODUCIBLE


class Recorder:
    """In the stepper's place: answers a plan with itself, and remembers what came together and in which thread."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[list[Any]] = []
        self.threads: set[str] = set()
        self.seconds = seconds

    def advance(self, plans: Sequence[Any]) -> list[Any]:
        self.calls.append(list(plans))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if "broken" in plans:
            raise ZeroDivisionError("in the generator")
        return list(plans)

    advance_reproducibly = advance


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_steps_of_one_turn_share_a_call():
    stepper = Recorder()

    async def work() -> list[Any]:
        batcher = Batcher(stepper, 100)
        taken = await asyncio.gather(*(batcher.step([name], SAME) for name in "abc"))
        taken += [await batcher.step(["alone"], SAME)]
        batcher.close()
        return taken

    assert run(work()) == [["a"], ["b"], ["c"], ["alone"]]
    assert stepper.calls == [["a", "b", "c"], ["alone"]]


def test_the_ways_of_batching_do_not_mix():
    stepper = Recorder()

    async def work() -> None:
        batcher = Batcher(stepper, 100)
        orders = (("a", SAME), ("b", Batching.THROUGHPUT), ("c", SAME))
        assert await asyncio.gather(*(batcher.step([name], way) for name, way in orders)) == [["a"], ["b"], ["c"]]
        batcher.close()

    run(work())
    assert stepper.calls == [["a", "c"], ["b"]]


def test_a_slow_generator_does_not_hold_up_the_loop():
    stepper = Recorder(seconds=0.05)

    async def work() -> int:
        batcher = Batcher(stepper, 100)
        await batcher.step(["first"], SAME)  # tells that it is slow
        turns, done = 0, asyncio.gather(*(batcher.step([name], SAME) for name in "ab"))
        while not done.done():
            turns += 1
            await asyncio.sleep(0.001)
        batcher.close()
        return turns

    assert run(work()) > 5
    assert stepper.calls[1:] == [["a", "b"]]
    assert any(name.startswith("surrogate-fmu-generator") for name in stepper.threads)


def test_who_has_gone_is_not_stepped():
    stepper = Recorder()

    async def work() -> None:
        batcher = Batcher(stepper, 100)
        gone = asyncio.create_task(batcher.step(["gone"], SAME))
        stays = asyncio.create_task(batcher.step(["stays"], SAME))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == ["stays"]
        batcher.close()

    run(work())
    assert stepper.calls in ([["stays"]], [["gone", "stays"]])  # the second where the turn was over already


def test_a_fault_of_the_generator_is_the_outcome_of_its_rows():
    async def work() -> list[Any]:
        batcher = Batcher(Recorder(), 100)
        failed = await batcher.step(["broken", "beside"], SAME)
        fine = await batcher.step(["fine"], SAME)
        batcher.close()
        return [failed, fine]

    failed, fine = run(work())
    assert all(isinstance(row, SurrogateError) and "ZeroDivisionError: in the generator" in str(row) for row in failed)
    assert fine == ["fine"]


def test_a_full_queue_tells_when_to_come_again():
    async def work() -> ServiceFullError:
        batcher = Batcher(Recorder(), 2)
        waiting = asyncio.create_task(batcher.step(["a", "b"], SAME))
        await asyncio.sleep(0)
        with pytest.raises(ServiceFullError) as caught:
            await batcher.step(["c", "d", "e"], SAME)
        await waiting
        batcher.close()
        return caught.value

    status = status_of(run(work()))
    assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = status_pb2.Status.FromString(dict(status.metadata)["grpc-status-details-bin"])
    info = error_details_pb2.RetryInfo()
    assert details.details[0].Unpack(info) and info.retry_delay.ToNanoseconds() > 0

    class Answer(grpc.RpcError):
        code = staticmethod(lambda: status.code)
        details = staticmethod(lambda: status.message)
        trailing_metadata = staticmethod(lambda: status.metadata)

    error = error_of(Answer(), "here")
    assert isinstance(error, ServiceFullError) and error.retry_after_s == pytest.approx(info.retry_delay.ToNanoseconds() / 1e9)


def test_a_deadline_that_is_over_takes_no_step(toy_bundle: Bundle):
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server, stub_of(server.address) as stub:
        session_id = stub.Open(pb.OpenRequest(model_name=MODEL)).session_id
        for number in range(1, 40):
            try:
                stub.DoStep(step_request(session_id, number), timeout=1e-6 * number)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            # taken or not: the same step again ends at the same point
            assert stub.DoStep(step_request(session_id, number)).point.step_index == number
