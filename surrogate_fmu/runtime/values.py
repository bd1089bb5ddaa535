"""Values by name as the flat numbers of a run, and their checks. Needs no torch: a client of the service checks too."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import CallOrderError, InputError
from surrogate_fmu.manifest import Manifest, ZMode
from surrogate_fmu.runtime.communication_step import count_substeps
from surrogate_fmu.runtime.slots import make_slots, read_slots
from surrogate_fmu.variables import find_variable

Value = float | Sequence[float] | NDArray[Any]


class ConditionValues:
    """Reads and checks the values of one model.

    Args:
        manifest: of the model.

    Attributes:
        start: the start values of all inputs and parameters (condition_dim,).
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._condition = make_slots(manifest.condition)
        self._outputs = make_slots(manifest.outputs)
        self.start = tuple(float(v.start or 0.0) for v in manifest.condition for _ in range(v.size))

    def apply(self, condition: tuple[float, ...], values: Mapping[str, Value], running: bool) -> tuple[float, ...]:
        """The condition (condition_dim,) with some values set: all of them, or an error.

        Args:
            condition: as it was.
            values: by name, in their units.
            running: whether the run has started, so that parameters are fixed, unless they are tunable.

        Raises:
            InputError: a name is unknown or an output, or a value is not finite, of the wrong shape or outside min to max.
            CallOrderError: a fixed parameter while running.
        """
        changed = list(condition)
        for name, value in values.items():
            slot = self._condition.get(name)
            if slot is None:
                raise self._not_settable(name)
            variable, place, low, high = slot
            if running and not variable.is_settable_in_run:
                raise CallOrderError(f"{name!r} is a parameter and fixed during a run; call reset, set it, and initialize again")
            if isinstance(value, float) and not variable.shape:  # every input at every step comes this way
                elements = [value]
            else:
                array = _numbers(f"{name!r}: expected a number in {variable.unit!r}", value)
                if array.shape != variable.shape:
                    raise InputError(f"{name!r}: expected the shape {variable.shape}, got {array.shape}")
                elements = array.ravel().tolist()
            for element in elements:
                if not math.isfinite(element):
                    raise InputError(f"{name!r}: expected finite numbers in {variable.unit!r}, got {value!r}")
                if not low <= element <= high:
                    raise InputError(f"{name!r}: {value!r} is outside the allowed range [{low:g}, {high:g}] {variable.unit}")
            changed[place] = elements
        return tuple(changed)

    def read(self, condition: tuple[float, ...]) -> dict[str, Any]:
        """Inputs and parameters by name: a float, or an array (shape) for array variables."""
        return read_slots(self._condition, condition)

    def read_outputs(self, outputs: tuple[float, ...]) -> dict[str, Any]:
        """Outputs by name: a float, or an array (shape) for array variables."""
        return read_slots(self._outputs, outputs)

    def latent(self, z: Value, z_mode: ZMode, call: str) -> tuple[float, ...]:
        """The latent that a caller gives: (latent_dim,), or (run_latent_dim,) where step latents are to be drawn from the seed.

        Raises:
            InputError: z_mode is not `external`, or it is not that many finite numbers.
        """
        if z_mode is not ZMode.EXTERNAL:
            raise InputError(f"{call} was given z, but z_mode is {z_mode}; use z_mode='external' or leave z out")
        latent = _numbers("z: expected numbers", z)
        run_part = (self._manifest.run_latent_dim or self._manifest.latent_dim,)
        if latent.shape not in ((self._manifest.latent_dim,), run_part) or not np.isfinite(latent).all():
            raise InputError(f"z: expected {self._manifest.latent_dim} finite numbers (run latents, then step latents), got {z!r}")
        return tuple(latent.tolist())

    def substeps(self, communication_step_size: float | None, communication_point: float) -> int:
        """How many steps of the generator a communication step [s] from a point [s] is; None is one.

        Raises:
            StepSizeError: it is no whole multiple of the generator's step, or too many of them.
        """
        if communication_step_size is None:
            return 1
        return count_substeps(communication_step_size, self._manifest.step_size, communication_point)

    def columns(
        self, columns: Mapping[str, NDArray[np.float64]], count: int
    ) -> tuple[list[tuple[slice, NDArray[np.float64]]], dict[int, InputError]]:
        """Columns of many runs, one row each, as blocks of the condition; and the rows that have a value which cannot be used.

        Args:
            columns: by name, (count, shape of the variable...).
            count: of the runs.

        Raises:
            InputError, CallOrderError: a name is unknown, an output or a fixed parameter, or a column has the wrong shape.
        """
        blocks: list[tuple[slice, NDArray[np.float64]]] = []
        refused: dict[int, InputError] = {}
        for name, column in columns.items():
            slot = self._condition.get(name)
            if slot is None:
                raise self._not_settable(name)
            variable, place, low, high = slot
            if not variable.is_settable_in_run:
                raise CallOrderError(f"{name!r} is a parameter and fixed during a run; call reset, set it, and initialize again")
            if column.shape != (count, *variable.shape):
                raise InputError(f"{name!r}: expected a column of the shape {(count, *variable.shape)}, got {column.shape}")
            block = column.reshape(count, variable.size)
            usable = ((block >= low) & (block <= high) & np.isfinite(block)).all(axis=1)
            for row in np.flatnonzero(~usable):
                value = column[row].tolist()
                refused.setdefault(
                    int(row),
                    InputError(
                        f"{name!r}: expected finite numbers in {variable.unit!r}, got {value!r}"
                        if not np.isfinite(block[row]).all()
                        else f"{name!r}: {value!r} is outside the allowed range [{low:g}, {high:g}] {variable.unit}"
                    ),
                )
            blocks.append((place, block))
        return blocks, refused

    def _not_settable(self, name: str) -> InputError:
        find_variable(self._manifest.variables, name)
        return InputError(f"{name!r} is an output and cannot be set; inputs are {[v.name for v in self._manifest.inputs]}")


def _numbers(expectation: str, value: Value) -> NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{expectation}, got {value!r}") from error
