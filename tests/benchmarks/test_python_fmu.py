"""The benchmark of the Python FMU runs, and its parts are those of the whole."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pybamm", reason="the battery cell needs PyBaMM: pip install 'surrogate-fmu[models]'")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_parts_of_a_step_add_up_to_it():
    command = [sys.executable, "benchmarks/python_fmu/step_cost.py", "--rounds", "1", "--live-steps", "3", "--steps", "20"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    table, parts = (block.splitlines()[1:] for block in done.stdout.split("\n\n"))
    median_us = {line[:40].strip(): float(line[40:].split()[0]) for line in table}
    assert len(median_us) == 7 and all(value > 0.0 for value in median_us.values())
    total = sum(float(line[40:].split()[0]) for line in parts)
    assert total == pytest.approx(median_us["surrogate FMU, FMPy"], abs=0.3)  # three roundings to 0.1 us
