"""Whether a surrogate can stand beside a plant, or before it, in a tap."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.scalar import Role
from surrogate_fmu.fmu.tap.partner import own_name, shared_names
from surrogate_fmu.fmu.tap.plan import Mode, TapConfig
from surrogate_fmu.plant.fmu_instance import CoSimulationFmu
from surrogate_fmu.plant.fmu_variable import NUMERIC

_SHOWN = 12  # names in a message
_SETTABLE = ("parameter", "structuralParameter")


def check_partner(plant: CoSimulationFmu, surrogate: CoSimulationFmu, config: TapConfig) -> list[str]:
    """Look for all that the mode needs.

    Args:
        plant, surrogate: the FMUs.
        config: of the tap; mode shadow or guarded.

    Returns:
        What the user should know, a sentence each.

    Raises:
        BuildError: the surrogate lacks a variable, has it with another causality or unit, or does not say what the guard asks.
    """
    has = surrogate.variables
    shared = shared_names(plant.variables, has)
    problems = []
    for variable in plant.variables.values():
        if variable.causality in ("input", "output") and variable.type in NUMERIC and variable.alias is None:
            problems += _problems(variable, has[variable.name] if variable.name in shared else None)
    if problems:
        raise BuildError(
            f"{surrogate.name} cannot stand in for {plant.name}: it lacks {_listed(problems)}. Give the surrogate that was made "
            "of this plant, with all its inputs and outputs"
        )
    if config.mode is Mode.GUARDED:
        _check_guard(plant, surrogate, config)
    return _warnings(plant.variables, shared, surrogate.name, config)


def _problems(variable: Any, other: Any) -> list[str]:
    if other is None:
        return [f"the {variable.causality} {variable.name!r}"]
    if other.causality != variable.causality:
        return [f"{variable.name!r} as {variable.causality} (there it is {other.causality})"]
    units = [v.unit or getattr(v.declaredType, "unit", None) or "1" for v in (variable, other)]
    if units[0] != units[1] and "1" not in units:
        return [f"{variable.name!r} in {units[0]} (there it is in {units[1]})"]
    return []


def _check_guard(plant: CoSimulationFmu, surrogate: CoSimulationFmu, config: TapConfig) -> None:
    in_domain = own_name(surrogate.variables, Role.IN_DOMAIN)
    found = surrogate.variables.get(in_domain)
    distance = surrogate.variables.get(own_name(surrogate.variables, Role.DOMAIN_DISTANCE))  # has it as a surrogate has it
    if found is None or distance is None or found.causality != distance.causality or found.type not in ("Boolean", distance.type):
        raise BuildError(
            f"{surrogate.name} has no variable {in_domain!r} that says where the solver must take over; give a surrogate "
            "that surrogate-fmu has built, or choose --mode shadow"
        )
    outputs = [v.name for v in plant.variables.values() if v.causality == "output" and v.type in NUMERIC]
    for option, names in (("--spread", config.spread), ("--agree", config.agree)):
        for name in names:
            if name not in outputs:
                raise BuildError(f"{option} names {name!r}, which is no output of {plant.name}; it has {_listed(outputs)}")
    for name in config.spread:
        if f"{name}.std" not in surrogate.variables:
            raise BuildError(
                f"{surrogate.name} has no output '{name}.std', so it has no spread to limit; build it with --backend python "
                "--ensemble N, or leave --spread out"
            )


def _warnings(variables: Mapping[str, Any], shared: Collection[str], name: str, config: TapConfig) -> list[str]:
    warnings = []
    without = [v.name for v in variables.values() if v.causality in _SETTABLE and v.name not in shared and v.alias is None]
    if without:
        leads = (
            ": where one is set to another value than its start, the solver leads all the run"
            if config.mode is Mode.GUARDED
            else ""
        )
        warnings.append(f"{name} has no {_listed(without)}{leads}")
    others = [v.name for v in variables.values() if v.causality == "output" and v.type not in NUMERIC]
    if others and config.mode is Mode.GUARDED:
        warnings.append(f"{_listed(others)}: no numbers, so they stay as they were while the surrogate leads")
    return warnings


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
