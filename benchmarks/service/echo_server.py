"""The floor: a bare grpc.aio server that answers a fixed reply of the same size, on the same event loop.

Run as a process by run.py; prints its port and its CPU seconds when it is told to stop by the end of its input.
"""

import asyncio
import resource
import sys
from typing import Any

import grpc
import uvloop

from surrogate_fmu.service.v1 import surrogate_pb2 as pb

METHOD = "/surrogate_fmu.v1.Surrogate/"


def reply_of(outputs: int) -> pb.DoStepResponse:
    """A reply with so many scalar outputs."""
    point = pb.CommunicationPoint(step_index=1000, time=2000.0, in_domain=True)
    for number in range(outputs):
        point.outputs[f"y{number}"].elements.append(0.5 + number)
    return pb.DoStepResponse(point=point)


async def main(outputs: int) -> None:
    """Serve until the input ends."""
    reply = reply_of(outputs)

    async def unary(request: pb.DoStepRequest, context: Any) -> pb.DoStepResponse:
        return reply

    async def stream(requests: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(reply)

    readers = {"request_deserializer": pb.DoStepRequest.FromString, "response_serializer": pb.DoStepResponse.SerializeToString}
    handlers = {
        "DoStep": grpc.unary_unary_rpc_method_handler(unary, **readers),
        "Run": grpc.stream_stream_rpc_method_handler(stream, **readers),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("surrogate_fmu.v1.Surrogate", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, flush=True)
    await server.stop(0)


if __name__ == "__main__":
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main(int(sys.argv[1])))
