"""Sessions in an SQLite file: for the servers of one host.

A write takes some tens of microseconds and is done in the thread of the event loop. In WAL mode with synchronous=NORMAL,
what was written survives the end of the process at any point; an abrupt end of the whole machine may cost the last writes,
which `?synchronous=full` prevents at several times the cost. The file must not lie on a network file system: WAL needs memory
that all its users share.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from surrogate_fmu.errors import ConfigError, StoreError
from surrogate_fmu.service.private_file import check_private
from surrogate_fmu.service.store.protocol import StoredSession

_APPLICATION_ID = 0x53464D55  # "SFMU": tells the file from databases of other programs
_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 0.5  # the event loop stands still while it waits for another process
_JUMP_S = 60.0  # the wall clock went ahead of the steady one by more: it was set, or the machine slept
_CREATE = """
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state BLOB NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX sessions_by_expiry ON sessions (expires_at)"
_INSERT = "INSERT INTO sessions (session_id, version, state, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (session_id) DO NOTHING"
_UPDATE = "UPDATE sessions SET version = ?2, state = ?3, expires_at = ?4 WHERE session_id = ?1 AND version < ?2"
_LOAD = "SELECT session_id, version, state, expires_at FROM sessions WHERE session_id = ?"
_EXPIRED = "expires_at > 0 AND expires_at < ?"
# primary result code of SQLite -> what to do, seconds until the call may be sent again
_ADVICE = {
    sqlite3.SQLITE_BUSY: ("another process holds it; end long transactions on it, such as those of a backup", 0.2),
    sqlite3.SQLITE_LOCKED: ("another process holds it; end long transactions on it, such as those of a backup", 0.2),
    sqlite3.SQLITE_FULL: ("free space on its disk", 5.0),
    sqlite3.SQLITE_IOERR: ("look after its disk: it may be full, broken or gone", 5.0),
    sqlite3.SQLITE_READONLY: ("let the server write the file and its directory", 5.0),
    sqlite3.SQLITE_CANTOPEN: ("let the server write the file and its directory", 5.0),
    sqlite3.SQLITE_CORRUPT: ("it is damaged: stop the server, move the file away and start again", 60.0),
    sqlite3.SQLITE_NOTADB: ("it is damaged: stop the server, move the file away and start again", 60.0),
}


class SqliteStore:
    """A store in a file; several servers of one host may share it.

    Args:
        path: of the file; made where there is none, readable by its owner alone.
        synchronous: "normal" or "full".
        clock: gives the time [s]; never goes back.

    Raises:
        ConfigError: the file cannot be used, is readable by others, is damaged, is no database of sessions, or is of another
            version.
    """

    def __init__(self, path: Path, synchronous: str = "normal", clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._swept: tuple[float, float] | None = None  # wall clock and steady clock at the last sweep
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            check_private(path, "store")
            self._database = sqlite3.connect(path, _BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the store {path} cannot be opened ({error}); give another one with --store sqlite:///path"
            ) from error
        try:
            self._prepare(synchronous)
        except sqlite3.Error as error:
            self._database.close()
            raise ConfigError(
                f"the store {path} cannot be used ({error}); if it is damaged or of another program, give another file, else "
                "end the process that holds it"
            ) from error
        except ConfigError:
            self._database.close()
            raise

    async def load(self, session_id: str) -> StoredSession | None:
        """The session, or None."""
        with self._failing():
            row = self._database.execute(_LOAD, (session_id,)).fetchone()
        return None if row is None else StoredSession(*row)

    async def save(self, sessions: Sequence[StoredSession]) -> frozenset[str]:
        """Write in one transaction; the ids of those where another writer was faster."""
        with self._failing(), self._transaction():
            execute = self._database.execute
            written = [execute(_INSERT if session.version == 1 else _UPDATE, session).rowcount for session in sessions]
        return frozenset(session.session_id for session, count in zip(sessions, written, strict=True) if not count)

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        with self._failing():
            self._database.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))

    async def drop_expired(self, now: float) -> int:
        """Delete the sessions that expired.

        When the wall clock went ahead by a jump since the last sweep, what it would expire lives longer by that jump. When it
        went back, all live longer.
        """
        jump_s = self._jump(now)
        with self._failing(), self._transaction():
            if jump_s:
                self._database.execute(f"UPDATE sessions SET expires_at = expires_at + ? WHERE {_EXPIRED}", (jump_s, now))
            return self._database.execute(f"DELETE FROM sessions WHERE {_EXPIRED}", (now,)).rowcount

    async def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _prepare(self, synchronous: str) -> None:
        execute = self._database.execute
        tables = execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables:
            self._check_ours()
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {synchronous}")
        with self._transaction():  # of several servers that start at once, one makes the table
            if not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                execute(_CREATE)
                execute(_INDEX)
                execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        self._check_ours()

    def _check_ours(self) -> None:
        ((application,), (version,), (health,)) = (
            self._database.execute(f"PRAGMA {pragma}").fetchone() for pragma in ("application_id", "user_version", "quick_check(1)")
        )
        if application != _APPLICATION_ID:
            raise ConfigError(f"the store {self._path} is a database of another program; give another file")
        if version != _SCHEMA_VERSION:
            raise ConfigError(
                f"the store {self._path} has the version {version}, this program reads {_SCHEMA_VERSION}; give another file"
            )
        if health != "ok":
            raise ConfigError(f"the store {self._path} is damaged ({' '.join(health.split())}); move it away or give another file")

    def _jump(self, now: float) -> float:
        steady = self._clock()
        before, self._swept = self._swept, (now, steady)
        if before is None:
            return 0.0
        jump_s = (now - before[0]) - (steady - before[1])
        return jump_s if jump_s > _JUMP_S else 0.0

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # SQLite itself rolls back on some failures
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            advice, retry_after_s = _ADVICE.get(code, ("look at its file", 1.0))
            raise StoreError(
                f"the store {self._path.name} failed ({error}): {advice}; nothing was changed, send the call again later",
                retry_after_s,
            ) from error
