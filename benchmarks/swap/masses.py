"""Two coupled masses of which one is distilled: OpenModelica's MassSpringSubSystem1 and 2, as gemseo-fmu ships them.

    pip download --no-deps gemseo-fmu && unzip gemseo_fmu-*.whl -d gemseo
    python benchmarks/swap/masses.py gemseo/gemseo_fmu/problems/fmu_files/linux [--picture docs/images/coupled_masses.png]

Distills the first with its ranges alone, puts it back beside the original of the second, and compares 30 s of coupled motion: the
error, and the drift of the surrogate's energy against the original's, both in the same master.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from surrogate_fmu.cli.main import main as surrogate_fmu
from surrogate_fmu.ssp.compare import Comparison, compare
from surrogate_fmu.ssp.swap import swap
from tests.ssp.systems import component, connection, connector, system, write_ssp

STEP_S, STOP_S = 0.05, 30.0


def make_system(folder: Path, path: Path) -> Path:
    """The two masses, each driven by the other's position."""
    sides = {"left": ("MassSpringSubSystem1.fmu", "x2", "x1", "v1"), "right": ("MassSpringSubSystem2.fmu", "x1", "x2", "v2")}
    elements = [
        component(name, f"resources/{fmu}", [connector(driven, "input"), connector(x, "output"), connector(v, "output")])
        for name, (fmu, driven, x, v) in sides.items()
    ]
    wires = [connection("left.x1", "right.x1"), connection("right.x2", "left.x2")]
    files = {f"resources/{fmu}": folder / fmu for fmu, *_ in sides.values()}
    return write_ssp(path, system("masses", elements, wires), files, stop=STOP_S)


def energy(signals: dict[str, np.ndarray]) -> np.ndarray:
    """(point,) of masses and springs of 1 kg and 1 N/m."""
    x1, x2, v1, v2 = (signals[name][0] for name in ("left.x1", "right.x2", "left.v1", "right.v2"))
    return 0.5 * (v1**2 + v2**2 + x1**2 + (x2 - x1) ** 2 + x2**2)


def distill(fmus: Path, fast: Path, budget: str, reach: float = 2.0) -> int:
    """Distill the first mass of a folder, driven by the other's position within -reach to reach [m]; exit code of the verdict."""
    held = [option for name in ("k1", "k2", "m1") for option in ("--hold", f"{name}=1")]
    options = ["--range", f"x2={-reach:g}:{reach:g}", *held, "--step-size", str(STEP_S), "--budget", budget]
    return surrogate_fmu(["distill", str(fmus / "MassSpringSubSystem1.fmu"), "-o", str(fast), *options])


def distill_and_compare(fmus: Path, work: Path, budget: str) -> tuple[int, Comparison]:
    """Exit code of distilling the first mass of a folder, and the coupled motion with it and with its surrogate."""
    fast, before, after = (work / name for name in ("Fast.fmu", "masses.ssp", "masses-fast.ssp"))
    status = distill(fmus, fast, budget)
    swap(make_system(fmus, before), "left", fast, after)
    return status, compare(before, after, STEP_S)


def energy_difference(result: Comparison) -> float:
    """The largest one, as a share of the largest energy."""
    before, after = (energy(dict(signals)) for signals in (result.before, result.after))
    return float(np.abs(after - before).max() / before.max())


def draw(result: Comparison, path: Path) -> None:
    """Positions before and after, and their difference."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name, colour in (("left.x1", "#1f5a94"), ("right.x2", "#4d4d4d")):
        upper.plot(result.times, result.before[name][0], color=colour, label=f"{name} before")
        upper.plot(result.times, result.after[name][0], color="#e07b1a", linestyle="--", label=f"{name} after")
        lower.plot(result.times, 1e6 * (result.after[name][0] - result.before[name][0]), color=colour)
    upper.legend(ncols=4, fontsize=8, frameon=False)
    upper.set_ylabel("position [m]")
    lower.set_ylabel("difference\n[1e-6 m]")
    lower.set_xlabel("time [s]")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Distill, swap, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with MassSpringSubSystem1.fmu and MassSpringSubSystem2.fmu")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        status, result = distill_and_compare(arguments.folder, Path(folder), "5m")
    print(f"\nexit code of the verdict: {status}")
    for signal in result.signals:
        print(f"{signal.name}: normalised RMSE {signal.rmse:.2e} of its range, largest {signal.largest:.2e}")
    print(f"energy: largest difference {energy_difference(result):.2e} of its largest value")
    if arguments.picture:
        draw(result, arguments.picture)


if __name__ == "__main__":
    main()
