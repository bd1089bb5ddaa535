"""What an FMU's model description says of it as a plant: inputs, outputs, parameters, step size, seed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.face import Face, FaceArray
from surrogate_fmu.plant.fmu_arrays import ARRAY_LIMIT, ArrayElement, array_of, arrays_of, by_element, size_of, with_elements
from surrogate_fmu.plant.fmu_face import is_kept, read_face
from surrogate_fmu.plant.fmu_variable import INTEGERS, NUMERIC, read_variable
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Variable

_SEED = re.compile(r"(?:.*[._])?(?:random_?)?seed", re.IGNORECASE)
_SHOWN = 12  # names in a message
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
        arrays: its inputs, outputs and parameters that are arrays, by name; their elements count as variables.
    """

    variables: tuple[Variable, ...]
    held: Mapping[str, float]
    seed: str
    communication_step_size: float
    left_out: tuple[str, ...]
    face: Face
    arrays: Mapping[str, FaceArray] = field(default_factory=dict)


def read_interface(description: Any, settings: PlantSettings, name: str) -> FmuInterface:
    """Choose what is modelled.

    Args:
        description: FMPy's model description, with the elements of arrays in the place of these.
        settings: what the user says of it; the name of an array stands for all its elements.
        name: of the FMU, for messages.

    Raises:
        ConfigError: it has no outputs or no inputs that can be modelled, a name is unknown or of the wrong kind, or no step size
            is known.
    """
    known = {v.name: v for v in description.modelVariables}
    arrays = arrays_of(description.modelVariables)
    settings = _by_element(settings, arrays)
    _check_sizes(description, settings, name)
    inputs = _choose(known, settings.inputs, ("input",), "input", name)
    outputs = [v for v in _choose(known, settings.outputs, ("output",), "output", name) if v.variability != "constant"]
    parameters = [_find(known, n, ("parameter", "structuralParameter"), "parameter", name) for n in settings.parameters]
    inputs = [v for v in inputs if v.name not in settings.values]
    if not outputs:
        raise ConfigError(f"{name} has no numeric outputs; there is nothing to learn of it")
    if not inputs and not parameters:
        raise ConfigError(f"{name} has no inputs, and no parameters are named; name some in [plant] parameters = [...]")
    modelled = {v.name for v in (*inputs, *outputs, *parameters)}
    for other in settings.values:
        _find(known, other, ("input", "parameter", "structuralParameter"), "input or parameter", name)
    seed = find_seed(known, settings, name)
    face = read_face(description, modelled, settings.values, seed)
    return FmuInterface(
        tuple(read_variable(v, description.unitDefinitions, name) for v in description.modelVariables if v.name in modelled),
        dict(settings.values),
        seed,
        _step_size(description, settings, name),
        tuple(_left_out(description, modelled, face)),
        face,
        arrays,
    )


def seed_parameter(variables: Mapping[str, Any]) -> str:
    """Name of the integer parameter that is called after a seed, of FMPy's variables by name; empty where there is none."""
    found = (v for v in variables.values() if v.causality == "parameter" and v.type in INTEGERS and _SEED.fullmatch(v.name))
    return next((str(variable.name) for variable in found), "")


def _by_element(settings: PlantSettings, arrays: Mapping[str, FaceArray]) -> PlantSettings:
    if not arrays:
        return settings
    return replace(
        settings,
        inputs=with_elements(settings.inputs, arrays),
        outputs=with_elements(settings.outputs, arrays),
        parameters=with_elements(settings.parameters, arrays),
        values=by_element(settings.values, arrays),
    )


def _check_sizes(description: Any, settings: PlantSettings, fmu: str) -> None:
    """Refuse to set or to vary what is the size of an array."""
    for variable in description.modelVariables:
        for size in variable.sized_by if isinstance(variable, ArrayElement) else ():
            if size in settings.values or size in settings.parameters:
                raise ConfigError(
                    f"{fmu}: {size!r} is a size of the array {variable.array.name!r}, and arrays are recorded with the sizes that "
                    f"they start with; leave it out, or export the FMU with another start value of {size!r}"
                )


