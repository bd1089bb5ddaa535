"""The stream `Run` from the client's side: requests go in, replies come out in the same order."""

import queue
import threading
from typing import TYPE_CHECKING, Any

import grpc

from surrogate_fmu.errors import ServiceLostError
from surrogate_fmu.service.status import error_of
from surrogate_fmu.service.v1 import surrogate_pb2 as pb

if TYPE_CHECKING:
    from surrogate_fmu.service.client import Service

_WATCH_S = 0.5  # how exactly a step's time limit is kept


class StepStream:
    """A stream of steps of one session; opened at the first request, and again after a failure.

    A stream has one deadline for its whole life, a step should have one of its own: a watching thread, which lives as long
    as the stream, cancels the stream when a reply takes longer than the connection's `timeout_s`.

    Args:
        service: the connection.
    """

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._requests: queue.SimpleQueue[pb.DoStepRequest | None] = queue.SimpleQueue()
        self._replies: Any = None
        self._over = threading.Event()
        self._waiting_since: int | None = None  # looks of the watching thread since the reply is waited for

    def send(self, request: pb.DoStepRequest) -> None:
        """Send a step."""
        if self._replies is None:
            self._requests = queue.SimpleQueue()
            self._replies = self._service.stub.Run(
                iter(self._requests.get, None), metadata=self._service.metadata_of(request.session_id)
            )
            self._over = threading.Event()
            threading.Thread(target=self._watch, args=(self._replies, self._over), name="step-stream", daemon=True).start()
        self._requests.put(request)

    def receive(self) -> pb.DoStepResponse:
        """The reply of the first step that has none yet.

        Raises:
            ServiceLostError: the stream broke; the steps that have no reply are to be sent again.
            SessionError: the step was refused, and those behind it were not looked at.
        """
        self._waiting_since = 0
        try:
            reply: pb.DoStepResponse = next(self._replies)
            return reply
        except grpc.RpcError as error:
            self.close()
            raise error_of(error, self._service.target) from error
        except StopIteration:
            self.close()
            raise ServiceLostError(f"the service at {self._service.target} ended the stream; send the step again") from None
        finally:
            self._waiting_since = None

    def close(self) -> None:
        """End the stream; the session stays."""
        if self._replies is not None:
            self._over.set()
            self._requests.put(None)
            self._replies.cancel()
            self._replies = None

    def _watch(self, replies: Any, over: threading.Event) -> None:
        while not over.wait(_WATCH_S):
            waiting = self._waiting_since
            if waiting is None or self._replies is not replies:
                continue
            if waiting * _WATCH_S >= self._service.timeout_s:
                replies.cancel()
                return
            self._waiting_since = waiting + 1
