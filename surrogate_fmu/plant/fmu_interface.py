"""What an FMU's model description says of it as a plant: inputs, outputs, parameters, step size, seed."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.units import parse_unit
from surrogate_fmu.variables import Causality, Variable

_INTEGERS = {"Integer", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"}
NUMERIC = frozenset({"Real", "Float32", "Float64", "Boolean", "Enumeration"}) | _INTEGERS
"""Types of FMI 2.0 and 3.0 that are numbers."""
_SEED = re.compile(r"(?:.*[._])?(?:random_?)?seed", re.IGNORECASE)
_SHOWN = 12  # names in a message


@dataclass(frozen=True)
class FmuInterface:
    """An FMU as a plant.

    Attributes:
        variables: what is modelled, in the order of the model description.
        held: what is set before a run, besides parameters that are modelled, by name.
        seed: name of the parameter that takes the plant seed; empty where there is none.
        communication_step_size: [s].
        left_out: what the FMU has and a surrogate of it has not, a sentence each.
    """

    variables: tuple[Variable, ...]
    held: Mapping[str, float]
    seed: str
    communication_step_size: float
    left_out: tuple[str, ...]


def read_interface(description: Any, settings: PlantSettings, name: str) -> FmuInterface:
    """Choose what is modelled.

    Args:
        description: FMPy's model description.
        settings: what the user says of it.
        name: of the FMU, for messages.

    Raises:
        ConfigError: it has no outputs or no inputs that can be modelled, a name is unknown or of the wrong kind, or no step size
            is known.
    """
    known = {v.name: v for v in description.modelVariables}
    inputs = _choose(known, settings.inputs, ("input",), "input", name)
    outputs = _choose(known, settings.outputs, ("output",), "output", name)
    parameters = [_find(known, n, ("parameter", "structuralParameter"), "parameter", name) for n in settings.parameters]
    inputs = [v for v in inputs if v.name not in settings.values]
    if not outputs:
        raise ConfigError(f"{name} has no numeric outputs; there is nothing to learn of it")
    if not inputs and not parameters:
        raise ConfigError(f"{name} has no inputs, and no parameters are named; name some in [plant] parameters = [...]")
    modelled = {v.name for v in (*inputs, *outputs, *parameters)}
    for other in settings.values:
        _find(known, other, ("input", "parameter", "structuralParameter"), "input or parameter", name)
    return FmuInterface(
        tuple(variable_of(v) for v in description.modelVariables if v.name in modelled),
        dict(settings.values),
        find_seed(known, settings, name),
        _step_size(description, settings, name),
        tuple(_left_out(description, modelled)),
    )


def _choose(known: dict[str, Any], names: Sequence[str], causalities: tuple[str, ...], kind: str, fmu: str) -> list[Any]:
    if names:
        return [_find(known, name, causalities, kind, fmu) for name in names]
    return [v for v in known.values() if v.causality in causalities and v.type in NUMERIC and not v.dimensions]


def _find(known: Mapping[str, Any], name: str, causalities: tuple[str, ...], kind: str, fmu: str) -> Any:
    there = [v.name for v in known.values() if v.causality in causalities and v.type in NUMERIC]
    if name not in there:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        raise ConfigError(f"{fmu} has no numeric {kind} {name!r}; it has {', '.join(there[:_SHOWN]) or 'none'}{more}")
    if known[name].dimensions:
        raise ConfigError(f"{fmu}: {name!r} is an array; recordings are of scalars, leave it out")
    return known[name]


def find_seed(known: Mapping[str, Any], settings: PlantSettings, name: str) -> str:
    """Name of the parameter that takes the plant seed: the one that is set, or one that is called so; empty where there is none."""
    if settings.seed:
        return str(_find(known, settings.seed, ("parameter",), "parameter", name).name)
    for variable in known.values():
        if variable.causality == "parameter" and variable.type in _INTEGERS and _SEED.fullmatch(variable.name):
            return "" if variable.name in (*settings.parameters, *settings.values) else str(variable.name)
    return ""


def _step_size(description: Any, settings: PlantSettings, name: str) -> float:
    experiment = description.defaultExperiment
    given = settings.communication_step_size or float(getattr(experiment, "stepSize", None) or 0.0)
    fixed = float(getattr(description.coSimulation, "fixedInternalStepSize", None) or 0.0)
    if not given:
        if fixed:
            return fixed
        raise ConfigError(f"{name} says no step size; give the one of your system: communication_step_size in [plant], in seconds")
    if fixed and abs(given / fixed - round(given / fixed)) > 1e-6:
        raise ConfigError(f"{name} steps by {fixed:g} s only; a communication step of {given:g} s is no multiple of it")
    return given


def variable_of(variable: Any) -> Variable:
    """A numeric scalar of FMPy's model description; an input, an output, or what is set before a run."""
    causality = {"input": Causality.INPUT, "output": Causality.OUTPUT}.get(variable.causality, Causality.PARAMETER)
    low, high = (_number(value) for value in (variable.min, variable.max))
    if low is not None and high is not None and low >= high:
        low = high = None
    declared = variable.declaredType
    return Variable(
        variable.name,
        causality,
        _unit(variable.unit or getattr(declared, "unit", None)),
        description=variable.description or "",
        start=None if causality is Causality.OUTPUT else _start(variable),
        min=low,
        max=high,
        nominal=_number(variable.nominal),
        value_reference=variable.valueReference,
    )


def _start(variable: Any) -> float:
    text = str(variable.start or "0").split()[0]
    return _number(text) or 0.0


def _number(text: Any) -> float | None:
    if text is None or text == "":
        return None
    if str(text).lower() in ("true", "false"):
        return float(str(text).lower() == "true")
    value = float(text)
    return value if math.isfinite(value) else None


def _unit(text: str | None) -> str:
    try:
        parse_unit(text or "1")
    except ValueError:
        return "1"
    return text or "1"


def _left_out(description: Any, modelled: set[str]) -> list[str]:
    sentences = []
    for variable in description.modelVariables:
        if variable.name in modelled or variable.causality not in ("input", "output"):
            continue
        why = "is no number" if variable.type not in NUMERIC else "is an array" if variable.dimensions else "was not chosen"
        sentences.append(f"{variable.causality} {variable.name} {why}")
    co_simulation = description.coSimulation
    if getattr(co_simulation, "hasEventMode", False):
        sentences.append("the plant has an event mode")
    if any(variable.type == "Clock" for variable in description.modelVariables):
        sentences.append("the plant has clocks")
    return sentences
