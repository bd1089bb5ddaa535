"""What a step costs over the wire: the caller's wait, and the server's CPU.

python benchmarks/service/run.py [--seconds 2]     prints the report and writes benchmarks/service/results.json

All of one run on one machine, side by side in turns; trust the ratios, not the figures. The model is the MLP 12-64-64-4 of
benchmarks/native. CPU is that of the server's process, user and system.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "benchmarks" / "native"), str(HERE)]
import networks  # noqa: E402

from surrogate_fmu.bundle.archive import write_archive  # noqa: E402
from surrogate_fmu.service import conversion  # noqa: E402
from surrogate_fmu.service.client import Service, connect  # noqa: E402
from surrogate_fmu.service.v1 import surrogate_pb2 as pb  # noqa: E402
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub  # noqa: E402

MODEL, NAME = "MLP 12-64-64-4", "mlp_12_64"
TURNS = 5


class Process:
    """A server in a process of its own, whose CPU time is read from outside."""

    def __init__(self, command: list[str], find: Callable[[str], str]) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.address = find(self.process.stdout.readline())

    @property
    def cpu_s(self) -> float:
        """User and system time so far [s]."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()


def write_bundle(path: Path) -> Path:
    """The model that is served."""
    write_archive(networks.bundles()[MODEL], path)
    return path


def served(bundle: Path, *options: str) -> Process:
    """`surrogate-fmu serve` with some options."""
    command = [sys.executable, "-m", "surrogate_fmu.cli.main", "serve", str(bundle), "--listen", "127.0.0.1:0", *options]
    return Process(command, lambda line: line.split(" on ")[1].split()[0])


def echoing() -> Process:
    """The bare server."""
    return Process([sys.executable, str(HERE / "echo_server.py"), "4"], lambda line: f"127.0.0.1:{line.strip()}")


class Caller:
    """One client with a session of its own, that steps by one of the ways."""

    def __init__(self, address: str, seed: int, session: bool = True, **terms: Any) -> None:
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = SurrogateStub(self.channel)
        self.session_id = "a-session-of-the-floor"
        if session:
            self.session_id = self.stub.Open(pb.OpenRequest(model_name=NAME, seed=seed, **terms)).session_id
        self.number = 0
        self.inputs = {f"x{k + 1}": pb.Value(elements=[0.08 * k]) for k in range(12)}
        self._send: Any = None

    def request(self) -> pb.DoStepRequest:
        self.number += 1
        return pb.DoStepRequest(session_id=self.session_id, step_number=self.number, inputs=self.inputs)

    def unary(self) -> None:
        self.stub.DoStep(self.request())

    def stream(self) -> None:
        if self._send is None:
            import queue

            requests: Any = queue.SimpleQueue()
            self._send, self._replies = requests.put, self.stub.Run(iter(requests.get, None))
        self._send(self.request())
        next(self._replies)

    def close(self) -> None:
        if self._send is not None:
            self._send(None)
            for _ in self._replies:
                pass
        self.channel.close()


def in_turns(ways: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Median time of a call of each way [s], measured in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(200):
            way()
    for _ in range(TURNS):
        for name, way in ways.items():
            end = time.perf_counter() + seconds / TURNS
            while (start := time.perf_counter()) < end:
                way()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(some) for name, some in times.items()}


def crowd(server: Process, count: int, way: str, seconds: float) -> tuple[float, float, float]:
    """So many sessions that all step at once, each in lock-step: the server's CPU per step, p50 and p99 of the wait [s]."""
    command = [sys.executable, str(HERE / "crowd_client.py"), server.address, NAME, str(count), way, str(seconds)]
    with Process(command, str.strip) as client:
        assert client.address == "ready"
        cpu = server.cpu_s
        steps, p50, p99 = client.process.stdout.readline().split()
        cpu = server.cpu_s - cpu
        client.process.wait()
    return cpu / int(steps), float(p50), float(p99)


def many_in_one(server: Process, service: Service, count: int, seconds: float) -> tuple[float, float]:
    """The server's CPU and the caller's wait per step [s] with one call for so many sessions."""
    ids = [service.stub.Open(pb.OpenRequest(model_name=NAME, seed=seed)).session_id for seed in range(count)]
    columns = {f"x{k + 1}": conversion.array_to_proto(np.full(count, 0.08 * k)) for k in range(12)}
    number = 0

    def call() -> None:
        nonlocal number
        number += 1
        reply = service.stub.DoSteps(pb.DoStepsRequest(session_ids=ids, step_numbers=[number] * count, inputs=columns))
        assert not reply.refusals

    for _ in range(20):
        call()
    start, cpu, first = time.perf_counter(), server.cpu_s, number
    while time.perf_counter() - start < seconds:
        call()
    steps = (number - first) * count
    wait, cpu = time.perf_counter() - start, server.cpu_s - cpu
    for session_id in ids:
        service.stub.Close(pb.CloseRequest(session_id=session_id))
    return cpu / steps, wait / steps


