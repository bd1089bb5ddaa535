"""What was measured of one unit, in the order of a generator's variables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.variables import Causality, Variable, scalar_names, with_causality

Array = NDArray[np.float64]
STEP_TOLERANCE = 1e-6  # of the step size: what rounding in a table may leave


@dataclass(frozen=True)
class Measurements:
    """One run of one unit, from its start.

    Attributes:
        inputs: held over the step (step, input scalars), physical units.
        parameters: (parameter scalars,); not a number where the value is not known.
        outputs: (step + 1, output scalars); point 0 is the start, point k the end of step k; not a number where nothing was
            measured.

    Raises:
        DatasetError: shapes do not fit, or an input is not finite.
    """

    inputs: Array
    parameters: Array
    outputs: Array

    def __post_init__(self) -> None:
        if self.inputs.ndim != 2 or self.outputs.ndim != 2 or len(self.outputs) != len(self.inputs) + 1:
            raise DatasetError(
                f"inputs {self.inputs.shape} and outputs {self.outputs.shape} must be (step, input) and (step + 1, output): "
                "outputs have one row more, the start"
            )
        bad = np.argwhere(~np.isfinite(self.inputs))
        if len(bad):
            raise DatasetError(
                f"input {bad[0][1] + 1} is not a finite number at step {bad[0][0]}; outputs may be missing, inputs drive the run"
            )

    @property
    def step_count(self) -> int:
        """Steps of the window."""
        return len(self.inputs)

    def until(self, step: int) -> "Measurements":
        """Only what was measured up to the end of a step.

        Raises:
            DatasetError: there are fewer steps.
        """
        if not 1 <= step <= self.step_count:
            raise DatasetError(f"the window ends at step {step}, the measurements have 1 to {self.step_count}; give one of them")
        return Measurements(self.inputs[:step], self.parameters, self.outputs[: step + 1])

    def only(self, manifest: Manifest, names: Sequence[str]) -> "Measurements":
        """With these outputs alone; the others count as not measured.

        Raises:
            DatasetError: a name is no output.
        """
        known = [variable.name for variable in manifest.outputs]
        for name in names:
            if name not in known:
                raise DatasetError(f"there is no output {name!r} to calibrate by; the outputs are {', '.join(known)}")
        kept = [variable.name in names for variable in manifest.outputs for _ in range(variable.size)]
        return Measurements(self.inputs, self.parameters, np.where(kept, self.outputs, np.nan))


def measurements_of(
    trajectories: Trajectories, run: int, manifest: Manifest, parameters: Mapping[str, float] | None = None
) -> Measurements:
    """One run of a dataset as measurements for a generator.

    Args:
        trajectories: recorded runs.
        run: which of them, from 0.
        manifest: of the generator.
        parameters: values that take the place of the recorded ones, by the names of their scalars.

    Raises:
        DatasetError: the run is not there, or variables, units or the step size differ from the generator's.
    """
    if not 0 <= run < len(trajectories):
        raise DatasetError(f"run {run} is not in the dataset; it has the runs 0 to {len(trajectories) - 1}")
    check_step_size(trajectories.communication_step_size, manifest, "the dataset")
    columns: dict[str, Array] = {}
    for causality, array in (
        (Causality.INPUT, trajectories.inputs[run]),
        (Causality.PARAMETER, trajectories.parameters[run]),
        (Causality.OUTPUT, trajectories.outputs[run]),
    ):
        for place, variable in enumerate(with_causality(trajectories.variables, causality)):
            check_unit(variable.name, variable.unit, manifest)
            columns[variable.name] = array[..., place]
    columns |= {name: np.asarray(value, np.float64) for name, value in (parameters or {}).items()}
    return arrange(columns, trajectories.step_count, manifest)


def arrange(columns: Mapping[str, Array], step_count: int, manifest: Manifest) -> Measurements:
    """Columns by the names of their scalars as measurements: inputs (step,), parameters (), outputs (step + 1,).

    Raises:
        DatasetError: an input is missing, no output is there, a name is not known, or a value is outside min to max.
    """
    inputs, parameters, outputs = (_labels(variables) for variables in (manifest.inputs, manifest.parameters, manifest.outputs))
    unknown = [name for name in columns if name not in {**inputs, **parameters, **outputs}]
    if unknown:
        raise DatasetError(
            f"the measurements have {_quoted(unknown)}, which {manifest.name} has not; its inputs are {_quoted(inputs)}, its "
            f"parameters {_quoted(parameters)}, its outputs {_quoted(outputs)}"
        )
    missing = [name for name in inputs if name not in columns]
    if missing:
        raise DatasetError(f"the measurements lack {_quoted(missing)}; every input of {manifest.name} is needed at every step")
    if not any(name in columns for name in outputs):
        raise DatasetError(f"the measurements have no output of {manifest.name}; at least one is needed of {_quoted(outputs)}")
    for name, variable in {**inputs, **parameters}.items():
        if name in columns:
            _check_range(name, columns[name], variable)
    nothing = np.full(step_count + 1, np.nan)
    return Measurements(
        _stack([columns[name] for name in inputs], step_count),
        np.array([columns.get(name, np.nan) for name in parameters], np.float64).reshape(len(parameters)),
        _stack([columns.get(name, nothing) for name in outputs], step_count + 1),
    )


def check_step_size(step_size: float, manifest: Manifest, owner: str) -> None:
    """Compare with the generator's.

    Raises:
        DatasetError: they differ.
    """
    if abs(step_size - manifest.step_size) > STEP_TOLERANCE * manifest.step_size:
        raise DatasetError(
            f"{owner} has a step of {step_size:g} s, {manifest.name} one of {manifest.step_size:g} s; sample the measurements at "
            "that step, inputs as means over it"
        )


def check_unit(name: str, unit: str, manifest: Manifest) -> None:
    """Compare with the unit of the variable that a scalar belongs to; an unknown name is left to `arrange`.

    Raises:
        DatasetError: they differ.
    """
    for variable in manifest.variables:
        if name in scalar_names(variable) and variable.unit != unit:
            raise DatasetError(f"the unit of {name!r} is {unit!r}, {manifest.name} has {variable.unit!r}; convert the measurements")


def _labels(variables: Sequence[Variable]) -> dict[str, Variable]:
    return {name: variable for variable in variables for name in scalar_names(variable)}


def _check_range(name: str, values: Array, variable: Variable) -> None:
    low = -np.inf if variable.min is None else variable.min
    high = np.inf if variable.max is None else variable.max
    flat = np.atleast_1d(values)
    bad = np.flatnonzero((flat < low) | (flat > high) | ~np.isfinite(flat))
    if len(bad):
        raise DatasetError(
            f"{name!r} is {flat[bad[0]]:g} at step {bad[0]}; expected a number from {low:g} to {high:g} in {variable.unit}"
        )


def _stack(columns: Sequence[Array], count: int) -> Array:
    return np.stack(columns, axis=1) if columns else np.empty((count, 0))


def _quoted(names: Sequence[str] | Mapping[str, Variable]) -> str:
    return ", ".join(map(repr, names)) or "none"
