"""Callers of single steps beside hundreds of busy streams: what each gets.

python benchmarks/service/fairness.py

Two crowds (`crowd_client.py`), in processes of their own, step sessions of one server in lock-step; the second comes when the
first is busy.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from run import NAME, served, write_bundle

CROWD = Path(__file__).with_name("crowd_client.py")
SECONDS = 10.0


def crowd(address: str, count: int, way: str, seconds: float) -> "subprocess.Popen[str]":
    """Sessions that have begun to step."""
    command = [sys.executable, str(CROWD), address, NAME, str(count), way, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def report(process: "subprocess.Popen[str]", count: int, seconds: float) -> str:
    """Steps a second of one session, and the wait for one."""
    steps, median, late = process.communicate()[0].split()
    return f"{int(steps) / count / seconds:6.1f} steps/s each, p50 {1e3 * float(median):4.0f} ms, p99 {1e3 * float(late):4.0f} ms"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "mlp.bundle")
        with served(bundle) as server:
            for streams, callers in ((300, 1), (300, 100), (300, 300), (1000, 100)):
                longer = SECONDS + callers / 300 + 4.0
                first = crowd(server.address, streams, "stream", longer)
                second = crowd(server.address, callers, "unary", SECONDS)
                print(f"{streams} streams: {report(first, streams, longer)} | {callers} callers: ", end="")
                print(report(second, callers, SECONDS), flush=True)


if __name__ == "__main__":
    main()