def rollouts(service: Service, steps: int) -> float:
    """Time per step [s] of a rollout of one member."""
    best = []
    for _ in range(5):
        start = time.perf_counter()
        service.rollout(NAME, steps)
        best.append((time.perf_counter() - start) / steps)
    return min(best)


def idle_memory(server: Process, service: Service, count: int) -> float:
    """Resident bytes per session that was stepped a few times and is idle now."""
    ids = []

    def more(some: int) -> None:
        for seed in range(some):
            session_id = service.stub.Open(pb.OpenRequest(model_name=NAME, seed=seed)).session_id
            for number in (1, 2):
                service.stub.DoStep(pb.DoStepRequest(session_id=session_id, step_number=number))
            ids.append(session_id)

    more(500)
    before = server.memory
    more(count)
    used = server.memory - before
    for session_id in ids:
        service.stub.Close(pb.CloseRequest(session_id=session_id))
    return used / count


@contextmanager
def closing(callers: list[Caller]) -> Iterator[list[Caller]]:
    """The callers, closed at the end."""
    try:
        yield callers
    finally:
        for caller in callers:
            caller.close()


def measure(seconds: float) -> dict[str, float]:
    """All figures by name."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "mlp.bundle")
        key = ["--key-file", str(Path(folder) / "key")]
        store = f"sqlite:///{folder}/sessions.db"
        plain = ["--token-interval", "1000000000"]
        with (
            served(bundle, *key) as server,
            served(bundle, *key, *plain) as bare,
            served(bundle, *key, "--store", store, "--token-interval", "1") as keeping,
            echoing() as echo,
        ):
            with closing(
                [Caller(echo.address, 0, session=False), *(Caller(s.address, 1) for s in (server, bare, keeping))]
            ) as some:
                floor, one, nothing, kept = some
                ways = {
                    "echo, unary": floor.unary,
                    "unary": one.unary,
                    "without tokens, unary": nothing.unary,
                    "token at every step and SQLite, unary": kept.unary,
                }
                figures |= {f"p50: {name}": value for name, value in in_turns(ways, seconds).items()}
            with closing([Caller(echo.address, 0, session=False), Caller(server.address, 1), Caller(server.address, 1)]) as some:
                floor, one, other = some
                ways = {"echo, stream": floor.stream, "stream": one.stream, "unary beside the stream": other.unary}
                figures |= {f"p50: {name}": value for name, value in in_turns(ways, seconds).items()}
            with served(bundle, *key, "--reproducible-batch", "1") as single:  # each step in a call of the generator of its own
                for count in (1, 16, 64, 256, 1000):
                    for way in ("unary", "stream"):
                        for name, some_server in ((way, server), (f"{way}, no batches", single)):
                            cpu, p50, p99 = crowd(some_server, count, way, seconds)
                            figures[f"CPU: {count} sessions, {name}"] = cpu
                            figures[f"p50: {count} sessions, {name}"] = p50
                            figures[f"p99: {count} sessions, {name}"] = p99
                with closing([Caller(server.address, 1), Caller(single.address, 1)]) as (batching, alone):
                    ways = {"stream, lone client": batching.stream, "stream, lone client, no batches": alone.stream}
                    figures |= {f"p50: {name}": value for name, value in in_turns(ways, seconds).items()}
            with connect(server.address) as service:
                for count in (16, 64, 256, 1000):
                    cpu, wait = many_in_one(server, service, count, seconds)
                    figures[f"CPU: {count} sessions, many in one"] = cpu
                    figures[f"wait: {count} sessions, many in one"] = wait
                figures["wait: rollout of 1000 steps"] = rollouts(service, 1000)
                figures["bytes per idle session"] = idle_memory(server, service, 4000)
    return figures


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What a step costs over the wire.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    figures = measure(parser.parse_args().seconds)
    (HERE / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        print(f"{name:55s} {value:10.0f} B" if name.startswith("bytes") else f"{name:55s} {1e6 * value:10.1f} us")


if __name__ == "__main__":
    main()
