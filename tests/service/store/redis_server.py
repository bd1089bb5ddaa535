"""A redis-server of one's own on a loopback port."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

EXECUTABLE = shutil.which("redis-server")
MISSING = "redis-server is not installed (Debian: apt-get install redis-server)"
_READY_S = 20.0


class RedisServer:
    """A process that keeps nothing on disk, unless told to with `arguments`; it may be killed and started again."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        assert EXECUTABLE is not None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [
            *(EXECUTABLE, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(directory), "--save", ""),
            *arguments,
        ]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _READY_S
        while self.ask("PING") not in ("+PONG", "-NOAUTH Authentication required."):
            assert self.process.poll() is None, "redis-server ended"
            assert time.monotonic() < until, "redis-server did not get ready"
            time.sleep(0.02)

    def ask(self, command: str) -> str:
        """The first line of the answer to a command without spaces in its words; empty when nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as connection:
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(4096).decode().split("\r\n")[0]
        except ConnectionError:
            return ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
