"""What a store adds to a step: save() of sessions of 300 bytes, in SQLite and in Redis on this machine.

python benchmarks/service/stores.py [--seconds 1]     prints microseconds per call, the median of 5 turns (and the least)
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from surrogate_fmu.service.store import StoredSession, open_store
from tests.service.store.redis_server import EXECUTABLE, MISSING, RedisServer

STATE_BYTES, TURNS = 300, 5


async def measure(url: str, count: int, seconds: float) -> list[float]:
    """Microseconds per call of each turn; a call saves `count` sessions anew."""
    store = open_store(url)
    assert store is not None
    state, names = os.urandom(STATE_BYTES), [f"{count}-{number:022d}" for number in range(count)]
    figures, version = [], 0
    for turn in range(TURNS + 1):
        began, calls, passed = time.perf_counter(), 0, 0.0
        while passed < seconds / TURNS:
            calls, version = calls + 1, version + 1
            expires_at = time.time() + 604800.0
            assert not await store.save([StoredSession(name, version, state, expires_at) for name in names])
            passed = time.perf_counter() - began
        if turn:  # the first one warms up
            figures.append(1e6 * passed / calls)
    await store.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"SQLite, normal": f"sqlite:///{folder}/normal.db", "SQLite, full": f"sqlite:///{folder}/full.db?synchronous=full"}
        if EXECUTABLE is None:
            print(MISSING)
        else:
            for name, arguments in (("Redis, memory", ()), ("Redis, everysec", ("--appendonly", "yes"))):
                (folder / name).mkdir()
                server = RedisServer(folder / name, *arguments)
                stack.callback(server.kill)
                urls[name] = server.url
        for name, url in urls.items():
            for count in (1, 64):
                figures = asyncio.run(measure(url, count, seconds))
                print(f"{name:16} {count:3} sessions  {statistics.median(figures):7.0f} us  ({min(figures):.0f})", flush=True)


if __name__ == "__main__":
    main()
