"""The calls of both versions of FMI that get and set values, by one way each."""

import abc
import ctypes
import math
from collections.abc import Sequence
from typing import Any

from surrogate_fmu.fmu.tap.inner import BOOLEAN, STRING


class ValueCalls(abc.ABC):
    """Names them as the libraries of PythonFMU and PythonFMU3 do; a type is called as FMI's functions are."""

    @abc.abstractmethod
    def _get(self, kind: str, vrs: Sequence[int], nothing: Any) -> list[Any]:
        """Values of a type; `nothing` for each where there are none."""

    @abc.abstractmethod
    def _set(self, kind: str, vrs: Sequence[int], values: Sequence[Any]) -> None:
        """Set values of a type."""

    def get_real(self, vrs: list[int]) -> list[float]:
        """Values by value reference, as all below; NaN for one that the plant does not give."""
        return self._get("Real", vrs, math.nan)

    def get_integer(self, vrs: list[int]) -> list[int]:
        """0 for one that the plant does not give."""
        return self._get("Integer", vrs, 0)

    def get_boolean(self, vrs: list[int]) -> list[bool]:
        """False for one that the plant does not give."""
        return self._get(BOOLEAN, vrs, False)

    def get_string(self, vrs: list[int]) -> list[str]:
        """Empty for one that the plant does not give."""
        return self._get(STRING, vrs, "")

    def get_float64(self, vrs: list[int]) -> list[float]:
        """FMI 3.0."""
        return self._get("Float64", vrs, math.nan)

    def get_int32(self, vrs: list[int]) -> list[int]:
        """FMI 3.0."""
        return self._get("Int32", vrs, 0)

    def get_int64(self, vrs: list[int]) -> list[int]:
        """FMI 3.0."""
        return self._get("Int64", vrs, 0)

    def get_uint64(self, vrs: list[int]) -> list[Any]:
        """FMI 3.0, as the library wants them."""
        return [ctypes.c_uint64(value) for value in self._get("UInt64", vrs, 0)]

    def set_real(self, vrs: list[int], values: list[float]) -> None:
        """Pass values on, as all below."""
        self._set("Real", vrs, values)

    def set_integer(self, vrs: list[int], values: list[int]) -> None:
        """Integers and enumerations."""
        self._set("Integer", vrs, values)

    def set_boolean(self, vrs: list[int], values: list[bool]) -> None:
        """Booleans."""
        self._set(BOOLEAN, vrs, values)

    def set_string(self, vrs: list[int], values: list[str]) -> None:
        """Strings."""
        self._set(STRING, vrs, values)

    def set_float64(self, vrs: list[int], values: list[float]) -> None:
        """FMI 3.0."""
        self._set("Float64", vrs, values)

    def set_int32(self, vrs: list[int], values: list[int]) -> None:
        """FMI 3.0."""
        self._set("Int32", vrs, values)

    def set_int64(self, vrs: list[int], values: list[int]) -> None:
        """FMI 3.0; enumerations too."""
        self._set("Int64", vrs, values)

    def set_uint64(self, vrs: list[int], values: list[Any]) -> None:
        """FMI 3.0."""
        self._set("UInt64", vrs, [getattr(value, "value", value) for value in values])
