"""The plan that follows from a survey, as the text of a surrogate.toml that a person can read and change."""

from collections.abc import Mapping, Sequence

from surrogate_fmu.distill.budgets import integrated_input, make_budgets
from surrogate_fmu.distill.choices import choose_size, run_steps, used_balances
from surrogate_fmu.distill.survey import Survey
from surrogate_fmu.distill.survey_text import balance_text, randomness_text, settling_text, structure_text
from surrogate_fmu.distill.toml_text import comment_text, key, quoted, string_list, table
from surrogate_fmu.distill.training_plan import training_lines
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.design import Budget, Range
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Causality, Variable, VariableType, with_causality

_EXCITATIONS = '"steps", "ramps", "noise", "pulses", "constant"'
_EXCITATIONS_OF_WHOLE = '"steps", "pulses", "constant"'
_MOVED = 0.02  # of what an input's integral can move in a run: less is not compared
_SHOWN = 12
_MOVED_AT_MOST = 8  # inputs that nobody said anything of
_CLOSED = (VariableType.BOOLEAN, VariableType.ENUMERATION)  # types whose values are all known


def input_ranges(
    variables: Sequence[Variable], given: Mapping[str, Range], held: Mapping[str, float], plant: str
) -> tuple[dict[str, Range], dict[str, float]]:
    """The range of every input that moves: the one given, else that of the plant; and the start value of inputs with neither.

    Raises:
        ConfigError: a name is no input, no input has a range, or too many have none for a survey to move each.
    """
    inputs = with_causality(variables, Causality.INPUT)
    for name in (*given, *held):
        if name not in {v.name for v in inputs}:
            raise ConfigError(f"{plant} has no input {name!r}; it has {_names([v.name for v in inputs])}")
    for name in given.keys() & held.keys():
        raise ConfigError(f"the input {name} has a range and is held at {held[name]:g}; say one of the two")
    ranges = dict(given)
    missing = []
    for variable in inputs:
        if variable.name in ranges or variable.name in held:
            continue
        low, high = variable.limits if variable.type in _CLOSED else (variable.min, variable.max)
        if low is None or high is None:
            missing.append(variable)
        elif low < high:
            ranges[variable.name] = Range(low, high)
    if missing and (not ranges or len(missing) > _MOVED_AT_MOST):
        first = missing[0].name
        raise ConfigError(
            f"{plant} says no range of {_names([v.name for v in missing])}; give each the range that it has in your system, "
            f"--range {first}=LOW:HIGH, or keep it at one value, --hold {first}={missing[0].start:g}"
        )
    if not ranges:
        raise ConfigError(f"all inputs of {plant} are held; give at least one a range: --range {inputs[0].name}=LOW:HIGH")
    return {v.name: ranges[v.name] for v in inputs if v.name in ranges}, {v.name: float(v.start or 0.0) for v in missing}


