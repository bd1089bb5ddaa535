"""Array variables of an FMU (FMI 3.0) as the scalars that they are made of, named as FMI 2.0 flattens arrays: `T[1]`, `M[2,3]`."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.face import FaceArray
from surrogate_fmu.plant.fmu_variable import NUMERIC

ARRAY_LIMIT = 1024
"""Elements of an array: each is a column of recordings, a variable of the manifest and a row of the generated C."""
_CAUSALITIES = ("input", "output", "parameter")
T = TypeVar("T")


class ArrayElement:
    """An element of an array: FMPy's variable of the array, but for the name, the start value and the dimensions.

    Args:
        variable: of FMPy's model description.
        array: that it is of.
        index: place among the elements, row-major from 0.
        start: its value in the list of the array, None where there is none.
    """

    def __init__(self, variable: Any, array: FaceArray, index: int, start: str | None) -> None:
        self._variable = variable
        self.array, self.index = array, index
        self.name, self.start = array.elements[index], start
        self.dimensions: list[Any] = []
        self.shape: tuple[int, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._variable, name)

    @property
    def sized_by(self) -> tuple[str, ...]:
        """Names of the variables that are the sizes of its array."""
        return tuple(d.variable.name for d in self._variable.dimensions if d.variable is not None)


def in_elements(variables: Iterable[Any], fmu: str) -> list[Any]:
    """FMPy's variables with the elements of inputs, outputs and parameters that are arrays of numbers in the place of these.

    Sizes that a structural parameter or a constant gives are those that it starts with. Other arrays stay: of texts and binaries,
    with more than `ARRAY_LIMIT` elements, and other names of arrays.

    Args:
        variables: of FMPy's model description.
        fmu: name of the FMU, for messages.

    Raises:
        ConfigError: an array has a wrong number of start values, or another variable is called as one of its elements.
    """
    expanded: list[Any] = []
    names = set()
    for variable in variables:
        names.add(variable.name)
        expanded += _elements(variable, fmu) if _is_taken(variable) else [variable]
    for element in expanded:
        if isinstance(element, ArrayElement) and element.name in names:
            raise ConfigError(
                f"{fmu} has the array {element.array.name!r} and a variable {element.name!r}, as which an element of it counts "
                "here; call one of them otherwise and export it again"
            )
    return expanded


def arrays_of(variables: Iterable[Any]) -> dict[str, FaceArray]:
    """The arrays whose elements are among some variables, by name."""
    return {v.array.name: v.array for v in variables if isinstance(v, ArrayElement)}


def array_of(variable: Any) -> FaceArray | None:
    """The array that a variable is an element of."""
    return variable.array if isinstance(variable, ArrayElement) else None


def with_elements(names: Iterable[str], arrays: Mapping[str, FaceArray]) -> tuple[str, ...]:
    """Names with those of arrays replaced by the names of their elements, each once."""
    return tuple(dict.fromkeys(n for name in names for n in (arrays[name].elements if name in arrays else (name,))))


def by_element(values: Mapping[str, T], arrays: Mapping[str, FaceArray]) -> dict[str, T]:
    """What is said of an array said of each of its elements; what is said of an element itself counts."""
    whole = {n: value for name, value in values.items() if name in arrays for n in arrays[name].elements}
    return whole | {name: value for name, value in values.items() if name not in arrays}


def size_of(variable: Any) -> int:
    """Number of elements of FMPy's variable, with the sizes that it starts with."""
    return math.prod(variable.shape or ())


def _is_taken(variable: Any) -> bool:
    if not variable.dimensions or variable.alias is not None or variable.type not in NUMERIC:
        return False
    return variable.causality in _CAUSALITIES and 0 < size_of(variable) <= ARRAY_LIMIT


def _elements(variable: Any, fmu: str) -> list[ArrayElement]:
    array = FaceArray(variable.name, tuple(variable.shape), variable.valueReference)
    size, starts = size_of(variable), str(variable.start or "").split()
    if len(starts) not in (0, 1, size):
        raise ConfigError(
            f"{fmu}: the array {variable.name!r} has {size} elements and {len(starts)} start values; expected {size}, or one for "
            "all, so export the FMU again"
        )
    # One value stands for all elements (FMI 3.0.2, section 2.4.7.5).
    each: list[str | None] = [*starts] if len(starts) == size else [starts[0] if starts else None] * size
    return [ArrayElement(variable, array, index, start) for index, start in enumerate(each)]
