"""Where each variable lies among the scalars of x or y."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from surrogate_fmu.variables import Variable


class Slot(NamedTuple):
    """Where a variable lies among the scalars of x or y, and what values it takes."""

    variable: Variable
    place: slice
    low: float
    high: float


def make_slots(variables: Sequence[Variable]) -> dict[str, Slot]:
    """Slots by name, one variable behind the other."""
    slots, position = {}, 0
    for variable in variables:
        low = -math.inf if variable.min is None else variable.min
        high = math.inf if variable.max is None else variable.max
        slots[variable.name] = Slot(variable, slice(position, position + variable.size), low, high)
        position += variable.size
    return slots


def read_slots(slots: Mapping[str, Slot], scalars: tuple[float, ...]) -> dict[str, Any]:
    """Values by name: a float, or an array (shape) for array variables."""
    return {
        name: np.array(scalars[place]).reshape(variable.shape) if variable.shape else scalars[place.start]
        for name, (variable, place, _, _) in slots.items()
    }
