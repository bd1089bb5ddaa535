"""The main job on the battery cell: train, build, drop into a co-simulation, verify. Run by `make demo`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from charging import SIGNALS, Charges, charge  # noqa: E402

from surrogate_fmu.bundle.archive import read_bundle  # noqa: E402
from surrogate_fmu.cli.main import main as surrogate_fmu  # noqa: E402
from surrogate_fmu.cli.progress import counted  # noqa: E402
from surrogate_fmu.config import load_config  # noqa: E402
from surrogate_fmu.dataset.store import read_trajectories  # noqa: E402
from surrogate_fmu.evaluation.card import Speed, verdict_lines  # noqa: E402
from surrogate_fmu.evaluation.drawing import to_svg  # noqa: E402
from surrogate_fmu.evaluation.members import fmu_members  # noqa: E402
from surrogate_fmu.evaluation.plots import draw_all  # noqa: E402
from surrogate_fmu.evaluation.report import embed_card, write_report  # noqa: E402
from surrogate_fmu.evaluation.verify import describe_artefact, verify  # noqa: E402
from surrogate_fmu.fmu.build import build_plant_fmu, build_python_fmu  # noqa: E402
from surrogate_fmu.fmu.native.build import build_native_fmu  # noqa: E402
from surrogate_fmu.plant.protocol import load_plant  # noqa: E402
from surrogate_fmu.runtime.session import Session  # noqa: E402

CHARGE_STEPS = 360
_DIRECT_STEPS = 200
_COLOURS = {"live DFN solver": "#444444", "surrogate": "#0a6ebd"}
_BACKEND_CELLS = 2  # charged with the Python FMU, for the table of speeds


def main() -> int:
    """Run every stage and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo"))
    parser.add_argument("--budget", type=float, default=230.0, help="CPU seconds of training (default: %(default)g)")
    parser.add_argument("--live-cells", type=int, default=4, help="cells charged with the live solver (default: %(default)d)")
    parser.add_argument("--surrogate-cells", type=int, default=24, help="cells charged with the surrogate (default: %(default)d)")
    arguments = parser.parse_args()
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    toml, bundle_path, fmu = HERE / "surrogate.toml", folder / "dfn_cell.bundle", folder / "dfn_cell.fmu"

    _stage(1, "train a generator on the recorded runs")
    status = surrogate_fmu(["train", str(toml), "-o", str(bundle_path), "--budget", f"{arguments.budget:g}"])
    if status:
        return status

    _stage(2, "build the FMU, and one of the live solver to compare with")
    build_native_fmu(read_bundle(bundle_path), fmu)
    python_fmu = build_python_fmu(read_bundle(bundle_path), folder / "dfn_cell_python.fmu")
    plant_fmu = build_plant_fmu("plant.py:DfnCell", HERE, folder / "dfn_cell_plant.fmu")
    for path, what in ((fmu, "native: the generator in C"), (python_fmu, "the same in Python"), (plant_fmu, "the live solver")):
        print(f"{path}  {path.stat().st_size / 1e3:.0f} kB  {what}")

    _stage(3, "charge cells in closed loop: the live solver, then the surrogate in its place")
    live = charge(plant_fmu, range(1, arguments.live_cells + 1), CHARGE_STEPS, _cells("live solver"))
    surrogate = charge(fmu, range(1, arguments.surrogate_cells + 1), CHARGE_STEPS, _cells("surrogate"))
    in_python = charge(python_fmu, range(1, _BACKEND_CELLS + 1), CHARGE_STEPS, _cells("surrogate in Python"))
    closed_loop = {"live DFN solver": live, "surrogate": surrogate}
    for name, charges in closed_loop.items():
        print(_describe(name, charges))
    figure = _draw_charges(closed_loop)
    speeds = _speeds(bundle_path, live, {"native FMU, FMPy": surrogate, "Python FMU, FMPy": in_python})
    for label, speed in speeds.items():
        ratio = "" if speed.ratio is None else f"  {speed.ratio:,.0f} times faster"
        print(f"  {label:20s} {1e3 * speed.seconds_per_step:8.3f} ms a step{ratio}")

    _stage(4, "verify the built FMU on held-out cells")
    config = load_config(toml)
    verification = verify(
        fmu_members(fmu, progress=_bar("runs")),
        read_trajectories(config.dataset_path("test")),
        config.verify,
        describe_artefact(fmu),
        datetime.now(UTC).isoformat(timespec="seconds"),
        speeds,
        progress=_bar("resampling"),
    )
    figures = draw_all(verification) | {"Charging in closed loop: the same charger around both": figure}
    html, card = write_report(verification.card, figures, folder)
    # From here on the bundle, and the FMU built from it, carry the evidence along.
    embed_card(verification.card, bundle_path)
    build_native_fmu(read_bundle(bundle_path), fmu)
    print("\n".join(verdict_lines(verification.card)))
    print(f"\nreport: {html}\ncard:   {card}")

    _stage(5, "serve the same bundle over gRPC")
    bin_folder = Path(sys.executable).parent
    python = os.path.relpath(sys.executable)
    print(f"in one terminal:  {os.path.relpath(bin_folder / 'surrogate-fmu')} serve {bundle_path}")
    print(f"in another:       {python} examples/call_service.py 127.0.0.1:50051 dfn_cell")
    return 0


