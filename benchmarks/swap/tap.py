"""What a tap costs beside the bare plant, and what a guarded run saves and mends; every row is of one run, taken side by side.

    python benchmarks/swap/tap.py [--steps 5000] [--rounds 5]
    python benchmarks/swap/tap.py --cell                       # needs pip install 'surrogate-fmu[models]', takes minutes
    python benchmarks/swap/tap.py --masses gemseo/gemseo_fmu/problems/fmu_files/linux          # see masses.py

Steps: a plant in C that costs nothing itself, with two inputs and two outputs, is driven through FMPy: two inputs set in one call,
a step, two outputs read in one call. Bare plant and taps take turns, round by round, and the median round counts, in CPU time, so
that ratios are hardly those of what else the machine does. `--cell` charges the live Doyle-Fuller-Newman solver with up to 6.5 A
where its surrogate has learned 5 A; `--masses` distills OpenModelica's mass for 0.7 m where its system goes to 1 m.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cell import CELL
from fmpy import extract, read_model_description
from fmpy.fmi2 import FMU2Slave
from masses import STEP_S, distill, make_system

from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.guard import Leader
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig
from surrogate_fmu.fmu.tap.reading import TapRun, read_logs
from surrogate_fmu.ssp.compare import Comparison, compare
from surrogate_fmu.ssp.swap import swap
from tests.fmu.tap.plants import make_surrogate_bundle, plain
from tests.toy import STEP_SIZE, make_toy_bundle

CALM, WILD = 10.0, 80.0  # powers [W] that the surrogate of the plant in C has learned, and has not
CHARGE_STEPS, CHARGE_STEP_S, CURRENT_MAX = 600, 10.0, 6.5


class Driven:
    """An FMU of FMI 2.0 that FMPy steps, some variables of which are set and read in one call each."""

    def __init__(self, fmu: Path, inputs: tuple[str, ...], outputs: tuple[str, ...], start: Mapping[str, float]) -> None:
        description = read_model_description(str(fmu))
        references = {v.name: v.valueReference for v in description.modelVariables}
        self._folder = tempfile.TemporaryDirectory()
        self.fmu = FMU2Slave(
            guid=description.guid,
            unzipDirectory=extract(str(fmu), self._folder.name),
            modelIdentifier=description.coSimulation.modelIdentifier,
            instanceName=fmu.stem,
        )
        self._inputs, self._outputs = [references[name] for name in inputs], [references[name] for name in outputs]
        self.time = 0.0
        self.fmu.instantiate()
        for name, value in start.items():
            self.fmu.setReal([references[name]], [value])
        self.fmu.setupExperiment(startTime=0.0)
        self.fmu.enterInitializationMode()
        self.fmu.exitInitializationMode()

    def outputs(self) -> list[float]:
        """As they are."""
        return self.fmu.getReal(self._outputs)  # type: ignore[no-any-return]

    def step(self, values: list[float], size: float) -> list[float]:
        """Set, step [s], read."""
        self.fmu.setReal(self._inputs, values)
        self.fmu.doStep(self.time, size)
        self.time += size
        return self.outputs()

    def close(self) -> None:
        """The run ends, and its log."""
        self.fmu.terminate()
        self.fmu.freeInstance()


def seconds_of(action: Callable[[], Any]) -> float:
    """CPU time [s]: what else the machine does is not in it."""
    begin = time.process_time()
    action()
    return time.process_time() - begin


def only_log(folder: Path, stem: str) -> TapRun:
    """The one log of an instance."""
    (run,) = read_logs(sorted(folder.glob(f"{stem}-*.jsonl")))
    return run


def measure_steps(work: Path, steps: int, rounds: int) -> None:
    """The bare plant and its taps in turns; log sizes; a replay."""
    native = build_native_fmu(make_toy_bundle(), work / "native.fmu", BuildConfig())
    plant = plain(native, work / "Bare.fmu")
    fast = build_native_fmu(make_surrogate_bundle(), work / "Fast.fmu", BuildConfig())
    fmus = {"bare": plant}
    for mode in Mode:
        partner = None if mode is Mode.RECORD else fast
        fmus[mode.value] = build_tap_fmu(plant, work / f"{mode.value}.fmu", TapConfig(mode), partner).path
    inputs, outputs = ("power", "ambient_temperature"), ("temperature", "flow")
    runs = {name: Driven(fmu, inputs, outputs, {"temperature_start": 291.0}) for name, fmu in fmus.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds_of(lambda run=run: [run.step([CALM, 293.0], STEP_SIZE) for _ in range(steps)]) / steps)  # type: ignore[misc]
    each = {name: float(np.median(values)) for name, values in times.items()}
    logs = work / "logs"
    sizes = {mode.value: next(logs.glob(f"{mode.value}-*.jsonl")).stat().st_size / (steps * rounds) for mode in Mode}
    print(f"a step of the bare plant through FMPy: {1e6 * each['bare']:.1f} us here, of {rounds} rounds of {steps} steps in turns")
    for mode in Mode:
        name = mode.value
        leads = ", the surrogate leading" if mode is Mode.GUARDED else ""
        print(f"{name}{leads}: {each[name] / each['bare']:.1f} x the bare plant, {sizes[name]:.0f} bytes of log a step")
    replay_s = seconds_of(lambda: runs["guarded"].step([WILD, 293.0], STEP_SIZE))
    for run in runs.values():
        run.close()
    count = only_log(logs, "guarded").handovers[0].replayed_steps
    print(f"replay: {count} steps in {replay_s / count / each['bare']:.1f} x the bare plant's step each")


class Charge:
    """A cell that is charged, constant current up to 4.1 V and derated from 303 to 318 K.

    Attributes:
        rows: outputs at every point.
        seconds: CPU time of the steps.
    """

    def __init__(self, fmu: Path) -> None:
        self._cell = Driven(fmu, ("current",), ("voltage", "temperature", "soc"), {"soc_start": 0.25})
        self.rows, self.seconds = [self._cell.outputs()], 0.0

    def step(self) -> None:
        """One step."""
        voltage, temperature, _ = self.rows[-1]
        allowed = min(max(50.0 * (4.1 - voltage), 0.0), CURRENT_MAX)
        current = -allowed * min(max((318.15 - temperature) / 15.0, 0.0), 1.0)
        self.seconds += seconds_of(lambda: self.rows.append(self._cell.step([current], CHARGE_STEP_S)))

    def close(self) -> None:
        """The run ends."""
        self._cell.close()


def measure_cell(work: Path) -> None:
    """A charge with the bare solver, recorded, and guarded, step by step in turns."""
    slow = build_plant_fmu("plant.py:DfnCell", CELL, work / "Cell.fmu")
    fast = build_native_fmu(read_bundle(CELL / "dfn_cell.bundle"), work / "FastCell.fmu", BuildConfig())
    recorded = build_tap_fmu(slow, work / "RecordedCell.fmu", TapConfig()).path
    guarded = build_tap_fmu(slow, work / "GuardedCell.fmu", TapConfig(Mode.GUARDED), fast).path
    charges = {name: Charge(fmu) for name, fmu in (("bare", slow), ("recorded", recorded), ("guarded", guarded))}
    for _ in range(CHARGE_STEPS):
        for charge in charges.values():
            charge.step()
    for charge in charges.values():
        charge.close()
    bare_s = charges["bare"].seconds
    share = {name: charge.seconds / bare_s for name, charge in charges.items()}
    run = only_log(work / "logs", "GuardedCell")
    turns = sum(handover.to is Leader.PLANT for handover in run.handovers)
    led, replayed = int(run.plant_leads.sum()), sum(handover.replayed_steps for handover in run.handovers)
    same = charges["recorded"].rows == charges["bare"].rows
    print(f"cell, {CHARGE_STEPS} steps of {CHARGE_STEP_S:g} s, up to {CURRENT_MAX:g} A where 5 A were learned:")
    print(f"  recorded: {share['recorded']:.2f} x the bare solver's time ({bare_s:.1f} s here), equal bits: {same}")
    print(f"  guarded: {share['guarded']:.2f} x; the solver led {led} steps in {turns} turns and caught up with {replayed} more")


def measure_masses(work: Path, fmus: Path, budget: str) -> None:
    """Two coupled masses, the surrogate of one of which has learned a part of its range, swapped and guarded."""
    fast, before = work / "FastMass.fmu", work / "masses.ssp"
    distill(fmus, fast, budget, 0.7)
    guarded = build_tap_fmu(fmus / "MassSpringSubSystem1.fmu", work / "GuardedMass.fmu", TapConfig(Mode.GUARDED), fast).path
    make_system(fmus, before)
    found: dict[str, Comparison] = {}
    for name, fmu in (("swapped", fast), ("guarded", guarded)):
        swap(before, "left", fmu, work / f"{name}.ssp")
        found[name] = compare(before, work / f"{name}.ssp", STEP_S)
    print("OpenModelica's mass, distilled for -0.7 to 0.7 m, in a system that goes to 1 m, 30 s; largest error of a signal:")
    for name, result in found.items():
        print(f"  {name}: {max(signal.largest for signal in result.signals):.1e} of its range")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cell", action="store_true", help="the cell, too")
    parser.add_argument("--masses", type=Path, metavar="FOLDER", help="the masses, too, from their FMUs")
    parser.add_argument("--budget", default="5m", help="of distilling the mass")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.rounds) < 1:
        parser.error("--steps and --rounds must be at least 1")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ[LOG_VARIABLE] = str(work / "logs")
        measure_steps(work, arguments.steps, arguments.rounds)
        if arguments.cell:
            measure_cell(work)
        if arguments.masses is not None:
            measure_masses(work, arguments.masses, arguments.budget)


if __name__ == "__main__":
    main()
