"""What an FMU's model description says of it as a plant: inputs, outputs, parameters, step size, seed."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.face import Alias, Face, Text
from surrogate_fmu.plant.fmu_unit import read_unit
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import FMI3_TYPES, Causality, EnumerationItem, Variability, Variable, VariableType

_INTEGERS = {"Integer", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"}
_NUMERIC = {"Real", "Float32", "Float64", "Boolean", "Enumeration"} | _INTEGERS
_SEED = re.compile(r"(?:.*[._])?(?:random_?)?seed", re.IGNORECASE)
_SHOWN = 12  # names in a message
_REFERENCES = 2**32  # there are so many
_INNER = {
    "local": "local variables",
    "calculatedParameter": "calculated parameters",
    "structuralParameter": "structural parameters",
}
_CAPABILITIES = {
    "hasEventMode": "the plant has an event mode",
    "providesIntermediateUpdate": "the plant tells of intermediate times",
    "mightReturnEarlyFromDoStep": "the plant may return early from a step",
    "canInterpolateInputs": "the plant interpolates inputs over a step",
    "maxOutputDerivativeOrder": "the plant has derivatives of outputs by time",
}


@dataclass(frozen=True)
class FmuInterface:
    """An FMU as a plant.

    Attributes:
        variables: what is modelled, in the order of the model description.
        held: what is set before a run, besides parameters that are modelled, by name.
        seed: name of the parameter that takes the plant seed; empty where there is none.
        communication_step_size: [s].
        left_out: what the FMU has and a surrogate of it has not, a sentence each.
        face: what it has besides what is modelled, as far as a system may be wired to it.
    """

    variables: tuple[Variable, ...]
    held: Mapping[str, float]
    seed: str
    communication_step_size: float
    left_out: tuple[str, ...]
    face: Face


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
    seed = _find_seed(known, settings, name)
    face = _read_face(description, modelled, settings.values, seed)
    return FmuInterface(
        tuple(_variable(v, description.unitDefinitions, name) for v in description.modelVariables if v.name in modelled),
        dict(settings.values),
        seed,
        _step_size(description, settings, name),
        tuple(_left_out(description, modelled, face)),
        face,
    )


def _choose(known: dict[str, Any], names: Sequence[str], causalities: tuple[str, ...], kind: str, fmu: str) -> list[Any]:
    if names:
        return [_find(known, name, causalities, kind, fmu) for name in names]
    return [
        v
        for v in known.values()
        if v.causality in causalities
        and v.type in _NUMERIC
        and not v.dimensions
        and v.variability != "constant"
        and v.alias is None
    ]


def _find(known: dict[str, Any], name: str, causalities: tuple[str, ...], kind: str, fmu: str) -> Any:
    there = [v.name for v in known.values() if v.causality in causalities and v.type in _NUMERIC]
    if name not in there:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        raise ConfigError(f"{fmu} has no numeric {kind} {name!r}; it has {', '.join(there[:_SHOWN]) or 'none'}{more}")
    if known[name].dimensions:
        raise ConfigError(f"{fmu}: {name!r} is an array; recordings are of scalars, leave it out")
    if known[name].alias is not None:
        raise ConfigError(f"{fmu}: {name!r} is another name of {known[name].alias.name!r}; name that one")
    return known[name]


def _find_seed(known: dict[str, Any], settings: PlantSettings, name: str) -> str:
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


def _variable(variable: Any, units: Sequence[Any], fmu: str) -> Variable:
    causality = {"input": Causality.INPUT, "output": Causality.OUTPUT}.get(variable.causality, Causality.PARAMETER)
    kind = _type_of(variable)
    declared = variable.declaredType
    low, high, nominal = (_number(_declared(variable, attribute)) for attribute in ("min", "max", "nominal"))
    if low is not None and high is not None and low >= high:
        low = high = None
    items = tuple(EnumerationItem(i.name, int(i.value), i.description or "") for i in declared.items) if declared else ()
    unit, display_unit, plant_unit = read_unit(variable, units) if kind is VariableType.REAL else ("1", None, None)
    constant = variable.variability == "constant"
    start = _start(variable) if causality is not Causality.OUTPUT or constant else None
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
            variability=_variability(variable, causality, kind),
            value_reference=variable.valueReference,
            type=kind,
            items=items if kind is VariableType.ENUMERATION else (),
            type_name=declared.name if kind is VariableType.ENUMERATION else None,
            fmi3_type=variable.type if variable.type in FMI3_TYPES and variable.type not in ("Float64", "Int32") else None,
            plant_unit=plant_unit,
        )
    except ValueError as error:
        raise ConfigError(f"{fmu}: its modelDescription.xml cannot be used: {error}") from error


def _type_of(variable: Any) -> VariableType:
    if variable.type in _INTEGERS:
        return VariableType.INTEGER
    return {"Boolean": VariableType.BOOLEAN, "Enumeration": VariableType.ENUMERATION}.get(variable.type, VariableType.REAL)


def _variability(variable: Any, causality: Causality, kind: VariableType) -> Variability:
    """That of the FMU where a surrogate can have it: what is modelled of a parameter is fixed during a run."""
    if variable.variability == "constant" and causality is Causality.OUTPUT:
        return Variability.CONSTANT
    if causality is Causality.PARAMETER:
        return Variability.FIXED
    return Variability.CONTINUOUS if kind is VariableType.REAL and variable.variability != "discrete" else Variability.DISCRETE


def _declared(variable: Any, attribute: str) -> Any:
    """An attribute of the variable, else of its type definition."""
    value = getattr(variable, attribute)
    return getattr(variable.declaredType, attribute, None) if value is None else value


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


def _read_face(description: Any, modelled: set[str], values: Mapping[str, float], seed: str) -> Face:
    """What a system may be wired to besides what is modelled."""
    kept, texts, order, own_seed, taken = [], [], [], None, []
    outputs = {v.name for v in description.modelVariables if v.causality == "output" and v.name in modelled}
    for variable in description.modelVariables:
        if variable.name in modelled:
            order.append(variable.name)
        elif variable.name == seed and variable.type in _INTEGERS:
            order.append(seed)
            own_seed = _variable(variable, description.unitDefinitions, seed)
        elif _is_kept(variable):
            order.append(variable.name)
            kept.append(_kept(variable, description.unitDefinitions))
        elif _is_text(variable):
            order.append(variable.name)
            texts.append(Text(variable.name, variable.start or "", variable.valueReference, variable.description or ""))
        elif "." not in variable.name or variable.name.rpartition(".")[0] in outputs:
            taken.append(variable.name)
    independent = next((v for v in description.modelVariables if v.causality == "independent"), None)
    return Face(
        tuple(order),
        tuple(kept),
        own_seed,
        _free_reference(v.valueReference for v in description.modelVariables),
        tuple(taken),
        None if independent is None else independent.name,
        None if independent is None else independent.valueReference,
        {v.name: values[v.name] for v in kept if values.get(v.name, v.start) != v.start},
        tuple(
            Alias(v.name, v.alias.name, v.description if v.description != v.alias.description else "", _own_display(v))
            for v in description.modelVariables
            if v.alias is not None and v.alias.name in order
        ),
        tuple(texts),
        description.variableNamingConvention != "structured",
    )


def _is_kept(variable: Any) -> bool:
    """Whether it stays as a constant: numbers that a master may set, and constant outputs."""
    if variable.type not in _NUMERIC or variable.dimensions or variable.alias is not None:
        return False
    return variable.causality in ("input", "parameter") or (variable.causality == "output" and variable.variability == "constant")


def _is_text(variable: Any) -> bool:
    return variable.type == "String" and variable.causality == "parameter" and not variable.dimensions and variable.alias is None


def _own_display(alias: Any) -> str:
    return alias.displayUnit if alias.displayUnit and alias.displayUnit != alias.alias.displayUnit else ""


def _kept(variable: Any, units: Sequence[Any]) -> Variable:
    kept = _variable(variable, units, variable.name)
    # It plays no role when it is written, so it can have the variability that it has.
    tunable = kept.causality is Causality.PARAMETER and variable.variability == "tunable"
    return replace(kept, variability=Variability.TUNABLE) if tunable else kept


def _free_reference(references: Iterable[int]) -> int:
    """Where the longest row of numbers begins that are no value references: as a rule, behind the last one."""
    used = sorted({*references, _REFERENCES})
    begins = [0, *(reference + 1 for reference in used)]
    return max(zip(begins, used, strict=False), key=lambda gap: gap[1] - gap[0])[0]


def _left_out(description: Any, modelled: set[str], face: Face) -> list[str]:
    sentences = []
    there = {*modelled, *face.order}
    for variable in description.modelVariables:
        if variable.name in there or variable.alias is not None or variable.causality not in ("input", "output", "parameter"):
            continue
        why = "is no number" if variable.type not in _NUMERIC else "is an array" if variable.dimensions else "was not chosen"
        sentences.append(f"{variable.causality} {variable.name} {why}")
    for causality, what in _INNER.items():
        count = sum(v.causality == causality for v in description.modelVariables)
        if count:
            sentences.append(f"{count} {what}, which a master can only read")
    tunable = [v.name for v in description.modelVariables if v.name in modelled and v.variability == "tunable"]
    if tunable:
        sentences.append(f"parameters that are set during a run: {_names(tunable)}; the surrogate takes them before it")
    started = [
        v.name for v in description.modelVariables if v.name in modelled and v.causality == "output" and v.initial != "calculated"
    ]
    if started:
        sentences.append(f"outputs whose start value is set: {_names(started)}; the surrogate calculates it")
    return sentences + _lacking(description)


def _lacking(description: Any) -> list[str]:
    """What the FMU can do and no surrogate can."""
    co_simulation = description.coSimulation
    sentences = [sentence for flag, sentence in _CAPABILITIES.items() if getattr(co_simulation, flag, False)]
    if description.modelExchange is not None:
        sentences.append("the plant is there for model exchange, too")
    if getattr(description, "scheduledExecution", None) is not None:
        sentences.append("the plant is there for scheduled execution, too")
    if any(variable.type == "Clock" for variable in description.modelVariables):
        sentences.append("the plant has clocks")
    return sentences


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
