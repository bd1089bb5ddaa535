"""Runs of a plant as arrays with names and units."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import DatasetError
from surrogate_fmu.face import Face
from surrogate_fmu.schema import encode
from surrogate_fmu.variables import Causality, Variable, with_causality

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectories:
    """Recorded runs, all of the same length.

    Attributes:
        variables: inputs, parameters and outputs, in the order of the columns.
        communication_step_size: time between two points [s].
        inputs: (run, step, input), held over the step.
        parameters: (run, parameter).
        outputs: (run, step + 1, output); point 0 is the start, point k the end of step k.
        plant_seed: (run,), which individual it was.
        schedule: (run,), runs with the same number had the same inputs and parameters.
        provenance: how the runs were made, plain data.
        face: of the plant, where it is an FMU.
    """

    variables: tuple[Variable, ...]
    communication_step_size: float
    inputs: Array
    parameters: Array
    outputs: Array
    plant_seed: NDArray[np.int64]
    schedule: NDArray[np.int64]
    provenance: dict[str, Any] = field(default_factory=dict)
    face: Face | None = None

    def __post_init__(self) -> None:
        runs, steps = self.inputs.shape[:2]
        expected = {
            "inputs": (runs, steps, len(self.names(Causality.INPUT))),
            "parameters": (runs, len(self.names(Causality.PARAMETER))),
            "outputs": (runs, steps + 1, len(self.names(Causality.OUTPUT))),
            "plant_seed": (runs,),
            "schedule": (runs,),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise DatasetError(f"{name} has shape {array.shape}, the variables and runs need {shape}")
            if not np.isfinite(array).all():
                raise DatasetError(
                    f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite; leave those runs out"
                )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def step_count(self) -> int:
        """Steps of every run."""
        return int(self.inputs.shape[1])

    def names(self, causality: Causality) -> tuple[str, ...]:
        """Names of the variables of one causality, in column order."""
        return tuple(v.name for v in with_causality(self.variables, causality))

    def conditions(self) -> Array:
        """Inputs and parameters side by side, the condition x: (run, step, input + parameter)."""
        repeated = np.broadcast_to(self.parameters[:, None], (*self.inputs.shape[:2], self.parameters.shape[-1]))
        return np.concatenate([self.inputs, repeated], axis=-1)

    def select(self, runs: Iterable[int] | NDArray[Any]) -> "Trajectories":
        """Only these runs (indices or a mask)."""
        index = np.asarray(runs if isinstance(runs, np.ndarray) else list(runs))
        return Trajectories(
            self.variables,
            self.communication_step_size,
            self.inputs[index],
            self.parameters[index],
            self.outputs[index],
            self.plant_seed[index],
            self.schedule[index],
            self.provenance,
            self.face,
        )

    def checksum(self) -> str:
        """SHA-256 of names, units, step and values (as float32, the precision on disk)."""
        digest = hashlib.sha256()
        head = {"variables": encode(self.variables), "communication_step_size": self.communication_step_size}
        digest.update(json.dumps(head, sort_keys=True).encode())
        for array in (self.inputs, self.parameters, self.outputs):
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        for integers in (self.plant_seed, self.schedule):
            digest.update(np.ascontiguousarray(integers, dtype="<i8").tobytes())
        return digest.hexdigest()
