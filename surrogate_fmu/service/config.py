"""How a service runs. Imports neither torch nor grpc, so that a command line can show the defaults at once."""

import math
from dataclasses import dataclass

MESSAGE_LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ServeConfig:
    """Settings of one server.

    Attributes:
        listen: host:port; port 0 takes a free one. The connection is neither encrypted nor authenticated, so another
            address than loopback belongs on a private network.
        device: where all models run: "cpu", "cuda", "cuda:1".
        session_limit: sessions held at once; one more is refused.
        idle_timeout_s: a session that nobody called for so long is dropped [s].
        message_limit_bytes: the largest request or reply.
        thread_count: calls worked on at once; further ones wait.
        stop_grace_s: time that running calls get to finish when the server stops [s].
    """

    listen: str = "127.0.0.1:50051"
    device: str = "cpu"
    session_limit: int = 1000
    idle_timeout_s: float = 3600.0
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    thread_count: int = 8
    stop_grace_s: float = 5.0

    def __post_init__(self) -> None:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"listen {self.listen!r} must be host:port with a port from 0 to 65535, such as 127.0.0.1:50051")
        for name in ("session_limit", "message_limit_bytes", "thread_count"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if not (self.idle_timeout_s > 0 and math.isfinite(self.idle_timeout_s)):
            raise ValueError(f"idle_timeout_s {self.idle_timeout_s} must be a positive number of seconds")
        if not (self.stop_grace_s >= 0 and math.isfinite(self.stop_grace_s)):
            raise ValueError(f"stop_grace_s {self.stop_grace_s} must be a number of seconds, 0 or more")

    @property
    def host(self) -> str:
        """The part of `listen` before the port."""
        return self.listen.rpartition(":")[0]
