"""Many sessions in one call, and whole runs in one call."""

import asyncio
import itertools
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service import conversion
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub
from tests.service.wire import MODEL, refusal, scalar, step_request, stub_of

_ids = itertools.count()


@pytest.fixture
def stub(server: Server) -> Iterator[SurrogateStub]:
    with stub_of(server.address) as stub:
        yield stub


def open_some(stub: SurrogateStub, count: int, **fields: object) -> list[str]:
    ids = [f"many-sessions-{next(_ids):06d}" for _ in range(count)]
    for seed, session_id in enumerate(ids):
        stub.Open(pb.OpenRequest(session_id=session_id, model_name=MODEL, seed=seed, **fields))
    return ids


@pytest.mark.parametrize("way", ["unary", "stream"])
def test_a_thousand_sessions_at_once(toy_bundle: Bundle, way: str):
    count, steps = 1000, 4

    async def run_all(address: str) -> list[list[float]]:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(4)]
        runs = [run_one(SurrogateStub(channels[seed % 4]), seed) for seed in range(count)]
        temperatures = await asyncio.gather(*runs)
        for channel in channels:
            await channel.close()
        return temperatures

    async def run_one(stub: SurrogateStub, seed: int) -> list[float]:
        session_id = (await stub.Open(pb.OpenRequest(model_name=MODEL, seed=seed))).session_id
        call, points = stub.Run() if way == "stream" else None, []
        for number in range(1, steps + 1):
            request = step_request(session_id, number, float(seed % 7))
            if call is None:
                points.append((await stub.DoStep(request)).point)
            else:
                await call.write(request)
                points.append((await call.read()).point)
        if call is not None:
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
        await stub.Close(pb.CloseRequest(session_id=session_id))
        return [point.outputs["temperature"].elements[0] for point in points]

    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server:
        found = asyncio.run(run_all(server.address))
        assert len(server.table) == 0
    for seed in range(0, count, 37):
        session = Session(toy_bundle, seed=seed)
        session.initialize()
        expected = [session.do_step({"power": float(seed % 7)})["temperature"] for _ in range(steps)]
        assert found[seed] == expected


def column(values: object) -> pb.Value:
    return conversion.array_to_proto(np.asarray(values, np.float64))


@pytest.mark.parametrize("count", [1, 3, 40, 100])
def test_a_step_of_many_is_a_step_of_each(stub: SurrogateStub, count: int):
    together, alone = open_some(stub, count), open_some(stub, count)
    for number in (1, 2, 3):
        powers = np.linspace(-10.0, 10.0, count) * number
        request = pb.DoStepsRequest(session_ids=together, step_numbers=[number] * count, inputs={"power": column(powers)})
        reply = stub.DoSteps(request)
        singles = [stub.DoStep(step_request(i, number, float(p))).point for i, p in zip(alone, powers, strict=True)]
        assert list(reply.step_indices) == [number] * count
        assert not reply.refusals and not reply.replayed
        for name in ("temperature", "flow"):
            seen = conversion.array_from_proto(name, reply.outputs[name], (count,))
            # whoever else is in the batch: equal bits
            np.testing.assert_array_equal(seen, [single.outputs[name].elements[0] for single in singles])


@pytest.mark.parametrize("way", ["one", "many"])
def test_run_latents_alone_leave_the_step_latents_to_the_seed(stub: SurrogateStub, toy_bundle: Bundle, way: str):
    z = [0.75]  # one run latent, the two step latents of every step are drawn
    local = Session(toy_bundle, seed=0, z_mode="external")
    local.initialize(z=z)
    expected = [local.do_step({"power": 3.0 * step}, z=z)["temperature"] for step in range(5)]
    (session_id,) = open_some(stub, 1, z_mode=pb.Z_MODE_EXTERNAL, z=pb.Value(elements=z))
    seen = []
    for step in range(5):
        if way == "one":
            point = stub.DoStep(step_request(session_id, step + 1, 3.0 * step, z=pb.Value(elements=z))).point
            seen.append(point.outputs["temperature"].elements[0])
        else:
            request = pb.DoStepsRequest(session_ids=[session_id], step_numbers=[step + 1], z=column([z]))
            request.inputs["power"].CopyFrom(column([3.0 * step]))
            seen.append(conversion.array_from_proto("temperature", stub.DoSteps(request).outputs["temperature"], (1,))[0])
    assert np.array_equal(np.float32(seen), np.float32(expected))


def test_a_call_of_many_again_gives_its_replies(stub: SurrogateStub):
    ids = open_some(stub, 5)
    request = pb.DoStepsRequest(session_ids=ids, step_numbers=[1] * 5, inputs={"power": column([1.0, 2.0, 3.0, 4.0, 5.0])})
    first, again = stub.DoSteps(request), stub.DoSteps(request)
    assert list(again.replayed) == [0, 1, 2, 3, 4] and not first.replayed
    assert again.outputs == first.outputs
    assert stub.DoStep(step_request(ids[2], 1, 3.0)).replayed, "the same step alone is the same step"


