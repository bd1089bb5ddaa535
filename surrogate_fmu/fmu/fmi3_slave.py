"""An FMI 3.0 co-simulation FMU in FMPy, with the method names of FMPy's FMI 2.0 slave."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmpy.fmi3 import FMU3Slave


class Fmi3Slave(FMU3Slave):  # type: ignore[misc]
    """Whole numbers and enumerations are Int64 in a surrogate unless its plant has other ones.

    Args:
        sizes: elements of every variable by value reference.
        types: of those variables whose type is none of Float64, Int64, Enumeration, Boolean, String, by value reference.
        arguments: of FMPy's class.
    """

    def __init__(self, sizes: Mapping[int, int], types: Mapping[int, str] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sizes = sizes
        self._types = types or {}
        self._start_time = 0.0

    def setupExperiment(self, tolerance: float | None = None, startTime: float = 0.0) -> None:
        """Keep the start time for initialization mode."""
        self._start_time = startTime

    def enterInitializationMode(self, *_: Any) -> None:
        super().enterInitializationMode(startTime=self._start_time)

    def getReal(self, references: Sequence[int]) -> list[float]:
        """Elements of the variables, one behind the other."""
        if self._types and any(vr in self._types for vr in references):
            return [value for vr in references for value in self._get(vr, "Float64")]
        values: list[float] = self.getFloat64(references, sum(self._sizes.get(vr, 1) for vr in references))
        return values

    def setReal(self, references: Sequence[int], values: Sequence[float]) -> None:
        """Elements of the variables, one behind the other."""
        if self._types and any(vr in self._types for vr in references):
            self._set(references, values, "Float64")
        else:
            self.setFloat64(references, values)

    def getInteger(self, references: Sequence[int]) -> list[int]:
        """Whole numbers and enumerations."""
        return [int(value) for vr in references for value in self._get(vr, "Int64")]

    def setInteger(self, references: Sequence[int], values: Sequence[int]) -> None:
        """Whole numbers and enumerations."""
        self._set(references, values, "Int64")

    def getBoolean(self, references: Sequence[int], count: int | None = None) -> list[bool]:
        """Elements of the variables, one behind the other."""
        elements = sum(self._sizes.get(vr, 1) for vr in references) if count is None else count
        values: list[bool] = super().getBoolean(references, elements)
        return values

    def _get(self, reference: int, otherwise: str) -> list[Any]:
        values: list[Any] = getattr(self, f"get{self._types.get(reference, otherwise)}")([reference], self._sizes.get(reference, 1))
        return values

    def _set(self, references: Sequence[int], values: Sequence[Any], otherwise: str) -> None:
        place = 0
        for vr in references:
            size = self._sizes.get(vr, 1)
            getattr(self, f"set{self._types.get(vr, otherwise)}")([vr], values[place : place + size])
            place += size

    def getFMUstate(self) -> Any:
        """A state; `freeFMUstate` frees it."""
        return self.getFMUState()

    def setFMUstate(self, state: Any) -> None:
        """Go back to a state."""
        self.setFMUState(state)

    def freeFMUstate(self, state: Any) -> None:
        """Free a state."""
        self.freeFMUState(state)

    def serializeFMUstate(self, state: Any) -> bytes:
        """A state as bytes."""
        serialized: bytes = self.serializeFMUState(state)
        return serialized

    def deSerializeFMUstate(self, serialized: bytes) -> Any:
        """A state from bytes."""
        return self.deserializeFMUState(serialized)