def _choose(known: dict[str, Any], names: Sequence[str], causalities: tuple[str, ...], kind: str, fmu: str) -> list[Any]:
    if names:
        return [_find(known, name, causalities, kind, fmu) for name in names]
    return [
        v
        for v in known.values()
        if v.causality in causalities and v.type in NUMERIC and not v.dimensions and v.variability != "constant" and v.alias is None
    ]


def _find(known: Mapping[str, Any], name: str, causalities: tuple[str, ...], kind: str, fmu: str) -> Any:
    there = [v.name for v in known.values() if v.causality in causalities and v.type in NUMERIC]
    if name not in there:
        shown = _shown([known[n] for n in there])
        raise ConfigError(f"{fmu} has no numeric {kind} {name!r}; it has {_names(shown) or 'none'}")
    if known[name].dimensions and known[name].alias is None:
        raise ConfigError(f"{fmu}: {name!r} is {_why_not(known[name])}; leave it out, or export the FMU with smaller ones")
    if known[name].alias is not None:
        raise ConfigError(f"{fmu}: {name!r} is another name of {known[name].alias.name!r}; name that one")
    return known[name]


def find_seed(known: Mapping[str, Any], settings: PlantSettings, name: str) -> str:
    """Name of the parameter that takes the plant seed: the one that is set, or one that is called so; empty where there is none."""
    if settings.seed:
        return str(_find(known, settings.seed, ("parameter",), "parameter", name).name)
    found = seed_parameter(known)
    return "" if found in (*settings.parameters, *settings.values) else found


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


def _left_out(description: Any, modelled: set[str], face: Face) -> list[str]:
    sentences: dict[str, None] = {}  # of an array one
    there = {*modelled, *face.order}
    for variable in description.modelVariables:
        if variable.name in there or variable.alias is not None or variable.causality not in ("input", "output", "parameter"):
            continue
        why = (
            "is no number"
            if variable.type not in NUMERIC
            else f"is {_why_not(variable)}"
            if variable.dimensions
            else "is described in a way that cannot be"
            if is_kept(variable)
            else "was not chosen"
        )
        array = array_of(variable)
        sentences[f"{variable.causality} {variable.name if array is None else array.name} {why}"] = None
    return [*sentences, *_changed(description, modelled, face), *_lacking(description)]


def _changed(description: Any, modelled: set[str], face: Face) -> list[str]:
    """What the surrogate has otherwise than the plant."""
    sentences = []
    still = [
        v.name
        for v in description.modelVariables
        if v.name in face.order and v.name not in modelled and v.causality == "output" and v.variability != "constant"
    ]
    if still:
        sentences.append(f"elements of outputs that were not chosen: {_names(still)}; they stay where they start")
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
    return sentences


def _lacking(description: Any) -> list[str]:
    """What the FMU can do and no surrogate can."""
    co_simulation = description.coSimulation
    sentences = [sentence for flag, sentence in _CAPABILITIES.items() if getattr(co_simulation, flag, False)]
    if description.modelExchange is not None and co_simulation is not None:
        sentences.append("the plant is there for model exchange, too")
    if getattr(description, "scheduledExecution", None) is not None:
        sentences.append("the plant is there for scheduled execution, too")
    if any(variable.type == "Clock" for variable in description.modelVariables):
        sentences.append("the plant has clocks")
    return sentences


def _why_not(array: Any) -> str:
    if size_of(array) > ARRAY_LIMIT:
        return f"an array of {size_of(array)} elements, more than the {ARRAY_LIMIT} that can be columns of a recording"
    return "an array without elements"


def _shown(variables: Sequence[Any]) -> list[str]:
    """Their names, an array by its own."""
    arrays = [(v, array_of(v)) for v in variables]
    return list(dict.fromkeys(v.name if array is None else array.name for v, array in arrays))


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