def test_each_session_is_stepped_or_refused_for_itself(stub: SurrogateStub):
    ids = open_some(stub, 4)
    stub.DoStep(step_request(ids[1], 1, 9.0))
    ids[3] = "no-session-of-this-id"
    request = pb.DoStepsRequest(session_ids=ids, step_numbers=[1, 1, 5, 1], inputs={"power": column([1.0, 2.0, 3.0, 4.0])})
    reply = stub.DoSteps(request)
    assert list(reply.step_indices) == [1, 1, 0, -1]
    assert {row: refused.error for row, refused in reply.refusals.items()} == {
        1: "StepConflictError",
        2: "StepGapError",
        3: "NotServedError",
    }
    assert reply.refusals[2].next_step == 1
    assert reply.refusals[3].code == grpc.StatusCode.NOT_FOUND.value[0]
    temperatures = conversion.array_from_proto("temperature", reply.outputs["temperature"], (4,))
    assert np.isfinite(temperatures).tolist() == [True, False, False, False]


def test_a_value_out_of_range_refuses_its_own_session(stub: SurrogateStub):
    ids = open_some(stub, 3)
    request = pb.DoStepsRequest(session_ids=ids, step_numbers=[1] * 3, inputs={"power": column([1.0, 1e9, 3.0])})
    reply = stub.DoSteps(request)
    assert list(reply.refusals) == [1] and reply.refusals[1].error == "InputError"
    assert list(reply.step_indices) == [1, 0, 1]


def test_calls_of_many_that_cannot_be_read(stub: SurrogateStub):
    ids = open_some(stub, 2)
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for request in (
        pb.DoStepsRequest(),
        pb.DoStepsRequest(session_ids=ids, step_numbers=[1]),
        pb.DoStepsRequest(session_ids=[ids[0], ids[0]], step_numbers=[1, 1]),
        pb.DoStepsRequest(session_ids=ids, step_numbers=[1, 1], inputs={"power": column([1.0])}),
        pb.DoStepsRequest(session_ids=ids, step_numbers=[1, 1], inputs={"power": pb.Value(data=b"123", data_type=1)}),
    ):
        assert refusal(stub.DoSteps, request)[:2] == (invalid, "InputError")
    unknown = pb.DoStepsRequest(session_ids=ids, step_numbers=[1, 1], inputs={"no_such": column([1.0, 2.0])})
    assert {refused.error for refused in stub.DoSteps(unknown).refusals.values()} == {"InputError"}
    assert list(stub.DoSteps(pb.DoStepsRequest(session_ids=ids, step_numbers=[1, 1])).step_indices) == [1, 1]


def test_a_rollout_is_what_the_runtime_gives(stub: SurrogateStub, toy_bundle: Bundle):
    steps, seeds = 50, [3, 4, 5]
    power = np.linspace(0.0, 10.0, steps)
    request = pb.RolloutRequest(
        model_name=MODEL,
        seeds=seeds,
        step_count=steps,
        inputs={"power": column(power)},
        parameters={"temperature_start": scalar(301.0)},
        chunk_steps=16,
    )
    chunks = list(stub.Rollout(request))
    assert [chunk.first_point for chunk in chunks] == [0, 16, 32, 48]
    parts = [conversion.array_from_proto("temperature", chunk.outputs["temperature"], ()) for chunk in chunks]
    seen = np.concatenate(parts, axis=1)
    manifest = toy_bundle.manifest
    given = {"power": power, "temperature_start": 301.0}
    rows = np.stack([np.broadcast_to(given.get(v.name, v.start), steps) for v in manifest.condition], axis=1)
    expected = rollout(toy_bundle, np.stack([rows] * 3), seeds)
    place = [v.name for v in manifest.outputs].index("temperature")
    np.testing.assert_allclose(seen, expected[:, :, place], rtol=1e-6)


def test_rollouts_that_cannot_be(stub: SurrogateStub):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    good = {"model_name": MODEL, "seeds": [1], "step_count": 5}
    for change in (
        {"seeds": []},
        {"seeds": [-1]},
        {"step_count": 0},
        {"step_count": 2**62},
        {"z_mode": pb.Z_MODE_EXTERNAL},
        {"inputs": {"power": column([1.0, 2.0])}},
        {"inputs": {"power": scalar(1e9)}},
        {"inputs": {"temperature_start": scalar(301.0)}},
        {"inputs": {"no_such": scalar(1.0)}},
        {"output_names": ["no_such"]},
    ):
        assert refusal(stub.Rollout, pb.RolloutRequest(**(good | change)))[:2] == (invalid, "InputError")


def test_so_many_sessions_and_no_more(toy_bundle: Bundle):
    config = ServeConfig(listen="127.0.0.1:0", session_limit=2)
    with Server([toy_bundle], config) as server, stub_of(server.address) as stub:
        ids = open_some(stub, 2)
        code, error, _ = refusal(stub.Open, pb.OpenRequest(model_name=MODEL))
        assert (code, error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ServiceFullError")
        stub.Close(pb.CloseRequest(session_id=ids[0]))
        stub.Open(pb.OpenRequest(model_name=MODEL))
