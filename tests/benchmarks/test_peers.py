"""The table of peers: a peer that cannot be built is a row with its reason, never silence."""

import sys
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.native.build import build_native_fmu

FOLDER = Path(__file__).parents[2] / "benchmarks" / "native"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import peers

    yield peers
    for name in ("peers", "run", "networks"):
        sys.modules.pop(name, None)


def test_the_reason_is_the_first_line_that_tells_one(peers):
    output = (
        "Collecting\n\x1b[31mERROR: Package 'onnxruntime/1.18.1' not resolved: HTTPSConnectionPool(host='x')\x1b[0m\nError: later"
    )
    assert peers.reason_in(output) == "ERROR: Package 'onnxruntime/1.18.1' not resolved"
    assert peers.reason_in("all\nis well") == "is well"
    assert peers.reason_in("") == "no word"
    assert peers.reason_in("CMake Error at a.txt:1 (message):\n\n  no archive\n") == "CMake Error at a.txt:1 (message): no archive"


def test_a_peer_that_cannot_be_built_is_a_row(peers):

    rows = {"ours": {"step, us": 7.5, "of native": 1.0}, "theirs": {"not built here": "no compiler"}}
    lines = peers.table(rows)
    assert len(lines) == 3 and "7.50" in lines[1] and lines[2].endswith("not built here: no compiler")


def test_an_fmu_is_opened_and_stepped(peers, toy_bundle: Bundle, tmp_path: Path):
    slave, inputs, outputs = peers.opened(build_native_fmu(toy_bundle, tmp_path / "toy.fmu"))
    assert len(inputs) == 2 and len(outputs) >= 2
    slave.doStep(0.0, 2.0)
    slave.freeInstance()
