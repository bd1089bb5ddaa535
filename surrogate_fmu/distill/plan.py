"""The plan that follows from a survey, as the text of a surrogate.toml that a person can read and change."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surrogate_fmu.distill.survey import Survey
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.design import Range
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Causality, Variable, VariableType, with_causality

_RECORDING_SHARE = 0.5  # of the time that there is
_TRAINING_SHARE = 0.35
_STEPS = (60, 300)
_SETTLINGS = 3.0  # of a run
_LASTING, _NEW = 0.02, 0.05  # roughness below which all randomness lasts a run, above which all is new at every step
_FEW_STEPS = 20
_EXCITATIONS = '"steps", "ramps", "noise", "pulses", "constant"'
_EXCITATIONS_OF_WHOLE = '"steps", "pulses", "constant"'
_SHOWN = 12
_MOVED_AT_MOST = 8  # inputs that nobody said anything of
_CLOSED = (VariableType.BOOLEAN, VariableType.ENUMERATION)  # types whose values are all known


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
) -> tuple[dict[str, Range], dict[str, float]]:
    """The range of every input that moves: the one given, else that of the plant; and the start value of inputs with neither.

    Raises:
        ConfigError: a name is no input, no input has a range, or too many have none for a survey to move each.
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


def choose_size(survey: Survey, steps: int, budget_s: float, jobs: int) -> Size:
    """The largest that can be recorded in its share of the time [s]; the smallest where none can."""
    sizes = _RANDOM if survey.is_random else _DETERMINISTIC
    affordable = _RECORDING_SHARE * budget_s * jobs / max(survey.seconds_per_step * steps, 1e-9)
    return next((size for size in sizes if size.runs <= affordable), sizes[-1])


def run_steps(survey: Survey) -> int:
    """Steps of a run: some settlings long, or as long as the survey where something does not settle."""
    if survey.settling_steps is None:
        return survey.steps
    return int(min(max(_SETTLINGS * survey.settling_steps, _STEPS[0]), _STEPS[1]))


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
    steps = run_steps(survey)
    typed = {v.name for v in variables if v.type is not VariableType.REAL}
    size = choose_size(survey, steps, budget_s, jobs)
    shortest = max(1, survey.fastest_steps // 2) * step_size
    longest = max(steps // 4, 4) * step_size
    lines = [
        f"# Made from {plant} and {survey.steps} steps of its runs; change what you know better, and run the verbs again.",
        f"# A step takes the plant {1e3 * survey.seconds_per_step:.3g} ms. " + _settling_text(survey),
        f"# {_randomness_text(survey)}",
        *(f"# The surrogate will not have: {sentence}." for sentence in left_out),
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
            lines.append(f"{key} = [{', '.join(map(_text, names))}]")
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
            f"excitations = [{_EXCITATIONS if input_name not in typed else _EXCITATIONS_OF_WHOLE}]",
            f"hold_s = [{shortest!r}, {max(longest, shortest)!r}]",
        ]
    if parameters:
        lines += ["", "[recording.design.parameters]"]
        lines += [f"{_key(n)} = {{ min = {r.min!r}, max = {r.max!r} }}" for n, r in parameters.items()]
    lines += ["", *_training(survey, steps, budget_s), "", *_verify(survey, steps)]
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
        ]
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
    ]


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


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _text(name)


def _table(values: Mapping[str, float]) -> str:
    return "{ " + ", ".join(f"{_key(name)} = {float(value)!r}" for name, value in values.items()) + " }"
