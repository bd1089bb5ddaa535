"""The unit of an FMU's variable: one that this package reads, or one that is only handed on."""

import math
from collections.abc import Sequence
from typing import Any

from surrogate_fmu.units import BASE_UNITS, Unit, parse_unit
from surrogate_fmu.variables import PlantUnit


def read_unit(variable: Any, definitions: Sequence[Any]) -> tuple[str, str | None, PlantUnit | None]:
    """Unit and display unit of a real variable, and how the FMU writes them where those cannot say it.

    A unit whose name this package does not know, or defines otherwise than the FMU does, counts as "1".

    Args:
        variable: of FMPy's model description.
        definitions: the units of FMPy's model description.
    """
    declared = variable.declaredType
    name = variable.unit or getattr(declared, "unit", None) or ""
    display = variable.displayUnit or getattr(declared, "displayUnit", None) or ""
    definition = next((unit for unit in definitions if unit.name == name), None)
    base = None if definition is None else definition.baseUnit
    shown = None if definition is None else next((unit for unit in definition.displayUnits if unit.name == display), None)
    known = _known(name, base)
    if known is not None and (not display or (shown is not None and _is_display(display, known, shown))):
        return name, display or None, None
    exponents = None if base is None else tuple(int(getattr(base, symbol) or 0) for symbol in BASE_UNITS)
    return (
        "1" if known is None else name,
        None,
        PlantUnit(
            name,
            exponents,
            1.0 if base is None else float(base.factor),
            0.0 if base is None else float(base.offset),
            "" if shown is None else display,
            1.0 if shown is None else float(shown.factor),
            0.0 if shown is None else float(shown.offset),
        ),
    )


def _known(name: str, base: Any) -> Unit | None:
    """The unit of that name, if the FMU means it by that."""
    try:
        unit = parse_unit(name)
    except ValueError:
        return None
    if base is None:
        return unit
    exponents = tuple(int(getattr(base, symbol) or 0) for symbol in BASE_UNITS)
    return unit if exponents == unit.exponents and _close(base.factor, unit.factor) and _close(base.offset, unit.offset) else None


def _is_display(name: str, unit: Unit, shown: Any) -> bool:
    display = _known(name, None)
    if display is None or display.exponents != unit.exponents:
        return False
    offset = (unit.offset - display.offset) / display.factor
    return _close(shown.factor, unit.factor / display.factor) and _close(shown.offset, offset)


def _close(told: Any, expected: float) -> bool:
    return math.isclose(float(told), expected, rel_tol=1e-9, abs_tol=1e-12)
