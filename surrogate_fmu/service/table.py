"""The sessions that a server holds: found by unguessable id, limited in number, dropped when idle."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from surrogate_fmu.errors import NotServedError, ServiceFullError
from surrogate_fmu.runtime.session import Session

_ID_BYTES = 24
_ID_SHOWN = 6  # an id is a key to its session, so errors and logs show its beginning only


@dataclass
class _Entry:
    session: Session
    used_at: float
    calls: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)


class SessionTable:
    """Sessions by id; safe from several threads.

    Args:
        limit: sessions held at once.
        idle_timeout_s: a session unused for so long is dropped at the next call to the table [s]; one in use never is.
        clock: gives the time [s].
    """

    def __init__(self, limit: int, idle_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._idle_timeout_s = idle_timeout_s
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._drop_idle()
            return len(self._entries)

    def add(self, session: Session) -> str:
        """Hold a session; its id.

        Raises:
            ServiceFullError: the limit is reached.
        """
        with self._lock:
            self._drop_idle()
            if len(self._entries) >= self._limit:
                raise ServiceFullError(
                    f"the service holds {self._limit} sessions, which is its limit; close one, or raise session_limit"
                )
            session_id = secrets.token_urlsafe(_ID_BYTES)
            self._entries[session_id] = _Entry(session, self._clock())
            return session_id

    @contextmanager
    def use(self, session_id: str) -> Iterator[Session]:
        """The session of an id, for this thread alone while the context lasts.

        Raises:
            NotServedError: there is none.
        """
        with self._lock:
            self._drop_idle()
            entry = self._entries.get(session_id)
            if entry is None:
                raise NotServedError(
                    f"there is no session {session_id[:_ID_SHOWN] + '...'!r} here: it was closed, was idle for "
                    f"{self._idle_timeout_s:g} s, or belongs to another server; open a new one and restore a snapshot into it"
                )
            entry.calls += 1
        try:
            with entry.lock:
                yield entry.session
        finally:
            with self._lock:
                entry.calls -= 1
                entry.used_at = self._clock()
                if session_id in self._entries:
                    self._entries.move_to_end(session_id)

    def remove(self, session_id: str) -> None:
        """Close a session and free its place; an unknown id is no error."""
        with self._lock:
            entry = self._entries.pop(session_id, None)
        if entry is not None:
            entry.session.close()

    def _drop_idle(self) -> None:
        oldest = self._clock() - self._idle_timeout_s
        idle = []
        for session_id, entry in self._entries.items():
            if entry.calls == 0 and entry.used_at > oldest:
                break
            if entry.calls == 0:
                idle.append(session_id)
        for session_id in idle:
            self._entries.pop(session_id).session.close()
