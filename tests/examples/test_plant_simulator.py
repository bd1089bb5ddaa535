"""The plant simulators of examples/ as their users run them, against a server in a process of its own."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.faults.farm import Farm

ROOT = Path(__file__).parents[2]
CELL = ROOT / "models" / "dfn_cell" / "dfn_cell.bundle"
FOLDER = ROOT / "examples" / "plant_simulator"


@pytest.fixture
def cell_farm() -> Iterator[Farm]:
    with Farm(CELL) as farm:
        yield farm


def test_the_pack_of_served_cells(cell_farm: Farm):
    _, address = cell_farm.start(listen="127.0.0.1:0")
    command = [sys.executable, str(FOLDER / "pack.py"), address, "--cells", "5", "--steps", "12"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=100)
    head, *rows, last = done.stdout.splitlines()
    assert head.split()[:2] == ["time", "[s]"] and len(rows) == 2
    assert float(rows[-1].split()[0]) == 120.0
    pack_v, weakest_v = (float(word) for word in rows[-1].split()[2:4])
    assert 5 * 3.0 < 5 * weakest_v < pack_v < 5 * 4.3
    assert last == "5 cells, 12 steps, 0 failures overcome"


@pytest.mark.slow
def test_the_client_in_cpp_survives_a_kill(toy_bundle_path: Path, tmp_path: Path):
    for tool in ("cmake", "c++", "protoc", "grpc_cpp_plugin"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine; install cmake, g++, libgrpc++-dev and protobuf-compiler-grpc")
    subprocess.run(["cmake", "-S", str(FOLDER / "cpp"), "-B", str(tmp_path)], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(tmp_path)], check=True, capture_output=True)
    settings = {"key_file": str(tmp_path / "key"), "token_interval": 4}
    printed = []
    with Farm(toy_bundle_path) as farm:
        for disturbed in (False, True):
            pid, address = farm.start(listen="127.0.0.1:0", **settings)
            command = [str(tmp_path / "cell"), address, "thermal_mass", "power", "60", "20"]
            client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3 if disturbed else 0):
                time.sleep(0.5)
                farm.kill(pid, signal.SIGKILL)
                pid, _ = farm.start(listen=address, **settings)
            output, errors = client.communicate(timeout=60)
            assert client.returncode == 0, errors
            printed.append(output)
            assert ("0 calls" in errors) != disturbed, errors
            farm.kill(pid, signal.SIGTERM)
    assert printed[0] == printed[1] and len(printed[0].splitlines()) == 60
