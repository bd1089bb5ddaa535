"""Whether a server's memory stays flat: sessions come, step, are snapshotted and go, for a quarter of an hour.

python benchmarks/service/soak.py [--minutes 15]     prints the resident memory every minute
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "native")]
import networks  # noqa: E402
import run  # noqa: E402

from surrogate_fmu.bundle.archive import write_archive  # noqa: E402
from surrogate_fmu.service.client import connect  # noqa: E402


def main() -> None:
    """Load the server and watch it."""
    parser = argparse.ArgumentParser(description="Memory of a server under a long load.")
    parser.add_argument("--minutes", type=float, default=15.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = folder / "mlp.bundle"
        write_archive(networks.bundles()[run.MODEL], bundle)
        options = ["--key-file", str(folder / "key"), "--store", f"sqlite:///{folder}/sessions.db", "--idle-timeout-s", "5"]
        with run.served(bundle, *options) as server, connect(server.address) as service:
            start, minute, steps, sessions = time.monotonic(), 0, 0, 0
            while (elapsed := time.monotonic() - start) < 60.0 * arguments.minutes:
                if elapsed >= 60.0 * minute:
                    print(f"{minute:4d} min {server.memory / 2**20:8.1f} MB {sessions:9d} sessions {steps:10d} steps", flush=True)
                    minute += 1
                some = [service.open(run.NAME, seed) for seed in range(32)]
                for _ in range(20):
                    service.do_steps(some, {"x1": np.zeros(32)}).check()
                for session in some[:8]:
                    session.restore(session.snapshot())
                    list(session.run([{"x2": 0.5}] * 20))
                for session in some[::2]:  # the others are left to be evicted
                    session.close()
                steps, sessions = steps + 32 * 20 + 8 * 20, sessions + 32
            print(f"{minute:4d} min {server.memory / 2**20:8.1f} MB {sessions:9d} sessions {steps:10d} steps")


if __name__ == "__main__":
    main()
