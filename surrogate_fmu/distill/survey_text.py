"""What a survey found, in sentences."""

from surrogate_fmu.distill.choices import LASTING, NEW, is_driven
from surrogate_fmu.distill.integrators import Integrator
from surrogate_fmu.distill.survey import Survey
from surrogate_fmu.distill.toml_text import comment_text


def settling_text(survey: Survey) -> str:
    """How long outputs take to come to rest."""
    if survey.settling_steps is None:
        return f"Not every output came to rest after a step of an input within {survey.steps // 2} steps."
    return f"After a step of an input its outputs come to rest within {survey.fastest_steps} to {survey.settling_steps} steps."


def randomness_text(survey: Survey) -> str:
    """Whether runs with equal inputs differ, and how."""
    if not survey.is_random:
        return "Runs with equal inputs are equal: there is no randomness to learn, and the surrogate has no latents."
    kind = (
        "a trait that lasts a run"
        if survey.roughness < LASTING
        else "new at every step"
        if survey.roughness > NEW
        else "partly a trait that lasts a run, partly new at every step"
    )
    return f"Runs with equal inputs differ by {survey.spread:.2g} of the range of an output: {kind}."


def balance_text(found: Integrator) -> str:
    """What an output is a balance of."""
    parts = [
        f"{c:.3g} ({term})" if " - " in term else f"{c:.3g} {term}" for c, term in zip(found.coefficients, found.terms, strict=True)
    ]
    total = " + ".join(parts).replace("+ -", "- ")
    begins = f" from {found.start} on" if found.start else ""
    return comment_text(f"Balance: the change of {found.output} over a step is {total}{begins}, but for {found.share:.2g} of it.")


def structure_text(survey: Survey) -> str:
    """Which structure, and why."""
    found = survey.structures
    seen = (
        "the survey does not tell structures apart"
        if found is None
        else f"on new schedules, inputs and balances alone miss the other outputs by {found.driven:.2g} of their range, "
        f"a linear step fed with its own outputs by {found.fed_back:.2g}"
    )
    if is_driven(survey):
        return f"Structure wiener: inputs drive the plant and it forgets them; {seen}."
    why = (
        "it begins with the plant's linear step"
        if not survey.is_random
        else "there is noise within runs"
        if survey.roughness >= LASTING
        else "nothing says that the plant forgets its inputs"
    )
    return f"Structure recurrent: {why}; {seen}."
