"""The script of the tap's figures, for a moment."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_script_prints_a_row_for_every_mode_and_the_replay() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "swap" / "tap.py"), "--steps", "30", "--rounds", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.match(r"a step of the bare plant through FMPy: [\d.]+ us here, of 2 rounds of 30 steps in turns", lines[0])
    for mode, line in zip(("record", "shadow", "guarded, the surrogate leading"), lines[1:4], strict=True):
        assert re.match(rf"{mode}: [\d.]+ x the bare plant, \d+ bytes of log a step", line), line
    assert re.match(r"replay: 60 steps in [\d.]+ x the bare plant's step each", lines[4])
