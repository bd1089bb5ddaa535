"""What a front in C++ would gain: the same calls from the same Python client, to it, to a bare Python server, and to the service.

python benchmarks/service/cpp_front.py [--seconds 2]

Needs cmake, a C++ compiler and Debian's libgrpc++-dev and protobuf-compiler-grpc.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "native")]
import networks  # noqa: E402
import run  # noqa: E402

from surrogate_fmu.bundle.archive import write_archive  # noqa: E402


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description="What a front in C++ would gain.")
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            ["cmake", "-S", str(HERE / "cpp_front"), "-B", name, "-DCMAKE_BUILD_TYPE=Release"], check=True, capture_output=True
        )
        subprocess.run(["cmake", "--build", name], check=True, capture_output=True)
        bundle = folder / "mlp.bundle"
        write_archive(networks.bundles()[run.MODEL], bundle)
        with (
            run.Process([str(folder / "front")], lambda line: f"127.0.0.1:{line.strip()}") as front,
            run.echoing() as echo,
            run.served(bundle, "--key-file", str(folder / "key")) as server,
        ):
            for way in ("unary", "stream"):
                callers = [run.Caller(p.address, 1, session=p is server) for p in (front, echo, server)]
                with run.closing(callers):
                    ways = {label: getattr(c, way) for label, c in zip(("C++", "bare Python", "service"), callers, strict=True)}
                    for label, value in run.in_turns(ways, seconds).items():
                        print(f"{way:7s} {label:12s} {1e6 * value:8.1f} us")


if __name__ == "__main__":
    main()
