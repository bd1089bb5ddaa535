"""How the command line leaves the process."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_reader_that_stops_reading_is_no_error(toy_bundle_path: Path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "surrogate_fmu.cli.main", "inspect", str(toy_bundle_path)]
        finished = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    finally:
        os.close(writer)
    assert (finished.returncode, finished.stderr) == (141, "")
