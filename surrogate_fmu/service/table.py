"""The sessions that a server holds in memory: found by id, limited in number, evicted when idle."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from surrogate_fmu.errors import NotServedError, ServiceFullError, SessionEvictedError

if TYPE_CHECKING:
    from surrogate_fmu.service.served import ServedSession

_ENDED_REMEMBERED = 10_000  # ended sessions of which the table still knows how they ended
_ID_SHOWN = 6  # an id is a key to its session, so errors and logs show its beginning only


def shown(session_id: str) -> str:
    """The beginning of an id, for people."""
    return session_id if len(session_id) <= _ID_SHOWN else session_id[:_ID_SHOWN] + "..."


class SessionTable:
    """Sessions by id. To be used from one thread, that of the event loop.

    Args:
        limit: sessions held at once.
        owner_limit: sessions of one owner held at once; 0 is no limit.
        clock: gives the time [s]; never goes back.
    """

    def __init__(self, limit: int, owner_limit: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._owner_limit = owner_limit
        self._clock = clock
        self._sessions: OrderedDict[str, ServedSession] = OrderedDict()  # least recently used first
        self._count_of: dict[str, int] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()  # id -> time to live [s] if it was evicted, 0 if it was closed

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> "Iterator[ServedSession]":
        return iter(self._sessions.values())

    def get(self, session_id: str, owner: str) -> "ServedSession | None":
        """The session of an id, now the most recently used one; None if it is not in memory, or another owner's."""
        session = self._sessions.get(session_id)
        if session is None or session.terms.owner != owner:
            return None
        session.used_at = self._clock()
        self._sessions.move_to_end(session_id)
        return session

    def is_anothers(self, session_id: str, owner: str) -> bool:
        """Whether another owner has a session of this id in memory."""
        session = self._sessions.get(session_id)
        return session is not None and session.terms.owner != owner

    def missing(self, session_id: str) -> NotServedError:
        """Why there is no such session, as the error to raise."""
        time_to_live_s = self._ended.get(session_id)
        if time_to_live_s:
            return SessionEvictedError(
                f"the session {shown(session_id)!r} was evicted, for nobody called it for {time_to_live_s:g} s; open it again with "
                "its last resume token, and with a longer time_to_live_s"
            )
        if time_to_live_s == 0.0:
            return NotServedError(f"the session {shown(session_id)!r} was closed; open a new one")
        return NotServedError(
            f"there is no session {shown(session_id)!r} here: it was never opened, ended long ago, or ended with the server that "
            "held it; open it again with its last resume token"
        )

    def was_closed(self, session_id: str) -> bool:
        """Whether a session of this id was closed by its caller, as far as the table remembers."""
        return self._ended.get(session_id) == 0.0

    def check_room(self, owner: str) -> None:
        """Raise ServiceFullError if no session of this owner can be added."""
        if len(self._sessions) >= self._limit:
            raise ServiceFullError(
                f"the service holds {self._limit} sessions, which is its limit; close one, or serve with a larger --session-limit"
            )
        if self._owner_limit and self._count_of.get(owner, 0) >= self._owner_limit:
            raise ServiceFullError(
                f"you hold {self._owner_limit} sessions, which is the limit of one owner; close one, or serve with a larger "
                "--owner-session-limit"
            )

    def add(self, session: "ServedSession") -> None:
        """Hold a session.

        Raises:
            ServiceFullError: a limit is reached.
        """
        terms = session.terms
        assert terms.session_id not in self._sessions
        self.check_room(terms.owner)
        session.used_at = self._clock()
        self._sessions[terms.session_id] = session
        self._count_of[terms.owner] = self._count_of.get(terms.owner, 0) + 1
        self._ended.pop(terms.session_id, None)

    def close(self, session_id: str) -> None:
        """Forget a session that its caller ended; an id that is not here is no error."""
        self._remove(session_id, 0.0)

    def drop(self, session_id: str) -> None:
        """Forget a session as if the server had never held it: its end is not remembered."""
        self._remove(session_id, 0.0)
        self._ended.pop(session_id, None)

    def evict_idle(self) -> "list[ServedSession]":
        """Forget the sessions that were idle for their time to live; those in a step never are. The ones that went."""
        now = self._clock()
        idle = [s for s in self._sessions.values() if s.busy is None and now - s.used_at >= s.terms.time_to_live_s]
        for session in idle:
            self._remove(session.terms.session_id, session.terms.time_to_live_s)
        return idle

    def _remove(self, session_id: str, time_to_live_s: float) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            owner = session.terms.owner
            self._count_of[owner] -= 1
            if not self._count_of[owner]:
                del self._count_of[owner]
        self._ended[session_id] = time_to_live_s
        while len(self._ended) > _ENDED_REMEMBERED:
            self._ended.popitem(last=False)
