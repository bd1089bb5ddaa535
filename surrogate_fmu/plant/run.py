"""One run of a plant, by itself or as a task of a recording."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.protocol import Plant
from surrogate_fmu.variables import Causality, with_causality

Array = NDArray[np.float64]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class PlantRun:
    """What determines a run.

    Attributes:
        plant: digest of the plant.
        schedule_number: of its inputs and parameters.
        plant_seed: of it.
        parameters: by name.
        inputs: (step,) by name.
    """

    plant: str
    schedule_number: int
    plant_seed: int
    parameters: Mapping[str, float]
    inputs: Mapping[str, Array]

    def digest(self) -> str:
        """Names the run's file."""
        text = json.dumps(
            [self.plant, self.plant_seed, dict(self.parameters), {k: v.tolist() for k, v in self.inputs.items()}], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def file(self, folder: Path) -> Path:
        """Where its outputs are kept."""
        return folder / f"{self.digest()}.npz"

    def write(self, outputs: Array, seconds: float, folder: Path) -> None:
        """Keep its outputs (step + 1, output) and the wall time that it took [s]."""
        target = self.file(folder)
        partial = target.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as stream:
            np.savez(stream, outputs=outputs, seconds=seconds)
        partial.replace(target)


def take_run(plant: Plant, run: PlantRun) -> tuple[Array, float]:
    """Outputs (step + 1, output) and wall time [s].

    Raises:
        PlantError: as `simulate`.
    """
    start = time.perf_counter()
    outputs = simulate(plant, run.plant_seed, run.parameters, run.inputs)
    return outputs, time.perf_counter() - start


def simulate(plant: Plant, plant_seed: int, parameters: Mapping[str, float], inputs: Mapping[str, Array]) -> Array:
    """One run: (step + 1, output), outputs in the order of the plant's variables.

    Raises:
        PlantError: the plant failed or gave a value that is not finite or too large for a dataset.
    """
    names = [v.name for v in with_causality(plant.variables, Causality.OUTPUT)]
    start = dict(parameters)
    if getattr(plant, "takes_inputs_at_reset", False):
        start |= {name: float(signal[0]) for name, signal in inputs.items()}
    outputs = [plant.reset(plant_seed, start)]
    step_count = len(next(iter(inputs.values())))
    for k in range(step_count):
        outputs.append(plant.do_step({name: float(signal[k]) for name, signal in inputs.items()}, plant.communication_step_size))
    array = np.array([[point[name] for name in names] for point in outputs])
    if not np.isfinite(array).all():
        step = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise PlantError(f"the plant's outputs are not finite at step {step}: {dict(zip(names, array[step], strict=True))}")
    if (np.abs(array) > _LARGEST).any():
        step = int(np.argwhere(np.abs(array) > _LARGEST)[0, 0])
        raise PlantError(
            f"the plant's outputs are beyond {_LARGEST:.2g}, the most that a dataset holds, at step {step}: "
            f"{dict(zip(names, array[step], strict=True))}; does the plant diverge, or its solver at this step?"
        )
    return array
