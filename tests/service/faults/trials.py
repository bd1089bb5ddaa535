"""Trials of the service under faults: what is disturbed, what is counted, and whether every trajectory is the undisturbed one.

python -m tests.service.faults.trials --kills 100       prints the counts for docs/reliability.md
"""

import argparse
import math
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surrogate_fmu.bundle.archive import write_archive
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.service.client import Service, connect
from surrogate_fmu.service.remote_session import RemoteSession
from tests.service.faults.chaos import ChaoticStub
from tests.service.faults.farm import Farm
from tests.toy import MANIFEST, ThermalMass

MODEL = MANIFEST.name
Counts = dict[str, int]


def inputs_at(step: int) -> dict[str, float]:
    return {"power": 20.0 * math.sin(step / 3.0), "ambient_temperature": 280.0 + step % 20}


def undisturbed(service: Service, seed: int, count: int) -> list[dict[str, Any]]:
    """The trajectory of a seed."""
    with service.open(MODEL, seed) as session:
        return [session.do_step(inputs_at(step)) for step in range(count)]


def compare(address: str, walked: dict[int, list[dict[str, Any]]]) -> Counts:
    """How many trajectories are equal to the undisturbed ones, bit for bit."""
    with connect(address) as service:
        equal = sum(seen == undisturbed(service, seed, len(seen)) for seed, seen in walked.items())
    return {"trajectories": len(walked), "equal": equal, "steps": sum(map(len, walked.values()))}


def killed(farm: Farm, folder: Path, store: str, kills: int, seed: int, session_count: int = 3) -> Counts:
    """Kill the server at random moments while some sessions step."""
    settings = {"key_file": str(folder / "key"), "store": store, "token_interval": 7}
    pid, address = farm.start(listen="127.0.0.1:0", **settings)
    stop = threading.Event()
    walked: dict[int, list[dict[str, Any]]] = {}
    sessions: list[RemoteSession] = []

    def walk(number: int) -> None:
        with connect(address, timeout_s=10.0) as service:
            session = service.open(MODEL, number, streaming=number % 2 == 1)
            sessions.append(session)
            seen = walked[number] = []
            while not stop.is_set():
                seen.append(session.do_step(inputs_at(len(seen))))
            session.close()

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(session_count)]
    for thread in threads:
        thread.start()
    chance = random.Random(seed)

    def wait(steps: int) -> None:
        wanted = sum(map(len, walked.values())) + steps
        while sum(map(len, walked.values())) < wanted:
            time.sleep(chance.uniform(0.0, 0.002))
            assert any(thread.is_alive() for thread in threads), "no session steps any more"

    for _ in range(kills):
        wait(chance.randrange(3, 40))
        farm.kill(pid)
        pid, address_again = farm.start(listen=address, **settings)
        assert address_again == address
    wait(40)
    stop.set()
    for thread in threads:
        thread.join(timeout=60.0)
        assert not thread.is_alive(), "a session did not come back"
    recoveries = [recovery for session in sessions for recovery in session.recoveries]
    counts = {"kills": kills, "recoveries": len(recoveries), "replayed": sum(r.replayed_steps for r in recoveries)}
    counts |= compare(address, walked)
    farm.kill(pid, signal.SIGTERM)
    return counts


def disturbed(farm: Farm, folder: Path, store: str, seconds: float, seed: int, session_count: int = 3) -> Counts:
    """Lose, repeat and delay messages while some sessions step, go back and close."""
    pid, address = farm.start(listen="127.0.0.1:0", key_file=str(folder / "key"), store=store, idle_timeout_s=3600.0)
    walked: dict[int, list[dict[str, Any]]] = {}
    counts: Counts = {}
    with connect(address, timeout_s=10.0) as service:
        stub = ChaoticStub(service.stub, seed, 0.08)
        service.stub = stub
        end = time.monotonic() + seconds

        def walk(number: int) -> None:
            chance = random.Random(number)
            seen = walked[number] = []
            with service.open(MODEL, number) as session:
                kept = (0, session.snapshot())
                while time.monotonic() < end:
                    seen.append(session.do_step(inputs_at(len(seen))))
                    if chance.random() < 0.05:
                        kept = (len(seen), session.snapshot())
                    elif chance.random() < 0.05:
                        session.restore(kept[1])
                        del seen[kept[0] :]

        threads = [threading.Thread(target=walk, args=(number,)) for number in range(session_count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stub.settle()
        counts = dict(stub.counts)
    counts |= compare(address, walked)
    farm.kill(pid, signal.SIGTERM)
    return counts


def drained(farm: Farm, folder: Path, store: str, stops: int, seed: int) -> Counts:
    """Stop the server in order, by SIGTERM, and start it again, while some sessions step."""
    original = farm.kill

    class Gentle:
        def start(self, **settings: Any) -> tuple[int, str]:
            return farm.start(**settings)

        def kill(self, pid: int, number: signal.Signals = signal.SIGTERM) -> None:
            original(pid, signal.SIGTERM)

    counts = killed(Gentle(), folder, store, stops, seed)  # type: ignore[arg-type]
    return {"stops": counts.pop("kills"), **counts}


TRIALS: dict[str, Callable[..., Counts]] = {"killed -9": killed, "stopped by SIGTERM": drained, "messages disturbed": disturbed}


def main() -> None:
    """Run all trials with all stores that are here and print a table."""
    from tests.service.faults.redis_server import redis_server

    parser = argparse.ArgumentParser(description="Counts of the service under faults.")
    parser.add_argument("--kills", type=int, default=100, help="for each store")
    parser.add_argument("--seconds", type=float, default=60.0, help="of disturbed messages, for each store")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis:
        folder = Path(name)
        bundle = folder / "toy.bundle"
        write_archive(export_bundle(ThermalMass(), MANIFEST), bundle)
        stores = {"none": "none", "SQLite": f"sqlite:///{folder}/sessions.db"} | ({"Redis": redis} if redis else {})
        with Farm(bundle) as farm:
            for label, trial in TRIALS.items():
                amount = arguments.seconds if trial is disturbed else max(1, arguments.kills // (10 if trial is drained else 1))
                for store, url in stores.items():
                    counts = trial(farm, folder, url, amount, seed=1)
                    print(f"{label:20s} {store:7s} " + ", ".join(f"{count} {what}" for what, count in counts.items()), flush=True)


if __name__ == "__main__":
    main()
