"""The cell in a closed loop: a charger around a cell FMU, whichever FMU that is, with FMPy as the master."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fmpy import extract, read_model_description
from fmpy.fmi2 import FMU2Slave
from numpy.typing import NDArray

STEP_S = 10.0
SOC_START = 0.25
AMBIENT_K = 298.15
SIGNALS = ("voltage", "temperature", "soc", "current")
_OUTPUTS = ("voltage", "temperature", "soc")


@dataclass
class Charger:
    """Constant current, then constant voltage, derated linearly with temperature.

    Attributes:
        current_limit: in constant-current mode [A].
        voltage_limit: held in constant-voltage mode [V].
        derating_start, derating_end: full current below, none above [K].
        gain: of the integrating voltage controller [A/V per step].
    """

    current_limit: float = 5.0
    voltage_limit: float = 4.2
    derating_start: float = 303.15
    derating_end: float = 318.15
    gain: float = 8.0
    allowed: float = 5.0

    def current(self, voltage: float, temperature: float) -> float:
        """The cell current [A], negative because it charges, for the next step."""
        self.allowed = float(np.clip(self.allowed + self.gain * (self.voltage_limit - voltage), 0.0, self.current_limit))
        derating = (self.derating_end - temperature) / (self.derating_end - self.derating_start)
        return -min(self.allowed, self.current_limit * float(np.clip(derating, 0.0, 1.0)))


@dataclass(frozen=True)
class Charges:
    """Charges of several cells.

    Attributes:
        signals: (cell, point, signal), signals in the order of SIGNALS.
        step_s: wall time [s] of each step through FMPy: set inputs, doStep, get outputs.
    """

    signals: NDArray[np.float64]
    step_s: NDArray[np.float64]

    def minutes_to(self, soc: float) -> NDArray[np.float64]:
        """Minutes until a state of charge; NaN where it was not reached."""
        reached = self.signals[:, :, 2] >= soc
        return np.where(reached.any(axis=1), reached.argmax(axis=1) * STEP_S / 60.0, np.nan)


def charge(
    fmu: Path, seeds: Sequence[int], step_count: int, progress: Callable[[Sequence[int]], Iterator[int]] | None = None
) -> Charges:
    """Charge one cell per seed.

    Args:
        fmu: an FMU with the variables of the cell plant and the parameter `seed`.
        seeds: which cells.
        step_count: steps of 10 s.
        progress: wraps the seeds.
    """
    description = read_model_description(str(fmu))
    references = {v.name: v.valueReference for v in description.modelVariables}
    folder = extract(str(fmu))
    inputs = [references["current"], references["ambient_temperature"]]
    outputs = [references[name] for name in _OUTPUTS]
    runs, times = [], []
    for seed in progress(seeds) if progress else seeds:
        cell: Any = FMU2Slave(
            guid=description.guid,
            unzipDirectory=folder,
            modelIdentifier=description.coSimulation.modelIdentifier,
            instanceName="cell",
        )
        cell.instantiate()
        cell.setReal([references["soc_start"], references["temperature_start"]], [SOC_START, AMBIENT_K])
        cell.setInteger([references["seed"]], [seed])
        cell.setReal(inputs, [0.0, AMBIENT_K])
        cell.setupExperiment(startTime=0.0)
        cell.enterInitializationMode()
        cell.exitInitializationMode()
        charger = Charger()
        voltage, temperature, soc = cell.getReal(outputs)
        points = [[voltage, temperature, soc, 0.0]]
        for step in range(step_count):
            current = charger.current(voltage, temperature)
            begin = time.perf_counter()
            cell.setReal(inputs, [current, AMBIENT_K])
            cell.doStep(step * STEP_S, STEP_S)
            voltage, temperature, soc = cell.getReal(outputs)
            times.append(time.perf_counter() - begin)
            points.append([voltage, temperature, soc, current])
        cell.terminate()
        cell.freeInstance()
        runs.append(points)
    return Charges(np.array(runs), np.array(times))
