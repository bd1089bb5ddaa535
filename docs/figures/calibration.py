"""docs/calibration.png: what a tenth of a run of one cell says of the rest, beside what the fleet says.

python docs/figures/calibration.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from surrogate_fmu import calibrate, read_bundle, read_measurements
from surrogate_fmu.calibration.resume import replay
from surrogate_fmu.runtime.ensemble import RolloutRun, rollout

ROOT = Path(__file__).parents[2]
CELL = ROOT / "models/dfn_cell"
RUN, WINDOW, MEMBERS = 128, 12, 256
FLEET, UNIT = "#9aa5b1", "#1f6fb2"


def main() -> None:
    """Write the picture."""
    torch.set_num_threads(1)
    bundle = read_bundle(CELL / "dfn_cell.bundle")
    run = read_measurements(CELL / "data/test.nc", bundle.manifest, run=RUN)
    posterior = calibrate(bundle, run.until(WINDOW).only(bundle.manifest, ["voltage", "temperature"]))
    conditions = np.concatenate([run.inputs, np.tile(run.parameters, (run.step_count, 1))], axis=1)
    fleet = rollout(bundle, np.repeat(conditions[None], MEMBERS, axis=0), np.arange(MEMBERS))
    standing = replay(bundle, posterior, posterior.choose(MEMBERS, seed=0))
    unit, _ = RolloutRun(bundle, conditions[WINDOW:], np.arange(MEMBERS), standing=standing).advance(run.step_count + 1)
    minutes = np.arange(run.step_count + 1) * bundle.manifest.step_size / 60
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.2), sharex=True, height_ratios=(1, 1))
    for column, (place, scale, label) in enumerate(((0, 1e3, "voltage [mV]"), (1, 1.0, "temperature [K]"))):
        truth, top, bottom = run.outputs[:, place], axes[0, column], axes[1, column]
        centre = fleet[:, :, place].mean(axis=0)
        for axis, shift in ((top, np.zeros_like(truth)), (bottom, centre)):
            _band(axis, minutes, scale * (fleet[:, :, place] - shift), FLEET, "fleet, 90 %")
            _band(axis, minutes[WINDOW:], scale * (unit[:, :, place] - shift[WINDOW:]), UNIT, "this cell, 90 %")
            axis.plot(minutes, scale * (truth - shift), color="black", lw=1.0, label="solver")
            axis.axvspan(0, minutes[WINDOW], color="#f2d58a", alpha=0.45, lw=0, label="measured")
            axis.spines[["top", "right"]].set_visible(False)
        top.set_title(label, fontsize=10)
        bottom.set_ylabel("minus the fleet's mean", fontsize=9)
        bottom.set_xlabel("time [min]")
        top.margins(x=0)
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(ROOT / "docs/calibration.png", dpi=130)


def _band(axis: plt.Axes, minutes: np.ndarray, members: np.ndarray, colour: str, label: str) -> None:
    low, high = np.quantile(members, [0.05, 0.95], axis=0)
    axis.fill_between(minutes, low, high, color=colour, alpha=0.55, lw=0, label=label)


if __name__ == "__main__":
    main()
