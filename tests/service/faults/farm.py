"""Servers that start in a moment, to be killed: a process that has imported everything forks one for each."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

# Forks before anything of gRPC or torch has started a thread; the child is a server like that of the `serve` verb.
_PARENT = """
import json, os, signal, sys
from pathlib import Path
from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import serve

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
bundle = read_bundle(Path(sys.argv[1]))
for line in sys.stdin:
    settings = {name: Path(value) if name.endswith("_file") else value for name, value in json.loads(line).items()}
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        def ready(server):
            print(json.dumps([os.getpid(), server.address]), flush=True)
        try:
            serve([bundle], ServeConfig(**settings), ready)
        except BaseException as error:
            print(json.dumps([0, repr(error)]), flush=True)
        os._exit(0)
"""


class Farm:
    """Starts servers of one bundle; one at a time."""

    def __init__(self, bundle: Path) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT, str(bundle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self._pids: set[int] = set()

    def start(self, **settings: Any) -> tuple[int, str]:
        """A server with some settings of `ServeConfig`: its process and its address, once it answers."""
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(settings) + "\n")
        self._parent.stdin.flush()
        pid, address = json.loads(self._parent.stdout.readline())
        assert pid, address
        self._pids.add(pid)
        return pid, address

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """End a server, and wait until it is gone."""
        os.kill(pid, number)
        while Path(f"/proc/{pid}").exists():
            os.sched_yield()
        self._pids.discard(pid)

    def __enter__(self) -> "Farm":
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self._pids):
            if Path(f"/proc/{pid}").exists():
                self.kill(pid)
        self._parent.communicate(timeout=10)
