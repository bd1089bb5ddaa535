"""A verb in a process of its own, beside one that runs here."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PATIENCE_S = 10.0


@dataclass
class Ended:
    """How it went; known when the `with` block is left.

    Attributes:
        status: exit code, None before.
        said: what it wrote.
    """

    status: int | None = None
    said: list[str] = field(default_factory=list)


@contextmanager
def verb_beside(log: Path, name: str, *arguments: str) -> Iterator[Ended]:
    """Run `surrogate-fmu NAME ARGUMENTS` while the block runs, and wait for it at its end; if the block fails, it is ended.

    Args:
        log: where its output goes.
        name: of the verb.
        arguments: of the verb.
    """
    print(f"\n$ surrogate-fmu {shlex.join([name, *arguments])} &", flush=True)
    ended = Ended()
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "surrogate_fmu.cli.main", name, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield ended
            if process.poll() is None:
                print(f"\nwaiting for {name}, whose output goes to {log}", flush=True)
            ended.status = process.wait()
        finally:
            if process.poll() is None:
                _end(process)
    ended.said = log.read_text(encoding="utf-8").splitlines()


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, so that it ends its own processes; and for good, where that is ignored."""
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
