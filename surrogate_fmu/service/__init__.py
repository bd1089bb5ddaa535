"""The gRPC service: sessions over the wire. `connect` is the client."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogate_fmu.service.client import Service, connect
    from surrogate_fmu.service.remote_session import RemoteSession

__all__ = ["RemoteSession", "Service", "connect"]


def __getattr__(name: str) -> Any:
    """The client, imported when it is first asked for: a server and the command line need none of it."""
    if name == "RemoteSession":
        from surrogate_fmu.service.remote_session import RemoteSession

        return RemoteSession
    if name in ("Service", "connect"):
        from surrogate_fmu.service import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
