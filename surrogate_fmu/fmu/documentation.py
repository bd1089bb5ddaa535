"""The page that an FMU carries in `documentation/index.html` (FMI 2.0.4, section 2.3), made from the manifest."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from surrogate_fmu.face import Face
from surrogate_fmu.fmu.config import OwnOutputs
from surrogate_fmu.fmu.interface import DOMAIN_POLICIES, INTEGER_MAX, Z_MODES
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Variable, VariableType, settable_parameters

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}th,td{border:1px solid #bbb;padding:.25em .6em;text-align:left}"
)
_LICENSES = "The licence texts of what is inside are in documentation/licenses."


_TORCH_DEVICES = (
    "<code>device</code>: cpu, cuda or cuda:&lt;index&gt;. A device that is not there is refused when initialization mode is left."
)
_CPU_ONLY = "<code>device</code> is cpu and nothing else; it is there so that FMUs of every backend have the same variables."


def surrogate_page(
    manifest: Manifest,
    version: str,
    host_needs: Sequence[str],
    external_latents: bool,
    *,
    native: bool = False,
    members: int = 1,
    own_outputs: OwnOutputs = OwnOutputs.TYPED,
) -> str:
    """The page of a surrogate as HTML.

    Args:
        native: whether it is of the native backend, which has derivatives and the CPU alone.
        members: of the ensemble.
        own_outputs: how `in_domain` and `domain_distance` are told.
    """
    latents = (
        f"Run latents, drawn once per run (this unit differs from its sisters): {manifest.run_latent_dim}. "
        f"Step latents, drawn at every step: {manifest.step_latent_dim}."
    )
    z_modes = ", ".join(f"{i} {mode.value}" for i, mode in enumerate(Z_MODES, start=1))
    policies = ", ".join(f"{i} {policy.value}" for i, policy in enumerate(DOMAIN_POLICIES, start=1))
    external = (
        "The inputs <code>z[1]</code>, <code>z[2]</code>, ... give the latents with z_mode 4."
        if external_latents
        else "This FMU was built without latent inputs, so z_mode 4 is refused; build it with <code>--external-latents</code>."
    )
    parts = [
        f"<p>{escape(manifest.description)}</p>",
        "<p>A surrogate: a conditional generator that stands in the place of a slow component. "
        "Machine-readable: <a href='manifest.json'>manifest.json</a>.</p>",
        "<h2>Variables</h2>",
        _variable_table(manifest.variables, manifest.domain),
        *_kept(manifest.face),
        "<h2>Time</h2>",
        f"<p>The generator's step is {manifest.step_size:g} s. A communication step of a whole multiple is done by substeps; "
        "any other is refused.</p>",
        "<h2>Randomness</h2>",
        f"<p>{latents} Both follow from the parameter <code>seed</code> (0 to {INTEGER_MAX}) and the number of the step, "
        "so equal seeds and inputs give equal trajectories.</p>",
        f"<p><code>z_mode</code>: {escape(z_modes)}. {external}</p>",
        "<h2>Outside the training range</h2>",
        f"<p><code>domain_policy</code>: {escape(policies)}. {_IN_DOMAIN[own_outputs]}, "
        "<code>domain_distance</code> how far outside, in widths of the worst variable's range.</p>",
        *_tunable(manifest.variables),
        "<h2>Host</h2>",
        _host(host_needs),
        f"<p>{_CPU_ONLY if native else _TORCH_DEVICES}</p>",
        *(_DERIVATIVES if native else ()),
        *(_ensemble(members) if members > 1 else ()),
        *_card(manifest.card),
    ]
    return _page(manifest.name, version, parts)


_IN_DOMAIN = {
    OwnOutputs.TYPED: "The output <code>in_domain</code> says whether the last step lay inside",
    OwnOutputs.REAL: "The output <code>in_domain</code> is 1 if the last step lay inside and else 0",
    OwnOutputs.LOCAL: "The local variable <code>in_domain</code> says whether the last step lay inside",
}

_DERIVATIVES = (
    "<h2>Derivatives</h2>",
    "<p>Directional (and with FMI 3.0 adjoint) derivatives are those of the outputs at the end of the last communication step by "
    "the inputs that were held over it; before the first step, of the outputs at the start by inputs and parameters. They are "
    "exact. At a communication point itself no output depends on an input, so the model structure lists none and there are no "
    "algebraic loops.</p>",
)


def _ensemble(members: int) -> tuple[str, ...]:
    return (
        "<h2>Ensemble</h2>",
        f"<p>{members} members step together; member m (from 0) is what an FMU of its own with the seed + m would be. The plain "
        "outputs are those of the first; <code>.mean</code>, <code>.std</code> (with n - 1) and quantiles (linear between order "
        "statistics) are over all. Inputs, parameters and latents from outside are those of all members; in_domain and "
        "domain_distance are those of the worst.</p>",
    )


def plant_page(
    name: str, description: str, variables: Sequence[Variable], step_size: float, version: str, host_needs: Sequence[str]
) -> str:
    """The page of a plant as HTML."""
    parts = [
        f"<p>{escape(description)}</p>",
        "<h2>Variables</h2>",
        _variable_table(variables, {}),
        "<h2>Time</h2>",
        f"<p>The preferred communication step is {step_size:g} s.</p>",
        "<h2>Randomness</h2>",
        f"<p>The parameter <code>seed</code> (0 to {INTEGER_MAX}) chooses the individual and its noise.</p>",
        "<h2>Host</h2>",
        _host(host_needs),
    ]
    return _page(name, version, parts)


def _page(name: str, version: str, parts: Iterable[str]) -> str:
    head = f"<meta charset='utf-8'><title>{escape(name)}</title><style>{_STYLE}</style>"
    made = f"<p>{_LICENSES} Made by surrogate-fmu {escape(version)}.</p>"
    body = "\n".join(parts)
    return f"<!DOCTYPE html>\n<html lang='en'><head>{head}</head><body>\n<h1>{escape(name)}</h1>\n{body}\n{made}\n</body></html>\n"


def _host(needs: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(need)}</li>" for need in needs)
    return f"<p>The machine that runs this FMU needs:</p><ul>{items}</ul>"


def _variable_table(variables: Sequence[Variable], domain: Mapping[str, Interval]) -> str:
    columns = ["name", "causality", "unit", "start", "min", "max", "description"]
    if domain:
        columns.insert(6, "training range")
    rows = []
    for variable in variables:
        shape = f" {list(variable.shape)}" if variable.shape else ""
        unit = variable.plant_unit.name if variable.plant_unit is not None else variable.unit
        cells = [
            variable.name + shape,
            variable.causality.value,
            unit if variable.type is VariableType.REAL else variable.type.value,
        ]
        cells += [_number(value) for value in (variable.start, variable.min, variable.max)]
        if domain:
            interval = domain[variable.name]
            cells.append(f"{interval.min:g} to {interval.max:g}")
        rows.append([*cells, variable.description])
    return _table(columns, rows)


def _tunable(variables: Sequence[Variable]) -> list[str]:
    names = ", ".join(f"<code>{escape(variable.name)}</code>" for variable in settable_parameters(variables))
    said = (
        "may be set between steps and act from the next one on. In training parameters are constant over a run, so "
        "a run in which one is changed is outside from then to its end; under clamp the value stays that with which the run began."
    )
    return [f"<p>Tunable parameters ({names}) {said}</p>"] if names else []


def _kept(face: Face | None) -> list[str]:
    if face is None or not (face.kept or face.texts):
        return []
    rows = [[v.name, v.causality.value, _number(v.start), _number(face.recorded(v)), v.description] for v in face.kept]
    rows += [[text.name, "parameter", text.start, text.start, text.description] for text in face.texts]
    return [
        "<h2>Kept and not modelled</h2>",
        "<p>These are there because the plant has them. The surrogate was recorded with one value of each; at another one it says "
        "that it is outside its domain, and does as before.</p>",
        _table(["name", "causality", "start", "recorded with", "description"], rows),
    ]


def _card(card: Mapping[str, Any]) -> list[str]:
    if not card:
        return ["<h2>Card</h2>", "<p>Not verified yet.</p>"]
    rows = [[name, value if isinstance(value, str) else _number(value)] for name, value in _flat(card)]
    return ["<h2>Card</h2>", "<p>Machine-readable: <a href='card.json'>card.json</a>.</p>", _table(["figure", "value"], rows)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    # The verdict is what a reader looks for first.
    for name in sorted(values, key=lambda name: (name != "verdict", name)):
        value = values[name]
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return rows


def _number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"
