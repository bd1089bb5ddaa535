"""Sessions in an SQLite file: for the servers of one host.

A write takes some tens of microseconds and is done in the thread of the event loop. In WAL mode with synchronous=NORMAL,
what was written survives the end of the process at any point; an abrupt end of the whole machine may cost the last writes,
which `?synchronous=full` prevents at several times the cost.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from surrogate_fmu.errors import ConfigError, StoreError
from surrogate_fmu.service.store.protocol import StoredSession

_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 2.0
_CREATE = """
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state BLOB NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID
"""
_INSERT = "INSERT INTO sessions (session_id, version, state, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (session_id) DO NOTHING"
_UPDATE = "UPDATE sessions SET version = ?, state = ?, expires_at = ? WHERE session_id = ? AND version = ?"


class SqliteStore:
    """A store in a file; several servers of one host may share it.

    Args:
        path: of the file; made where there is none, readable by its owner alone.
        synchronous: "normal" or "full".

    Raises:
        ConfigError: the file cannot be used, is no database, or is of another version.
    """

    def __init__(self, path: Path, synchronous: str = "normal") -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, _BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the store {path} cannot be opened ({error}); give another one with --store sqlite:///path"
            ) from error
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"PRAGMA synchronous = {synchronous}")
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise ConfigError(f"the store {path} is no database of sessions ({error}); give another file") from error
        except ConfigError:
            self._database.close()
            raise

    async def load(self, session_id: str) -> StoredSession | None:
        """The session, or None."""
        try:
            row = self._database.execute("SELECT * FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return None if row is None else StoredSession(*row)

    async def save(self, sessions: Sequence[StoredSession]) -> frozenset[str]:
        """Write in one transaction; the ids of those where another writer was faster."""
        lost: list[str] = []
        execute = self._database.execute
        try:
            execute("BEGIN IMMEDIATE")
            try:
                for session_id, version, state, expires_at in sessions:
                    if version == 1:
                        done = execute(_INSERT, (session_id, version, state, expires_at))
                    else:
                        done = execute(_UPDATE, (version, state, expires_at, session_id, version - 1))
                    if done.rowcount != 1:
                        lost.append(session_id)
                execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite itself rolls back on some failures
                    execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return frozenset(lost)

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        try:
            self._database.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def drop_expired(self, now: float) -> int:
        """Delete the sessions that expired."""
        try:
            return self._database.execute("DELETE FROM sessions WHERE expires_at < ?", (now,)).rowcount
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _prepare(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            self._database.execute(_CREATE)
            self._database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            version = _SCHEMA_VERSION
        self._database.execute("COMMIT")
        if version != _SCHEMA_VERSION:
            raise ConfigError(
                f"the store {self._path} has the version {version}, this program reads {_SCHEMA_VERSION}; give another file"
            )

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"the store {self._path.name} failed ({error}); nothing was changed, send the call again later")
