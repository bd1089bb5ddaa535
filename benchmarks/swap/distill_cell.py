"""The battery cell as a user meets it: an FMU of which nothing is known but the ranges, distilled in a given time.

python benchmarks/swap/distill_cell.py [--budget 20m] [--folder runs]

It prints what `surrogate-fmu distill` prints, the time to the card, and from the card the CRPS of each output over the plant's
own beside that of the shipped bundle (models/dfn_cell/card.json), which was configured by hand.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from surrogate_fmu.cli.main import main as surrogate_fmu
from surrogate_fmu.fmu.build import build_plant_fmu

CELL = Path(__file__).resolve().parents[2] / "models" / "dfn_cell"
RANGES = ("current=-5:7.5", "ambient_temperature=283.15:313.15")
PARAMETERS = ("soc_start=0.1:0.95", "temperature_start=283.15:313.15")


def crps_ratios(card: Path) -> dict[str, float]:
    """The CRPS of each output over that of the plant itself, as a card has it."""
    return {name: gate["value"] for name, gate in _gates(card).items()}


def _gates(card: Path) -> dict[str, dict]:
    gates = json.loads(card.read_text())["gates"]
    return {gate["output"]: gate for gate in gates if gate["name"] == "crps_ratio"}


def main() -> int:
    """Build the plant's FMU, distill it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--folder", type=Path, help="for all files; what is finished there is not done again")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="distill-cell-"))
    folder.mkdir(parents=True, exist_ok=True)
    slow = folder / "Cell.fmu"
    if not slow.exists():
        build_plant_fmu("plant.py:DfnCell", CELL, slow)
    began = time.monotonic()
    options = [word for interval in RANGES for word in ("--range", interval)]
    options += [word for interval in PARAMETERS for word in ("--parameter", interval)]
    code = surrogate_fmu(["distill", str(slow), "-o", str(folder / "Fast.fmu"), "--budget", arguments.budget, *options])
    print(f"{(time.monotonic() - began) / 60:.1f} minutes to the card")
    return code


if __name__ == "__main__":
    sys.exit(main())
