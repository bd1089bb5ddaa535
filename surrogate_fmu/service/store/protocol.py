"""What a store of sessions offers."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class StoredSession(NamedTuple):
    """A session as a store holds it.

    Attributes:
        session_id: names it.
        version: how often it was written, counted from 1.
        state: opaque bytes.
        expires_at: when it may be deleted [s since 1970]; 0 is never.
    """

    session_id: str
    version: int
    state: bytes
    expires_at: float


class SessionStore(Protocol):
    """Sessions outside of the server's memory, so that they outlive it and other servers find them.

    Writes are compare-and-set: of two servers that step one session from the same version, one wins and the other one learns
    it. A store that lost its last writes (a Redis that failed over to a replica) takes those of the server that has the
    session in memory, for its version is larger; but a session that is not stored at all was closed, and stays so.

    A call that raises has written all of its sessions or none, as far as the caller knows.

    Raises:
        StoreError: from any call, when the store cannot be reached, is full or is locked.
    """

    async def load(self, session_id: str) -> StoredSession | None:
        """The session, or None."""

    async def save(self, sessions: Sequence[StoredSession]) -> frozenset[str]:
        """Write each session whose stored version is smaller than its own; the ids of the others.

        One of version 1 is written if it is not stored, one of a later version only if it is.

        Args:
            sessions: of different ids.
        """

    async def delete(self, session_id: str) -> None:
        """Forget a session; one that is not there is no error."""

    async def drop_expired(self, now: float) -> int:
        """Delete the sessions that expired before `now` [s since 1970]; how many. It may delete later, never earlier."""

    async def close(self) -> None:
        """Give everything back; no other call may follow."""
