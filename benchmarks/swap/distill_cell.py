"""The battery cell as a user meets it: an FMU of which nothing is known but the ranges, distilled in a given time.

python benchmarks/swap/distill_cell.py [--budget 20m] [--folder runs]

It prints what `surrogate-fmu distill` prints, the time to the card, and from the card the CRPS of each output over the plant's
own beside that of the shipped bundle (models/dfn_cell/card.json), which was configured by hand.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from surrogate_fmu.cli.main import main as surrogate_fmu
from surrogate_fmu.evaluation.card import Card
from surrogate_fmu.evaluation.config import Metric
from surrogate_fmu.fmu.build import build_plant_fmu

CELL = Path(__file__).resolve().parents[2] / "models" / "dfn_cell"
RANGES = ("current=-5:7.5", "ambient_temperature=283.15:313.15")
PARAMETERS = ("soc_start=0.1:0.95", "temperature_start=283.15:313.15")


def crps_ratios(card: Path) -> dict[str, float]:
    """The CRPS of each output over that of the plant itself, as a card has it."""
    gates = Card.from_json(card.read_text(encoding="utf-8")).gates
    return {gate.output: gate.value for gate in gates if gate.metric is Metric.CRPS}


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
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes to the card\n")
    print("| CRPS over the plant's own | distilled | by hand |\n|---|---|---|")
    by_hand = crps_ratios(CELL / "card.json")
    for output, ratio in crps_ratios(folder / "Fast.distill" / "card" / "card.json").items():
        print(f"| {output} | {ratio:.3f} | {by_hand[output]:.3f} |")
    return code


if __name__ == "__main__":
    sys.exit(main())
