"""What an FMU has besides what is modelled of it, as far as a system may be wired to it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.face import OWN_NAMES, Alias, Face, Text
from surrogate_fmu.plant.fmu_arrays import array_of, arrays_of
from surrogate_fmu.plant.fmu_variable import INTEGERS, NUMERIC, read_variable
from surrogate_fmu.variables import Variable

_REFERENCES = 2**32  # there are so many


def read_face(description: Any, modelled: set[str], values: Mapping[str, float], seed: str) -> Face:
    """What a system may be wired to besides what is modelled.

    Args:
        description: FMPy's model description.
        modelled: names of the variables that are modelled.
        values: of others, which were set.
        seed: name of the parameter that takes the seed; empty where there is none.

    Raises:
        ConfigError: the description contradicts itself at the seed.
    """
    kept, texts, order, own_seed, taken = [], [], [], None, []
    outputs = {v.name for v in description.modelVariables if v.causality == "output" and v.name in modelled}
    begun = set(arrays_of(v for v in description.modelVariables if v.name in modelled))
    broken = _broken(description, begun)
    for variable in description.modelVariables:
        array = array_of(variable)
        if variable.name in modelled:
            order.append(variable.name)
        elif variable.name == seed and variable.type in INTEGERS:
            order.append(seed)
            own_seed = read_variable(variable, description.unitDefinitions, seed)
        elif array is not None and array.name in broken:
            continue
        elif array is not None and array.name in begun:
            order.append(variable.name)
            kept.append(_rest_of_array(variable, description.unitDefinitions))
        elif (constant := _kept(variable, description.unitDefinitions)) is not None:
            order.append(variable.name)
            kept.append(constant)
        elif _is_text(variable):
            order.append(variable.name)
            texts.append(Text(variable.name, variable.start or "", variable.valueReference, variable.description or ""))
        elif variable.name.partition("[")[0] in OWN_NAMES or variable.name.rpartition(".")[0] in outputs:
            taken.append(variable.name)
    arrays = [array for array in arrays_of(description.modelVariables).values() if array.elements[0] in order]
    named = {*order, *(array.name for array in arrays)}
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
            if v.alias is not None and v.alias.name in named
        ),
        tuple(texts),
        description.variableNamingConvention != "structured",
        tuple(arrays),
    )


def is_kept(variable: Any) -> bool:
    """Whether it stays as a constant: numbers that a master may set, and constant outputs."""
    if variable.type not in NUMERIC or variable.dimensions or variable.alias is not None:
        return False
    return variable.causality in ("input", "parameter") or (variable.causality == "output" and variable.variability == "constant")


def _is_text(variable: Any) -> bool:
    return variable.type == "String" and variable.causality == "parameter" and not variable.dimensions and variable.alias is None


def _own_display(alias: Any) -> str:
    return alias.displayUnit if alias.displayUnit and alias.displayUnit != alias.alias.displayUnit else ""


def _kept(variable: Any, units: Sequence[Any]) -> Variable | None:
    if not is_kept(variable):
        return None
    try:
        return read_variable(variable, units, variable.name)
    except ConfigError:  # described in a way that cannot be: no reason to refuse the FMU, which is used without it
        return None


def _rest_of_array(variable: Any, units: Sequence[Any]) -> Variable:
    """An element beside those that are modelled; one of an output stays where it starts, at 0 where the FMU says no start."""
    return read_variable(variable, units, variable.name, stays=variable.causality == "output")


def _broken(description: Any, begun: set[str]) -> set[str]:
    """Names of arrays, none of whose elements is modelled, that are described in a way that cannot be."""
    units = description.unitDefinitions
    return {
        array.name
        for variable in description.modelVariables
        if (array := array_of(variable)) is not None
        and array.name not in begun
        and is_kept(variable)
        and _kept(variable, units) is None
    }


def _free_reference(references: Iterable[int]) -> int:
    """Where the longest row of numbers begins that are no value references: as a rule, behind the last one."""
    used = sorted({*references, _REFERENCES})
    begins = [0, *(reference + 1 for reference in used)]
    return max(zip(begins, used, strict=False), key=lambda gap: gap[1] - gap[0])[0]
