"""The plan that follows from a survey, as the text of a surrogate.toml that a person can read and change."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from surrogate_fmu.distill.budgets import integrated_input, make_budgets
from surrogate_fmu.distill.integrators import Integrator
from surrogate_fmu.distill.survey import Survey
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.design import Budget, Range
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Causality, Variable, with_causality

_RECORDING_SHARE = 0.5  # of the time that there is
_TRAINING_SHARE = 0.35
_STEPS = (60, 300)
_SETTLINGS = 3.0  # of a run
_LASTING, _NEW = 0.02, 0.05  # roughness below which all randomness lasts a run, above which all is new at every step
_FEW_STEPS = 20
_BALANCED_STEPS = 120  # of a run, where what does not settle is balanced: runs begin all over its range
_POINTS = 40  # of a window that are scored, with the Wiener structure
_MOVED = 0.02  # of what an input's integral can move in a run: less is not compared
_SHOWN = 12


@dataclass(frozen=True)
class Size:
    """How many runs there are time for.

    Attributes:
        train, validation, test: schedules.
        individuals: runs of each schedule of validation and test.
    """

    train: int
    validation: int
    test: int
    validation_individuals: int
    test_individuals: int

    @property
    def runs(self) -> int:
        """All runs."""
        return self.train + self.validation * self.validation_individuals + self.test * self.test_individuals


_DETERMINISTIC = (Size(256, 16, 24, 1, 1), Size(128, 12, 16, 1, 1), Size(64, 8, 12, 1, 1), Size(32, 6, 8, 1, 1))
_RANDOM = (
    Size(1024, 12, 12, 24, 48),
    Size(600, 12, 12, 12, 32),
    Size(400, 10, 12, 10, 20),
    Size(250, 8, 10, 8, 16),
    Size(120, 6, 8, 6, 12),
    Size(60, 6, 8, 4, 8),
)


def input_ranges(
    variables: Sequence[Variable], given: Mapping[str, Range], held: Mapping[str, float], plant: str
) -> dict[str, Range]:
    """The range of every input that is not held: the one given, else min and max of the plant.

    Raises:
        ConfigError: an input has no range, or a name is no input.
    """
    inputs = with_causality(variables, Causality.INPUT)
    for name in (*given, *held):
        if name not in {v.name for v in inputs}:
            raise ConfigError(f"{plant} has no input {name!r}; it has {_names([v.name for v in inputs])}")
    ranges = dict(given)
    missing = []
    for variable in inputs:
        if variable.name in ranges or variable.name in held:
            continue
        if variable.min is None or variable.max is None:
            missing.append(variable)
        else:
            ranges[variable.name] = Range(variable.min, variable.max)
    if missing:
        first = missing[0].name
        raise ConfigError(
            f"{plant} says no range of {_names([v.name for v in missing])}; give each the range that it has in your system, "
            f"--range {first}=LOW:HIGH, or keep it at one value, --hold {first}={missing[0].start:g}"
        )
    if not ranges:
        raise ConfigError(f"all inputs of {plant} are held; give at least one a range: --range {inputs[0].name}=LOW:HIGH")
    return {v.name: ranges[v.name] for v in inputs if v.name in ranges}


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def choose_size(survey: Survey, steps: int, budget_s: float, jobs: int) -> Size:
    """The largest that can be recorded in its share of the time [s], the rest of which goes to training runs; the smallest where
    none can.
    """
    sizes = _RANDOM if survey.is_random else _DETERMINISTIC
    affordable = _RECORDING_SHARE * budget_s * jobs / max(survey.seconds_per_step * steps, 1e-9)
    size = next((size for size in sizes if size.runs <= affordable), sizes[-1])
    left = max(0, int(min(affordable, sizes[0].runs)) - size.runs)
    return replace(size, train=min(size.train + left, sizes[0].train))


def run_steps(survey: Survey) -> int:
    """Steps of a run: some settlings long; where something does not settle, as long as the survey, or less where balances say it."""
    if survey.settling_steps is None:
        return min(survey.steps, _BALANCED_STEPS) if is_driven(survey) else survey.steps
    return int(min(max(_SETTLINGS * survey.settling_steps, _STEPS[0]), _STEPS[1]))


def is_driven(survey: Survey) -> bool:
    """Whether the inputs drive the plant and it forgets them but for its balances: a case for the Wiener structure.

    Individuals that last a run and no noise within it are what the structure is made for; without any randomness the recurrent one,
    which begins with the plant's linear step, is kept.
    """
    remembers_by_balances = survey.settling_steps is not None or bool(survey.integrators)
    found = survey.structures
    return survey.is_random and survey.roughness < _LASTING and remembers_by_balances and found is not None and found.is_driven


def used_balances(survey: Survey) -> tuple[Integrator, ...]:
    """The balances that are worth saying: all where individuals differ; else those that the plant's linear step has not by itself."""
    return tuple(found for found in survey.integrators if survey.is_random or found.is_nonlinear)


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
    """
    steps = run_steps(survey)
    size = choose_size(survey, steps, budget_s, jobs)
    budgets = make_budgets(survey.integrators, survey.limits, variables, ranges, parameters, steps, step_size)
    shortest = max(1, survey.fastest_steps // 2) * step_size
    longest = max(steps // 4, 4) * step_size
    lines = [
        f"# Made from {plant} and {survey.steps} steps of its runs; change what you know better, and run the verbs again.",
        f"# A step takes the plant {1e3 * survey.seconds_per_step:.3g} ms. " + _settling_text(survey),
        f"# {_randomness_text(survey)}",
        *(f"# {_balance_text(integrator)}" for integrator in survey.integrators),
        f"# {_structure_text(survey)}",
        "",
        "[surrogate]",
        f"name = {_text(name)}",
        f"plant = {_text(plant)}",
        "",
        "[plant]",
        f"communication_step_size = {step_size!r}",
    ]
    for key in ("inputs", "outputs", "parameters"):
        if names := getattr(settings, key):
            lines.append(f"{key} = {_list(names)}")
    if settings.values:
        lines.append(f"values = {_table(settings.values)}")
    if settings.seed:
        lines.append(f"seed = {_text(settings.seed)}")
    lines += [f"timeout_s = {settings.timeout_s!r}", "", "[variables]", *(f"{_key(v.name)} = {_text(v.unit)}" for v in variables)]
    lines += ["", "[recording]", f"steps = {steps}", "", "[recording.sets]"]
    lines += [
        f"train = {{ schedules = {size.train}, seed = 1 }}",
        f"validation = {{ schedules = {size.validation}, individuals = {size.validation_individuals}, seed = 2 }}",
        f"test = {{ schedules = {size.test}, individuals = {size.test_individuals}, seed = 3 }}",
    ]
    if held:
        lines += ["", "[recording.design]", f"held = {_table(held)}"]
    for input_name, interval in ranges.items():
        lines += [
            "",
            f"[recording.design.inputs.{_key(input_name)}]",
            f"min = {interval.min!r}",
            f"max = {interval.max!r}",
            'excitations = ["steps", "ramps", "noise", "pulses", "constant"]',
            f"hold_s = [{shortest!r}, {max(longest, shortest)!r}]",
        ]
    if parameters:
        lines += ["", "[recording.design.parameters]"]
        lines += [f"{_key(n)} = {{ min = {r.min!r}, max = {r.max!r} }}" for n, r in parameters.items()]
    for budget in budgets:
        lines += ["", *_budget(budget, survey)]
    lines += ["", *_training(survey, steps, budget_s), "", *_verify(survey, steps)]
    lines += _kept_balances(survey, variables, ranges, steps, step_size)
    return "\n".join(lines) + "\n"


def _training(survey: Survey, steps: int, budget_s: float) -> list[str]:
    seconds = max(30.0, _TRAINING_SHARE * budget_s)
    lines = ["[training]", f"budget_cpu_s = {seconds:.0f}"]
    shortest = min(_FEW_STEPS, steps)
    if not survey.is_random:
        return [
            *lines,
            'objective = "terms"',
            "updates = 4000",
            "batch_size = 32",
            f"window_steps = [{shortest}, {steps}]",
            "learning_rate = 1e-3",
            "validation_members = 2",
            "",
            "[[training.terms]]",
            'name = "mean-error"',
            "options = { members = 1 }",
            "",
            "[training.generator]",
            "linear = true",
            "run_latent_dim = 0",
            "memory_dim = 16",
            "width = 64",
            *_starts(survey),
            *_balances(survey),
        ]
    if is_driven(survey):
        return [*lines, *_wiener(survey, steps)]
    run, step = (8, 0) if survey.roughness < _LASTING else (0, 2) if survey.roughness > _NEW else (4, 2)
    return [
        *lines,
        "updates = 8000",
        "batch_size = 48",
        f"window_steps = [{shortest}, {steps}]",
        "",
        "[training.energy]",
        "members = 4",
        f"reconstruction_weight = {0.3 if run else 0.0}",
        "",
        "[training.generator]",
        "linear = true",
        f"run_latent_dim = {run}",
        f"step_latent_dim = {step}",
        "memory_dim = 16",
        "width = 64",
        *_starts(survey),
        *_balances(survey),
    ]


def _wiener(survey: Survey, steps: int) -> list[str]:
    lines = [
        "updates = 8000",
        "batch_size = 48",
        f"window_steps = [{steps}, {steps}]",
        "",
        "[training.energy]",
        "members = 4",
        "path_weight = 0.0",
        f"points = {min(_POINTS, steps)}",
        "reconstruction_weight = 0.3",
        "",
        "[training.generator]",
        'structure = "wiener"',
        "run_latent_dim = 8",
        "memory_dim = 10",
        "width = 64",
    ]
    indirect = survey.structures.indirect if survey.structures else ()
    # What decays is near what drives it; what does not is where laws are curves along.
    curves = [found.output for found in survey.integrators if not found.decays]
    settings = [f"indirect_inputs = {_list(indirect)}"] if indirect else []
    settings += [f"curves = {_list(curves)}"] if curves and len(curves) < len(survey.integrators) else []
    if settings:
        settings = ["", "[training.generator.wiener]", *settings]
    return [*lines, *_starts(survey), *settings, *_balances(survey)]


def _starts(survey: Survey) -> list[str]:
    starts = list(dict.fromkeys(found.start for found in used_balances(survey) if found.start))
    return [f"initial_parameters = {_list(starts)}"] if starts else []


def _balances(survey: Survey) -> list[str]:
    lines = []
    for found in used_balances(survey):
        lines += [
            "",
            f"[[training.generator.balances]] # it leaves {found.share:.2g} of a step's change, {found.error:.2g} of the range in a run",
            f"output = {_text(found.output)}",
            f"terms = {_list(found.terms)}",
            *([f"start = {_text(found.start)}"] if found.start else []),
            f"residual = {'false' if found.is_kept else 'true'}",
        ]
    return lines


def _budget(budget: Budget, survey: Survey) -> list[str]:
    (found,) = (found for found in survey.integrators if found.start == budget.parameter and found.terms == (budget.input,))
    return [
        f"[[recording.design.budgets]] # else {_plain(found.output)} could leave {budget.min:.3g} to {budget.max:.3g} within a run",
        f"input = {_text(budget.input)}",
        f"parameter = {_text(budget.parameter)}",
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
        if (name := integrated_input(found, variables)) not in ranges:
            continue
        largest = abs(found.coefficients[0]) * steps * max(abs(ranges[name].min), abs(ranges[name].max))
        lines += [
            "",
            "[[verify.balances]]",
            f"output = {_text(found.output)}",
            f"input = {_text(name)}",
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


def _settling_text(survey: Survey) -> str:
    if survey.settling_steps is None:
        return f"Not every output came to rest after a step of an input within {survey.steps // 2} steps."
    return f"After a step of an input its outputs come to rest within {survey.fastest_steps} to {survey.settling_steps} steps."


def _randomness_text(survey: Survey) -> str:
    if not survey.is_random:
        return "Runs with equal inputs are equal: there is no randomness to learn, and the surrogate has no latents."
    kind = (
        "a trait that lasts a run"
        if survey.roughness < _LASTING
        else "new at every step"
        if survey.roughness > _NEW
        else "partly a trait that lasts a run, partly new at every step"
    )
    return f"Runs with equal inputs differ by {survey.spread:.2g} of the range of an output: {kind}."


def _balance_text(found: Integrator) -> str:
    parts = [
        f"{c:.3g} ({term})" if " - " in term else f"{c:.3g} {term}" for c, term in zip(found.coefficients, found.terms, strict=True)
    ]
    begins = f" from {found.start} on" if found.start else ""
    return _plain(
        f"Balance: the change of {found.output} over a step is {' + '.join(parts)}{begins}, but for {found.share:.2g} of it."
    )


def _structure_text(survey: Survey) -> str:
    found = survey.structures
    seen = (
        "the survey does not tell structures apart"
        if found is None
        else f"on new schedules, inputs and balances alone miss the other outputs by {found.driven:.2g} of their range, a linear step "
        f"fed with its own outputs by {found.fed_back:.2g}"
    )
    if is_driven(survey):
        return f"Structure wiener: inputs drive the plant and it forgets them; {seen}."
    why = (
        "it begins with the plant's linear step"
        if not survey.is_random
        else "there is noise within runs"
        if survey.roughness >= _LASTING
        else "nothing says that the plant forgets its inputs"
    )
    return f"Structure recurrent: {why}; {seen}."


def _plain(text: str) -> str:
    return " ".join(text.split())


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(map(_text, names)) + "]"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _text(name)


def _table(values: Mapping[str, float]) -> str:
    return "{ " + ", ".join(f"{_key(name)} = {float(value)!r}" for name, value in values.items()) + " }"
