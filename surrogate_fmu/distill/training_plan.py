"""The tables of a plan that say how to train."""

from surrogate_fmu.distill.choices import LASTING, NEW, is_driven, training_seconds, used_balances
from surrogate_fmu.distill.survey import Survey
from surrogate_fmu.distill.toml_text import quoted, string_list

_FEW_STEPS = 20
_POINTS = 40  # of a window that are scored, with the Wiener structure


def training_lines(survey: Survey, steps: int, budget_s: float, jobs: int) -> list[str]:
    """The tables, for runs of so many steps, a time [s] for all and so many worker processes."""
    lines = ["[training]", f"budget_cpu_s = {training_seconds(budget_s, jobs):.0f}"]
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
    run, step = (8, 0) if survey.roughness < LASTING else (0, 2) if survey.roughness > NEW else (4, 2)
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
        "updates = 16000",
        "validations = 16",
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
    settings = [f"indirect_inputs = {string_list(indirect)}"] if indirect else []
    settings += [f"curves = {string_list(curves)}"] if curves and len(curves) < len(survey.integrators) else []
    if settings:
        settings = ["", "[training.generator.wiener]", *settings]
    return [*lines, *_starts(survey), *settings, *_balances(survey)]


def _starts(survey: Survey) -> list[str]:
    starts = list(dict.fromkeys(found.start for found in used_balances(survey) if found.start))
    return [f"initial_parameters = {string_list(starts)}"] if starts else []


def _balances(survey: Survey) -> list[str]:
    lines = []
    for found in used_balances(survey):
        left = f"{found.share:.2g} of a step's change, {found.error:.2g} of the range in a run"
        lines += [
            "",
            f"[[training.generator.balances]] # it leaves {left}",
            f"output = {quoted(found.output)}",
            f"terms = {string_list(found.terms)}",
            *([f"start = {quoted(found.start)}"] if found.start else []),
            f"residual = {'false' if found.is_kept else 'true'}",
        ]
    return lines
