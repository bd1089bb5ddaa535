"""Which of several servers a session belongs to, so that it finds its state in that server's memory.

Rendezvous hashing (Thaler and Ravishankar 1998): every pair of session and server has a weight, and the session goes to the
server of the largest. Nobody keeps a table; all clients that know the same servers agree; when a server goes, only its
sessions move, and they spread evenly over the others.
"""

import hashlib
from collections.abc import Sequence

from surrogate_fmu.errors import ConfigError

SESSION_KEY = "surrogate-fmu-session"  # metadata of every call of a session, for proxies that hash a header


def choose_target(session_id: str, targets: Sequence[str]) -> str:
    """The server of a session: the same for equal arguments, in every process and whatever the order of the targets.

    Args:
        session_id: or any other name that the caller keeps for its session.
        targets: host:port of each server.

    Raises:
        ConfigError: there is no target.
    """
    return rank_targets(session_id, targets)[0]


def rank_targets(session_id: str, targets: Sequence[str]) -> list[str]:
    """All servers, the session's own first, then where it goes when those before are away.

    Raises:
        ConfigError: there is no target.
    """
    if not targets:
        raise ConfigError("there is no server to choose from; give at least one host:port")
    return sorted(set(targets), key=lambda target: (_weight(session_id, target), target), reverse=True)


def session_mark(session_id: str) -> str:
    """What tells a session from others, without being its id: proxies write headers into logs, and an id is a key."""
    return hashlib.blake2b(session_id.encode(), digest_size=8).hexdigest()


def _weight(session_id: str, target: str) -> bytes:
    # a session id has at most 64 bytes, so the zero ends it and no two pairs give the same bytes
    return hashlib.blake2b(session_id.encode() + b"\0" + target.encode(), digest_size=8).digest()