def _stage(number: int, what: str) -> None:
    print(f"\n[{number}/5] {what}", flush=True)


def _cells(what: str) -> Any:
    return lambda seeds: counted(f"charging, {what}", seeds, len(seeds))


def _bar(what: str) -> Any:
    return lambda items, total: counted(what, items, total)


def _describe(name: str, charges: Charges) -> str:
    def spread(values: NDArray[np.float64], unit: str) -> str:
        return f"{np.nanmean(values):.2f} +- {np.nanstd(values):.2f} {unit}"

    return (
        f"{name:16s} {len(charges.signals):3d} cells: 80 % after {spread(charges.minutes_to(0.8), 'min')}, "
        f"peak {spread(charges.signals[:, :, 1].max(axis=1) - 273.15, 'degC')}, "
        f"{np.median(charges.step_s) * 1e3:.3f} ms a step"
    )


def _speeds(bundle_path: Path, live: Charges, surrogates: dict[str, Charges]) -> dict[str, Speed]:
    """Wall time of a step, in the co-simulation and without FMPy and FMI around it."""
    plant = load_plant("plant.py:DfnCell", HERE)
    inputs = [{"current": -5.0 + 0.02 * k, "ambient_temperature": 298.15} for k in range(_DIRECT_STEPS)]
    plant.reset(1, {})
    with Session(read_bundle(bundle_path), seed=1) as session:
        session.initialize()
        plant_s = _time_steps(lambda values: plant.do_step(values, plant.communication_step_size), inputs)
        session_s = _time_steps(session.do_step, inputs)
    live_s = float(np.median(live.step_s))
    timed = {label: float(np.median(charges.step_s)) for label, charges in surrogates.items()}
    return {
        "live DFN FMU, FMPy": Speed(live_s),
        **{label: Speed(seconds, live_s / seconds) for label, seconds in timed.items()},
        "DFN solver alone": Speed(plant_s),
        "session alone": Speed(session_s, plant_s / session_s),
    }


def _time_steps(do_step: Any, inputs: Sequence[dict[str, float]]) -> float:
    times = []
    for values in inputs:
        begin = time.perf_counter()
        do_step(values)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _draw_charges(closed_loop: dict[str, Charges]) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    labels = ("voltage [V]", "temperature [degC]", "state of charge [1]", "current [A]")
    for index, (axis, label) in enumerate(zip(axes, labels, strict=True)):
        for name, charges in closed_loop.items():
            minutes = np.arange(charges.signals.shape[1]) / 6.0
            values = charges.signals[:, :, index] - (273.15 if SIGNALS[index] == "temperature" else 0.0)
            axis.plot(minutes, values.T, color=_COLOURS[name], alpha=0.45, linewidth=0.8)
            axis.plot([], [], color=_COLOURS[name], label=f"{name}, {len(values)} cells")
        axis.set_title(label)
        axis.set_xlabel("time [min]")
    axes[0].legend(frameon=False)
    return to_svg(figure)


if __name__ == "__main__":
    sys.exit(main())
