"""The methods of the API as handlers of a gRPC server, from the descriptor of the service.

What `add_SurrogateServicer_to_server` makes, but for one thing: a request that is no message of its type reaches the
servicer, which refuses it with a sentence, where gRPC would answer UNKNOWN and write a traceback for each.
"""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from surrogate_fmu.service.v1 import surrogate_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["Surrogate"]
SERVICE_NAME = _SERVICE.full_name


class Unreadable:
    """Stands for a request that could not be read."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def make_handler(servicer: Any) -> grpc.GenericRpcHandler:
    """The handler of all methods of the service.

    Args:
        servicer: has a coroutine by the name of each method.
    """
    handlers = {}
    for method in _SERVICE.methods:
        kind = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[method.client_streaming, method.server_streaming]
        handlers[method.name] = kind(
            getattr(servicer, method.name),
            request_deserializer=_reader(message_factory.GetMessageClass(method.input_type)),
            response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)


def _reader(message: type[Message]) -> Callable[[bytes], Message | Unreadable]:
    read = message.FromString

    def read_or_tell(data: bytes) -> Message | Unreadable:
        try:
            return read(data)
        except DecodeError as error:
            return Unreadable(str(error))

    return read_or_tell