def check_unnamed(survey: Survey, unnamed: Mapping[str, float], plant: str) -> None:
    """Refuse inputs that nobody gave a range or a value, if they matter.

    Args:
        survey: in which they were moved.
        unnamed: values that they were held at.
        plant: name of its file, for messages.

    Raises:
        ConfigError: one matters.
    """
    matter = [name for name in unnamed if name in survey.effects]
    if matter:
        told = ", ".join(f"{name} (by {survey.effects[name]:.0%} of its range)" for name in matter[:_SHOWN])
        raise ConfigError(
            f"{plant} says no range of inputs that change an output when they are moved: {told}; give each the range that it has "
            f"in your system, --range {matter[0]}=LOW:HIGH, or keep it at one value, --hold {matter[0]}={unnamed[matter[0]]:g}"
        )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def write_plan(
    name: str,
    plant: str,
    settings: PlantSettings,
    variables: Sequence[Variable],
    step_size: float,
    ranges: Mapping[str, Range],
    held: Mapping[str, float],
    parameters: Mapping[str, Range],
    survey: Survey,
    budget_s: float,
    jobs: int,
    left_out: Sequence[str] = (),
) -> str:
    """The text of the surrogate.toml.

    Args:
        name: of the surrogate.
        plant: file of the FMU, beside the configuration.
        settings: how it is driven.
        variables: of the plant.
        step_size: communication step [s].
        ranges: of the inputs that are excited.
        held: values of the inputs that are not.
        parameters: ranges of the parameters that vary.
        survey: what the plant is like.
        budget_s: time [s] that recording and training may take together.
        jobs: worker processes.
        left_out: what the plant has and the surrogate will not have, a sentence each.
    """
    steps = run_steps(survey, budget_s, jobs)
    typed = {v.name for v in variables if v.type is not VariableType.REAL}
    size = choose_size(survey, steps, budget_s, jobs)
    budgets = make_budgets(survey.integrators, survey.limits, variables, ranges, parameters, steps, step_size)
    shortest = max(1, survey.fastest_steps // 2) * step_size
    longest = max(steps // 4, 4) * step_size
    lines = [
        f"# Made from {plant} and {survey.steps} steps of its runs; change what you know better, and run the verbs again.",
        f"# A step takes the plant {1e3 * survey.seconds_per_step:.3g} ms. " + settling_text(survey),
        f"# {randomness_text(survey)}",
        *(f"# {balance_text(integrator)}" for integrator in survey.integrators),
        f"# {structure_text(survey)}",
        *(f"# The surrogate will not have: {sentence}." for sentence in left_out),
        "",
        "[surrogate]",
        f"name = {quoted(name)}",
        f"plant = {quoted(plant)}",
        "",
        "[plant]",
        f"communication_step_size = {step_size!r}",
    ]
    for kind in ("inputs", "outputs", "parameters"):
        if names := getattr(settings, kind):
            lines.append(f"{kind} = {string_list(names)}")
    if settings.values:
        lines.append(f"values = {table(settings.values)}")
    if settings.seed:
        lines.append(f"seed = {quoted(settings.seed)}")
    lines += [f"timeout_s = {settings.timeout_s!r}", "", "[variables]", *(f"{key(v.name)} = {quoted(v.unit)}" for v in variables)]
    lines += ["", "[recording]", f"steps = {steps}", "", "[recording.sets]"]
    lines += [
        f"train = {{ schedules = {size.train}, seed = 1 }}",
        f"validation = {{ schedules = {size.validation}, individuals = {size.validation_individuals}, seed = 2 }}",
        f"test = {{ schedules = {size.test}, individuals = {size.test_individuals}, seed = 3 }}",
    ]
    if held:
        lines += ["", "[recording.design]", f"held = {table(held)}"]
    for input_name, interval in ranges.items():
        lines += [
            "",
            f"[recording.design.inputs.{key(input_name)}]",
            f"min = {interval.min!r}",
            f"max = {interval.max!r}",
            f"excitations = [{_EXCITATIONS if input_name not in typed else _EXCITATIONS_OF_WHOLE}]",
            f"hold_s = [{shortest!r}, {max(longest, shortest)!r}]",
        ]
    if parameters:
        lines += ["", "[recording.design.parameters]"]
        lines += [f"{key(n)} = {{ min = {r.min!r}, max = {r.max!r} }}" for n, r in parameters.items()]
    for budget in budgets:
        lines += ["", *_budget(budget, survey)]
    lines += ["", *training_lines(survey, steps, budget_s, jobs), "", *_verify(survey, steps)]
    lines += _kept_balances(survey, variables, ranges, steps, step_size)
    return "\n".join(lines) + "\n"


def _budget(budget: Budget, survey: Survey) -> list[str]:
    outputs = [found.output for found in survey.integrators if found.start == budget.parameter]
    return [
        f"[[recording.design.budgets]] # else {comment_text(outputs[0])} could leave {budget.min:.3g} to {budget.max:.3g} in a run",
        f"input = {quoted(budget.input)}",
        f"parameter = {quoted(budget.parameter)}",
        f"gain = {budget.gain!r}",
        f"min = {budget.min!r}",
        f"max = {budget.max!r}",
        f"reserve_s = {budget.reserve_s!r}",
    ]


def _kept_balances(
    survey: Survey, variables: Sequence[Variable], ranges: Mapping[str, Range], steps: int, step_size: float
) -> list[str]:
    """Balances of one input that the card looks at, and its long runs keep."""
    lines: list[str] = []
    for found in used_balances(survey):
        name = integrated_input(found, variables)
        if name is None or name not in ranges:
            continue
        largest = abs(found.coefficients[0]) * steps * max(abs(ranges[name].min), abs(ranges[name].max))
        lines += [
            "",
            "[[verify.balances]]",
            f"output = {quoted(found.output)}",
            f"input = {quoted(name)}",
            f"gain = {found.coefficients[0] / step_size!r}",
            f"min_moved = {_MOVED * largest!r}",
        ]
    return lines


def _verify(survey: Survey, steps: int) -> list[str]:
    leads = sorted({max(1, steps // 12), max(2, steps // 4)})
    lines = ["[verify]", f"leads = {leads}"]
    if survey.settling_steps is None and not survey.is_random:
        lines += ["rollout_count = 0 # the plant itself need not stay in its range over longer runs"]
    else:
        lines += ["rollout_count = 32", f"rollout_steps = {5 * steps}"]
    return lines
