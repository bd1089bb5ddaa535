"""A verb in a process of its own, beside one that runs here."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_S = 10.0


@contextmanager
def verb_beside(log: Path, name: str, *arguments: str) -> Iterator[list[str]]:
    """Run `surrogate-fmu NAME ARGUMENTS` while the block runs, and wait for it at its end; if the block fails, it is ended.

    Args:
        log: where its output goes.
        name: of the verb.
        arguments: of the verb.

    Yields:
        The lines that it wrote, which are there when the block is left.
    """
    print(f"\n$ surrogate-fmu {shlex.join([name, *arguments])} &", flush=True)
    said: list[str] = []
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "surrogate_fmu.cli.main", name, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield said
            if process.poll() is None:
                print(f"\nwaiting for {name}, whose output goes to {log}", flush=True)
            process.wait()
        finally:
            if process.poll() is None:
                _end(process)
    said += log.read_text(encoding="utf-8").splitlines()


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, so that it ends its own processes; and for good, where that is ignored."""
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
