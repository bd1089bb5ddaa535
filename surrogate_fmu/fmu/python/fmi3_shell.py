"""A Python FMU as the library of PythonFMU3 calls it: FMI 3.0, with arrays as one variable each.

PythonFMU3's own table of variables is not used: its setter of arrays fails with numpy 2.4 and later, and it knows no value
references but 0, 1, 2, ...; the library calls the methods below with the references of the model description.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pythonfmu3.fmi3slave
from pythonfmu3.enums import Fmi3Status

from surrogate_fmu.errors import InputError
from surrogate_fmu.fmu.interface import LONG_MAX, Scalar, surrogate_interface
from surrogate_fmu.manifest import Manifest


class Fmi3Slave(pythonfmu3.fmi3slave.Fmi3Slave):  # type: ignore[misc]
    """Joined with a `Slave`; the library looks for the word Fmi3Slave in the line that declares the class.

    An element of an array has a reference of its own inside, below 0, which no master can name.
    """

    prefix = "fmi3"
    start_time = None  # the library does not pass it on
    status_error, status_warning = Fmi3Status.error, Fmi3Status.warning
    log_categories: ClassVar[dict[str, str]] = {
        f"logStatus{status.name.capitalize()}": status.name for status in Fmi3Status if status is not Fmi3Status.ok
    }

    _elements: ClassVar[dict[int, list[int]]] = {}  # references of the elements by that of their array

    @classmethod
    def interface(
        cls, manifest: Manifest, external_latents: bool, statistics: Mapping[str, bool], members: int
    ) -> tuple[Scalar, ...]:
        """The variables of the model description, elements of arrays one by one."""
        scalars: list[Scalar] = []
        next_reference = -1
        seed_max = LONG_MAX - (members - 1)
        for variable in surrogate_interface(manifest, external_latents, statistics, True, seed_max):
            if not variable.shape:
                scalars.append(variable)
                continue
            references = list(range(next_reference, next_reference - variable.size, -1))
            next_reference -= variable.size
            cls._elements[variable.value_reference] = references
            scalars += [
                replace(variable, shape=(), value_reference=reference, offset=variable.offset + place)
                for place, reference in enumerate(references)
            ]
        return tuple(scalars)

    def get_float64(self: Any, vrs: list[int]) -> list[float]:
        """Elements of the variables, one behind the other; NaN for a reference that is none."""
        values: list[float] = self.get_real(self._expanded(vrs))
        return values

    def set_float64(self: Any, vrs: list[int], values: list[float]) -> None:
        """Take those elements that are finite and inside min to max."""
        references = self._expanded(vrs)
        if len(references) == len(values):
            self.set_real(references, values)
            return
        error = InputError(f"fmi3SetFloat64 was given {len(values)} values for {len(references)} elements; give all of them")
        self._table.refusals.update(dict.fromkeys(references, error))
        self._log_error(error)

    def get_int64(self: Any, vrs: list[int]) -> list[int]:
        """Integers and enumerations; 0 for a reference that is none."""
        values: list[int] = self.get_integer(vrs)
        return values

    def set_int64(self: Any, vrs: list[int], values: list[int]) -> None:
        """Take those integers and enumerations that are inside min to max."""
        self.set_integer(vrs, values)

    def _expanded(self, vrs: Sequence[int]) -> list[int]:
        elements = self._elements
        return [reference for vr in vrs for reference in elements.get(vr, (vr,))]
