"""How a service runs. Imports neither torch nor grpc, so that a command line can show the defaults at once."""

import math
from dataclasses import dataclass
from pathlib import Path

MESSAGE_LIMIT_BYTES = 8 * 2**20  # a larger one holds up all other callers while it is read
KEEPALIVE_S = 30.0
TIME_TO_LIVE_MAX_S = 30 * 86400.0


@dataclass(frozen=True)
class ServeConfig:
    """Settings of one server.

    Attributes:
        listen: host:port; port 0 takes a free one. Without TLS the connection is not encrypted, so another address than
            loopback belongs on a private network.
        device: where all models run: "cpu", "cuda", "cuda:1".
        session_limit: sessions held in memory at once; one more is refused.
        owner_session_limit: of those, sessions of one owner; 0 is no limit but session_limit.
        idle_timeout_s: the time to live of a session whose caller asked for none: not called for so long, it leaves the memory [s].
        store_time_to_live_s: a stored session that nobody called for so long is deleted [s].
        message_limit_bytes: the largest request or reply, after decompression.
        in_flight_limit: steps that wait or run at once; further ones are told to come again.
        rollout_limit: members times steps of one rollout.
        rollout_worker_count: rollouts worked on at once; as many again may wait, further ones are told to come again.
        write_timeout_s: a caller that does not read a reply of a stream for so long is dropped [s].
        keepalive_s: a connection that has been silent for so long is asked for a sign of life, and dropped when none comes
            within a third of that time [s]; callers may ask as often.
        token_interval: a resume token comes with every so-manieth step.
        store: where the state of sessions goes at every step: "none", "sqlite:///path", "redis://host:port/db".
        key_file: secret that signs resume tokens and snapshots; None makes one that ends with the server.
        token_file: bearer tokens of the callers; None knows no callers.
        tls_cert, tls_key: certificate and key of the server, PEM; None for no encryption.
        client_ca: certificates that sign those of the callers, PEM; None asks them for none.
        metrics: host:port of the metrics and the live page; None for none.
        reproducible_batch: rows of every batch of reproducible sessions; None lets the size of the model decide.
        stop_grace_s: time that running calls get to finish when the server stops [s].
    """

    listen: str = "127.0.0.1:50051"
    device: str = "cpu"
    session_limit: int = 10_000
    owner_session_limit: int = 0
    idle_timeout_s: float = 3600.0
    store_time_to_live_s: float = 7 * 86400.0
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    in_flight_limit: int = 4096
    rollout_limit: int = 10_000_000
    rollout_worker_count: int = 1
    write_timeout_s: float = 60.0
    keepalive_s: float = KEEPALIVE_S
    token_interval: int = 10
    store: str = "none"
    key_file: Path | None = None
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    metrics: str | None = None
    reproducible_batch: int | None = None
    stop_grace_s: float = 5.0

    def __post_init__(self) -> None:
        _check_address("listen", self.listen)
        if self.metrics is not None:
            _check_address("metrics", self.metrics)
        for name in (
            "session_limit",
            "message_limit_bytes",
            "in_flight_limit",
            "rollout_limit",
            "rollout_worker_count",
            "token_interval",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.owner_session_limit < 0:
            raise ValueError(f"owner_session_limit {self.owner_session_limit} must be 0 (no limit) or more")
        if self.reproducible_batch is not None and not 1 <= self.reproducible_batch <= 1024:
            raise ValueError(f"reproducible_batch {self.reproducible_batch} must be from 1 to 1024")
        for name in ("idle_timeout_s", "store_time_to_live_s", "write_timeout_s", "keepalive_s"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} {getattr(self, name)} must be a positive number of seconds")
        if not (self.stop_grace_s >= 0 and math.isfinite(self.stop_grace_s)):
            raise ValueError(f"stop_grace_s {self.stop_grace_s} must be a number of seconds, 0 or more")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; give both or none")
        if self.client_ca is not None and self.tls_cert is None:
            raise ValueError("client_ca asks callers for certificates, which needs TLS; give tls_cert and tls_key too")

    @property
    def host(self) -> str:
        """The part of `listen` before the port."""
        return self.listen.rpartition(":")[0]


def _check_address(name: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{name} {address!r} must be host:port with a port from 0 to 65535, such as 127.0.0.1:50051")
