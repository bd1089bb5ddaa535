"""The methods of the API as handlers of a gRPC server, from the descriptor of the service.

What `add_SurrogateServicer_to_server` makes, but for three things. A request that is no message of its type reaches the
servicer, which refuses it with a sentence, where gRPC would answer UNKNOWN and write a traceback for each. And a caller whose
token is not known is refused before his message is received: to read one of tens of MB holds the event loop up for a second, and
with it all other callers. And each new call is counted, for the turns of the streams (`turns`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from surrogate_fmu.errors import AccessError
from surrogate_fmu.service.access import Access
from surrogate_fmu.service.turns import Turns
from surrogate_fmu.service.v1 import surrogate_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["Surrogate"]
SERVICE_NAME = _SERVICE.full_name


class Unreadable:
    """Stands for a request that could not be read."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Handler(grpc.ServiceRpcHandler):
    def __init__(
        self, servicer: Any, access: Access, turns: Turns, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]
    ) -> None:
        self._servicer = servicer
        self._access = access
        self._turns = turns
        self._handlers = {f"/{SERVICE_NAME}/{name}": handler for name, handler in handlers.items()}

    def service_name(self) -> str:
        """Of the API."""
        return SERVICE_NAME

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a call, or one that refuses it."""
        self._turns.call_arrived()
        handler = self._handlers.get(handler_call_details.method)
        if handler is None:
            return None
        try:
            self._access.check(handler_call_details.invocation_metadata)
        except AccessError as error:
            return self._refusal(handler_call_details.method.rpartition("/")[2], error)
        return handler

    def _refusal(self, call: str, error: AccessError) -> "grpc.RpcMethodHandler[Any, Any]":
        async def refuse(_: Any, context: Any) -> None:
            await self._servicer.refuse(context, call, error)

        # a handler of streams, whatever the method is: it takes no message that it does not ask for
        return grpc.stream_stream_rpc_method_handler(refuse)


def make_handler(servicer: Any, access: Access, turns: Turns) -> grpc.GenericRpcHandler:
    """The handler of all methods of the service.

    Args:
        servicer: has a coroutine by the name of each method, and `refuse`.
        access: refuses callers whose token is not known.
        turns: is told of every call.
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
    return _Handler(servicer, access, turns, handlers)


def _reader(message: type[Message]) -> Callable[[bytes], Message | Unreadable]:
    read = message.FromString

    def read_or_tell(data: bytes) -> Message | Unreadable:
        try:
            return read(data)
        except DecodeError as error:
            return Unreadable(str(error))

    return read_or_tell
