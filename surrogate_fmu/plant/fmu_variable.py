"""A scalar variable of an FMU's model description as a variable of this package."""

import math
from collections.abc import Sequence
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.fmu_unit import read_unit
from surrogate_fmu.variables import FMI3_TYPES, Causality, EnumerationItem, Variability, Variable, VariableType

INTEGERS = {"Integer", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"}
NUMERIC = {"Real", "Float32", "Float64", "Boolean", "Enumeration"} | INTEGERS


def read_variable(variable: Any, units: Sequence[Any], fmu: str, stays: bool = False) -> Variable:
    """The variable as it is modelled. Of an array the first element has the value reference, the others have none.

    Args:
        variable: of FMPy's model description.
        units: of FMPy's model description.
        fmu: name of the FMU, for messages.
        stays: whether an output counts as a constant, at its start value or at 0.

    Raises:
        ConfigError: the description contradicts itself.
    """
    causality = {"input": Causality.INPUT, "output": Causality.OUTPUT}.get(variable.causality, Causality.PARAMETER)
    kind = _type_of(variable)
    declared = variable.declaredType
    low, high, nominal = (_number(_declared(variable, attribute)) for attribute in ("min", "max", "nominal"))
    if low is not None and high is not None and low >= high:
        low = high = None
    items = tuple(EnumerationItem(i.name, int(i.value), i.description or "") for i in declared.items) if declared else ()
    unit, display_unit, plant_unit = read_unit(variable, units) if kind is VariableType.REAL else ("1", None, None)
    constant = stays or variable.variability == "constant"
    start = start_value(variable) if causality is not Causality.OUTPUT or constant else None
    if kind is VariableType.ENUMERATION and not items:
        raise ConfigError(f"{fmu}: the enumeration {variable.name!r} has no type with items; export the FMU again")
    if kind is VariableType.ENUMERATION and start is not None and start not in {item.value for item in items}:
        start = float(items[0].value)
    try:
        return Variable(
            variable.name,
            causality,
            unit,
            description=variable.description or "",
            start=start,
            min=None if kind is VariableType.BOOLEAN else low,
            max=None if kind is VariableType.BOOLEAN else high,
            nominal=nominal if kind is VariableType.REAL else None,
            display_unit=display_unit,
            variability=_variability(variable, causality, kind, constant),
            value_reference=variable.valueReference if getattr(variable, "index", 0) == 0 else None,
            type=kind,
            items=items if kind is VariableType.ENUMERATION else (),
            type_name=declared.name if kind is VariableType.ENUMERATION else None,
            fmi3_type=variable.type if variable.type in FMI3_TYPES and variable.type not in ("Float64", "Int32") else None,
            plant_unit=plant_unit,
            relative=bool(_declared(variable, "relativeQuantity")) and kind is VariableType.REAL,
        )
    except ValueError as error:
        raise ConfigError(f"{fmu}: its modelDescription.xml cannot be used: {error}") from error


def _type_of(variable: Any) -> VariableType:
    if variable.type in INTEGERS:
        return VariableType.INTEGER
    return {"Boolean": VariableType.BOOLEAN, "Enumeration": VariableType.ENUMERATION}.get(variable.type, VariableType.REAL)


def _variability(variable: Any, causality: Causality, kind: VariableType, constant: bool) -> Variability:
    """That of the FMU where a surrogate can have it."""
    if constant and causality is Causality.OUTPUT:
        return Variability.CONSTANT
    if causality is Causality.PARAMETER:
        tunable = variable.causality == "parameter" and variable.variability == "tunable"
        return Variability.TUNABLE if tunable else Variability.FIXED
    return Variability.CONTINUOUS if kind is VariableType.REAL and variable.variability != "discrete" else Variability.DISCRETE


def _declared(variable: Any, attribute: str) -> Any:
    """An attribute of the variable, else of its type definition."""
    value = getattr(variable, attribute, None)
    return getattr(variable.declaredType, attribute, None) if value in (None, False) else value


def start_value(variable: Any) -> float:
    """Where a variable starts, as a number; 0 where the FMU says none."""
    text = str(variable.start or "0").split()[0]
    return _number(text) or 0.0


def _number(text: Any) -> float | None:
    if text is None or text == "":
        return None
    if str(text).lower() in ("true", "false"):
        return float(str(text).lower() == "true")
    value = float(text)
    return value if math.isfinite(value) else None
