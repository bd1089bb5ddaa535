"""A connection on which messages are lost, repeated, late and out of order, over a real one."""

import contextlib
import random
import threading
from typing import Any

import grpc

_NAMES = ("Open", "DoStep", "DoSteps", "Snapshot", "Restore", "Close", "GetSession")


class LostError(grpc.RpcError):
    """The status that gRPC gives when a connection breaks."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "lost by the test"

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


class ChaoticStub:
    """The calls of a stub, disturbed.

    Args:
        stub: the real one.
        seed: of the disturbances.
        chance: of each kind of disturbance, at every call.

    Attributes:
        counts: of what was done, by kind.
    """

    def __init__(self, stub: Any, seed: int, chance: float) -> None:
        self._stub = stub
        self._random = random.Random(seed)
        self._chance = chance
        self._old: list[tuple[str, Any, dict[str, Any]]] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(("calls", "request lost", "reply lost", "sent twice at once", "sent again late"), 0)

    def __getattr__(self, name: str) -> Any:
        if name not in _NAMES:
            return getattr(self._stub, name)
        return lambda request, **options: self._call(name, request, options)

    def _call(self, name: str, request: Any, options: dict[str, Any]) -> Any:
        with self._lock:
            self.counts["calls"] += 1
            draws = [self._random.random() < self._chance for _ in range(4)]
            late = self._old.pop(self._random.randrange(len(self._old))) if draws[3] and self._old else None
            if len(self._old) < 200:
                self._old.append((name, request, options))
        method = getattr(self._stub, name)
        if late is not None:  # an old message of any session arrives now: nothing may come of it
            self._send_aside("sent again late", *late)
        if draws[0]:
            self._count("request lost")
            raise LostError
        if draws[2]:
            self._send_aside("sent twice at once", name, request, options)
        reply = method(request, **options)
        if draws[1]:
            self._count("reply lost")
            raise LostError
        return reply

    def settle(self) -> None:
        """Wait for the messages that were sent aside."""
        for thread in self._threads:
            thread.join()

    def _send_aside(self, kind: str, name: str, request: Any, options: dict[str, Any]) -> None:
        self._count(kind)

        def send() -> None:
            with contextlib.suppress(grpc.RpcError):  # a refusal is what is expected; what counts is the trajectory
                getattr(self._stub, name)(request, **options)

        thread = threading.Thread(target=send)
        thread.start()
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]

    def _count(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1
