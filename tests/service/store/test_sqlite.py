"""The SQLite store where files, disks, other processes and clocks misbehave."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from surrogate_fmu.errors import ConfigError, StoreError
from surrogate_fmu.service.store import StoredSession, open_store
from surrogate_fmu.service.store.sqlite import SqliteStore

Run = Callable[[Coroutine[Any, Any, Any]], Any]
LATER = 4e9
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such file modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def session(name: str, version: int = 1, state: bytes = b"state") -> StoredSession:
    return StoredSession(name, version, state, LATER)


@posix
def test_the_file_and_its_logs_belong_to_their_owner_alone(path: Path, run: Run):
    mask = os.umask(0o022)
    try:
        store = SqliteStore(path)
        run(store.save([session("a")]))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        run(store.close())
    finally:
        os.umask(mask)
    assert modes == {"sessions.db": 0o600, "sessions.db-wal": 0o600, "sessions.db-shm": 0o600}


@posix
def test_a_file_that_others_can_read_is_refused(path: Path, run: Run):
    run(SqliteStore(path).close())
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"store .*mode 0640.* can be read by others; run: chmod 600"):
        SqliteStore(path)


def test_directories_on_the_way_are_made(tmp_path: Path, run: Run):
    store = open_store(f"sqlite:///{tmp_path}/a/b%20c/sessions.db?synchronous=full")
    assert store is not None
    run(store.close())
    assert (tmp_path / "a" / "b c" / "sessions.db").exists()


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "sessions.db"):
        with pytest.raises(ConfigError, match="cannot be opened"):
            SqliteStore(bad)


@pytest.mark.parametrize("content", [b"no database, but long enough to be looked at " * 40, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(path: Path, content: bytes):
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be used"):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_a_damaged_page_is_found_at_opening(path: Path, run: Run):
    store = SqliteStore(path)
    run(store.save([session(f"{number:030d}", state=bytes(2000)) for number in range(50)]))
    run(store.close())
    data = bytearray(path.read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged"):
        SqliteStore(path)


@pytest.mark.parametrize(
    ("statement", "said"),
    [("PRAGMA user_version = 2", "version 2, this program reads 1"), ("PRAGMA application_id = 7", "of another program")],
)
def test_a_database_of_another_version_or_program_is_refused(path: Path, run: Run, statement: str, said: str):
    run(SqliteStore(path).close())
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(statement)
    database.close()
    with pytest.raises(ConfigError, match=said):
        SqliteStore(path)


def test_another_programs_database_is_not_written_to(path: Path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE sessions (id)")
    database.close()
    path.chmod(0o600)
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="of another program"):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_a_full_file_refuses_the_whole_call_and_takes_the_next_when_there_is_room(path: Path, run: Run):
    store = SqliteStore(path)
    run(store.save([session("a", state=b"small")]))
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    refused_whole(store, run)
    store._database.execute("PRAGMA max_page_count = 100000")
    assert not run(store.save([session("a", 2), session("b", state=bytes(100_000))]))
    run(store.close())


def refused_whole(store: SqliteStore, run: Run) -> None:
    with pytest.raises(StoreError, match=r"full.*free space on its disk; nothing was changed, send the call again") as caught:
        run(store.save([session("a", 2, b"larger"), session("b", state=bytes(2_000_000))]))
    assert caught.value.retry_after_s == 5.0
    assert run(store.load("a")) == session("a", state=b"small")
    assert run(store.load("b")) is None


def test_a_full_disk_refuses_the_whole_call(tmp_path: Path, run: Run):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (needs root on Linux)")
    try:
        store = SqliteStore(disk / "sessions.db")
        run(store.save([session("a", state=b"small")]))
        refused_whole(store, run)
        assert not run(store.save([session("a", 2)])), "a small call still has room"
        run(store.close())
        store = SqliteStore(disk / "sessions.db")
        assert run(store.load("a")) == session("a", 2)
        run(store.close())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_locked_file_refuses_soon_and_goes_on_when_it_is_free(path: Path, run: Run):
    store = SqliteStore(path)
    run(store.save([session("a")]))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for call in (store.save([session("a", 2)]), store.delete("a"), store.drop_expired(LATER + 1)):
        with pytest.raises(StoreError, match=r"locked.*another process holds it") as caught:
            run(call)
        assert caught.value.retry_after_s < 1.0
    assert run(store.load("a")) == session("a"), "reading goes on"
    holder.execute("ROLLBACK")
    holder.close()
    assert not run(store.save([session("a", 2)]))
    run(store.close())


KILLED = """
import asyncio, sys
from pathlib import Path
from surrogate_fmu.service.store import StoredSession
from surrogate_fmu.service.store.sqlite import SqliteStore

async def write():
    store, version = SqliteStore(Path(sys.argv[1])), 0
    while True:
        version += 1
        await store.save([StoredSession(name, version, b"%d" % version, 4e9) for name in "abc"])
        print(version, flush=True)

asyncio.run(write())
"""


def test_what_was_written_survives_a_kill_and_calls_are_whole(path: Path, run: Run):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answered = [process.stdout.readline() for _ in range(200)][-1]
    process.kill()
    answered = (process.communicate()[0].splitlines() or [answered])[-1]
    store = SqliteStore(path)
    stored = [run(store.load(name)) for name in "abc"]
    run(store.close())
    assert len({s.version for s in stored}) == 1 and stored[0].version >= int(answered) >= 200


def test_servers_that_start_at_once_share_the_file(path: Path):
    async def start(number: int) -> frozenset[str]:
        store = await asyncio.to_thread(SqliteStore, path)
        lost = await store.save([session(str(number))])
        await store.close()
        return lost

    async def body() -> list[frozenset[str]]:
        return await asyncio.gather(*(start(number) for number in range(8)))

    assert asyncio.run(body()) == [frozenset()] * 8


class Clocks:
    wall = 1e9
    steady = 50.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_a_jump_of_the_clock_deletes_nothing_early(path: Path, run: Run):
    clocks = Clocks()
    store = SqliteStore(path, clock=lambda: clocks.steady)
    run(store.drop_expired(clocks.wall))
    run(store.save([StoredSession("a", 1, b"", clocks.wall + 100.0), StoredSession("b", 1, b"", clocks.wall + 500.0)]))
    clocks.go(50.0)
    clocks.wall += 1.7e9  # the clock is set, from 2001 to today
    assert run(store.drop_expired(clocks.wall)) == 0
    clocks.go(49.0)
    assert run(store.drop_expired(clocks.wall)) == 0
    clocks.go(2.0)
    assert run(store.drop_expired(clocks.wall)) == 1
    assert run(store.load("a")) is None and run(store.load("b")) is not None
    clocks.wall -= 1000.0  # and back: later is allowed
    clocks.go(600.0)
    assert run(store.drop_expired(clocks.wall)) == 0
    clocks.go(900.0)
    assert run(store.drop_expired(clocks.wall)) == 1
    run(store.close())
