"""What a tenth of a run says of the rest: CRPS of the calibrated surrogate over that of the surrogate of the fleet.

    python benchmarks/calibration/run.py [--individuals 16] [--methods gradient enkf particles]

Units of the shipped cell's test set, which no training has seen; after 12 of 120 steps. Intervals are 95 % bootstrap over schedules
and units. Writes results.json beside this file and prints the table.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from surrogate_fmu import read_bundle, read_trajectories
from surrogate_fmu.calibration.calibrate import calibrate
from surrogate_fmu.calibration.config import CalibrationConfig, Method
from surrogate_fmu.calibration.measurements import measurements_of
from surrogate_fmu.calibration.resume import replay
from surrogate_fmu.runtime.ensemble import RolloutRun, rollout

ROOT = Path(__file__).parents[2]
CELL = ROOT / "models/dfn_cell"
WINDOW, MEMBERS = 12, 128
MEASURED = {"voltage, temperature": ("voltage", "temperature"), "all four": ("voltage", "temperature", "soc", "heat")}


def crps(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fair CRPS, mean over points: (output,) from (member, point, output) and (point, output)."""
    count = len(members)
    ordered = np.sort(members, axis=0)
    weights = (2 * np.arange(1, count + 1) - count - 1)[:, None, None]
    spread = (weights * ordered).sum(axis=0) / (count * (count - 1))
    return (np.abs(members - truth).mean(axis=0) - spread).mean(axis=0)


def ratios(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Pooled ratio per output, and their mean: (output + 1,) from (schedule, unit, output)."""
    each = after.sum(axis=(0, 1)) / before.sum(axis=(0, 1))
    return np.append(each, each.mean())


def bootstrap(after: np.ndarray, before: np.ndarray, count: int = 2000) -> np.ndarray:
    """95 % interval of `ratios`: (2, output + 1)."""
    random, drawn = np.random.default_rng(0), []
    schedules, units = before.shape[:2]
    for _ in range(count):
        chosen = random.integers(schedules, size=schedules)[:, None], random.integers(units, size=(schedules, units))
        drawn.append(ratios(after[chosen], before[chosen]))
    return np.quantile(drawn, [0.025, 0.975], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--individuals", type=int, default=16, help="units of each of the 12 schedules")
    parser.add_argument("--methods", nargs="+", default=[str(method) for method in Method])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle, test = read_bundle(CELL / "dfn_cell.bundle"), read_trajectories(CELL / "data/test.nc")
    runs = np.stack([np.flatnonzero(test.schedule == s)[: arguments.individuals] for s in np.unique(test.schedule)])
    names = [*(variable.name for variable in bundle.manifest.outputs), "mean"]
    conditions, results = test.conditions(), {}
    before = np.empty((*runs.shape, len(names) - 1))
    for place, run in np.ndenumerate(runs):
        seeds = np.arange(MEMBERS) + MEMBERS * int(run)
        prior = rollout(bundle, np.repeat(conditions[run][None], MEMBERS, axis=0), seeds)
        before[place] = crps(prior[:, WINDOW + 1 :], test.outputs[run, WINDOW + 1 :])
    for method in arguments.methods:
        for label, measured in MEASURED.items():
            began, outside = time.process_time(), 0
            after = np.empty_like(before)
            for place, run in np.ndenumerate(runs):
                window = measurements_of(test, int(run), bundle.manifest).until(WINDOW).only(bundle.manifest, measured)
                posterior = calibrate(bundle, window, CalibrationConfig(Method(method), seed=int(run)))
                outside += posterior.diagnostics.outside_prior
                standing = replay(bundle, posterior, posterior.choose(MEMBERS, seed=int(run)))
                rest = RolloutRun(bundle, conditions[run, WINDOW:], np.arange(MEMBERS), standing=standing)
                points, _ = rest.advance(rest.step_count + 1)
                after[place] = crps(points[:, 1:], test.outputs[run, WINDOW + 1 :])
            seconds = (time.process_time() - began) / runs.size
            value, (low, high) = ratios(after, before), bootstrap(after, before)
            results[f"{method}; {label}"] = {
                "ratio": dict(zip(names, value.round(3).tolist(), strict=True)),
                "low": dict(zip(names, low.round(3).tolist(), strict=True)),
                "high": dict(zip(names, high.round(3).tolist(), strict=True)),
                "units": int(runs.size),
                "called outside the fleet": int(outside),
                "cpu_s_per_unit": round(seconds, 2),
            }
            cells = " | ".join(f"{v:.2f} ({a:.2f} to {b:.2f})" for v, a, b in zip(value, low, high, strict=True))
            print(f"| {method} | {label} | {cells} | {outside} of {runs.size} | {seconds:.2f} |", flush=True)
    (Path(__file__).parent / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
