"""A Python FMU as the library of PythonFMU3 calls it: FMI 3.0, with arrays as one variable each.

PythonFMU3's own table of variables is not used: its setter of arrays fails with numpy 2.4 and later, and it knows no value
references but 0, 1, 2, ...; the library calls the methods below with the references of the model description.
"""

import ctypes
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pythonfmu3.fmi3slave
from pythonfmu3.enums import Fmi3Status

from surrogate_fmu.errors import InputError
from surrogate_fmu.fmu.config import OwnOutputs
from surrogate_fmu.fmu.interface import LONG_MAX, surrogate_interface
from surrogate_fmu.fmu.python.slave import unsigned
from surrogate_fmu.fmu.scalar import Kind, Scalar
from surrogate_fmu.manifest import Manifest

_FIRST_ELEMENT = 2**40  # beyond all value references


class Fmi3Slave(pythonfmu3.fmi3slave.Fmi3Slave):  # type: ignore[misc]
    """Joined with a `Slave`; the library looks for the word Fmi3Slave in the line that declares the class.

    An element of an array has a reference of its own inside, which no master can name.
    """

    prefix = "fmi3"
    start_time = None  # the library does not pass it on
    status_error, status_warning = Fmi3Status.error, Fmi3Status.warning
    log_categories: ClassVar[dict[str, str]] = {
        f"logStatus{status.name.capitalize()}": status.name for status in Fmi3Status if status is not Fmi3Status.ok
    }

    _types: ClassVar[dict[int, str]] = {}  # of whole numbers that are no Int64, by reference

    @classmethod
    def interface(
        cls,
        manifest: Manifest,
        external_latents: bool,
        statistics: Mapping[str, bool],
        members: int,
        own_outputs: OwnOutputs = OwnOutputs.TYPED,
    ) -> tuple[Scalar, ...]:
        """The variables of the model description, elements of arrays one by one."""
        scalars: list[Scalar] = []
        elements: dict[int, list[int]] = {}
        next_reference = _FIRST_ELEMENT
        seed_max = LONG_MAX - (members - 1)
        for variable in surrogate_interface(manifest, external_latents, statistics, True, seed_max, own_outputs):
            if variable.kind is Kind.INTEGER:
                cls._types[variable.value_reference] = variable.fmi3_type or "Int64"
            if not variable.shape:
                scalars.append(variable)
                continue
            references = list(range(next_reference, next_reference + variable.size))
            next_reference += variable.size
            elements[variable.value_reference] = references
            parts = variable.elements or [
                replace(variable, shape=(), offset=variable.offset + place) for place in range(variable.size)
            ]
            scalars += [replace(part, value_reference=reference) for part, reference in zip(parts, references, strict=True)]
        cls.array_elements = elements  # there is one FMU for a copy of this class
        return tuple(scalars)

    def get_float64(self: Any, vrs: list[int]) -> list[float]:
        """Elements of the variables, one behind the other; NaN for a reference that is none."""
        values: list[float] = self.get_real(vrs)
        return values

    def set_float64(self: Any, vrs: list[int], values: list[float]) -> None:
        """Take those elements that are finite and inside min to max."""
        self.set_real(vrs, values)

    def get_int64(self: Any, vrs: list[int]) -> list[int]:
        """Integers and enumerations; 0 for a reference that is none."""
        return self._get_whole(vrs, "Int64")  # type: ignore[no-any-return]

    def set_int64(self: Any, vrs: list[int], values: list[int]) -> None:
        """Take those integers and enumerations that are inside min to max."""
        self._set_whole(vrs, values, "Int64")

    def get_int32(self: Any, vrs: list[int]) -> list[int]:
        """Integers; 0 for a reference that is none."""
        return self._get_whole(vrs, "Int32")  # type: ignore[no-any-return]

    def set_int32(self: Any, vrs: list[int], values: list[int]) -> None:
        """Take those integers that are inside min to max."""
        self._set_whole(vrs, values, "Int32")

    def get_uint64(self: Any, vrs: list[int]) -> list[Any]:
        """Integers, as the library wants them; 0 for a reference that is none."""
        return [ctypes.c_uint64(value) for value in self._get_whole(vrs, "UInt64")]

    def set_uint64(self: Any, vrs: list[int], values: list[Any]) -> None:
        """Take those integers that are inside min to max."""
        self._set_whole(vrs, [getattr(value, "value", value) for value in values], "UInt64")

    def _get_whole(self: Any, vrs: list[int], kind: str) -> list[int]:
        vrs = unsigned(vrs)
        wrong = self._of_another_type(vrs, kind)
        good: list[int] = self.get_integer([vr for vr in vrs if vr not in wrong])
        values = iter(good)
        return [0 if vr in wrong else next(values) for vr in vrs for _ in self.array_elements.get(vr, (vr,))]

    def _set_whole(self: Any, vrs: list[int], values: list[int], kind: str) -> None:
        vrs = unsigned(vrs)
        wrong = self._of_another_type(vrs, kind)
        self._table.refusals.update(wrong)
        sizes = [len(self.array_elements.get(vr, (vr,))) for vr in vrs]
        if wrong and sum(sizes) == len(values):
            parts = iter(values)
            values = [
                value for vr, size in zip(vrs, sizes, strict=True) for value in itertools.islice(parts, size) if vr not in wrong
            ]
            vrs = [vr for vr in vrs if vr not in wrong]
        self.set_integer(vrs, values)

    def _of_another_type(self: Any, vrs: list[int], kind: str) -> dict[int, InputError]:
        wrong = {}
        for vr in vrs:
            there = self._types.get(vr, "Int64")
            if there != kind:
                wrong[vr] = InputError(
                    f"value reference {vr} is no {kind} variable of this FMU, but {there}; see its modelDescription.xml"
                )
                self._log_error(wrong[vr])
        return wrong
