"""The constant `sf_surrogate_data` of an FMU as C: what `c/surrogate.h` declares, from the manifest and the options."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from surrogate_fmu.face import Face
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.references import answering
from surrogate_fmu.fmu.scalar import Kind, Role, Scalar, gapped_items, number_limits
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.variables import Causality, Variability, Variable

_KINDS = {
    Kind.REAL: "SF_REAL",
    Kind.INTEGER: "SF_INTEGER",
    Kind.ENUMERATION: "SF_INTEGER",
    Kind.BOOLEAN: "SF_BOOLEAN",
    Kind.STRING: "SF_STRING",
}
_FMI3_KINDS = {name: f"SF_{name.upper()}" for name in ("Float32", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "UInt64")}
_CAUSALITIES = {Causality.INPUT: "SF_INPUT", Causality.PARAMETER: "SF_PARAMETER", Causality.OUTPUT: "SF_OUTPUT"}
_ROLES = {
    Role.SEED: "SF_SEED",
    Role.Z_MODE: "SF_Z_MODE",
    Role.DOMAIN_POLICY: "SF_DOMAIN_POLICY",
    Role.DEVICE: "SF_DEVICE",
    Role.IN_DOMAIN: "SF_IN_DOMAIN",
    Role.DOMAIN_DISTANCE: "SF_DOMAIN_DISTANCE",
    Role.LATENT: "SF_LATENT",
    Role.STATISTIC: "SF_STATISTIC",
    Role.KEPT: "SF_KEPT",
}


def surrogate_source(
    manifest: Manifest,
    scalars: Sequence[Scalar],
    time: tuple[str, int] | None,
    model_identifier: str,
    token: str,
    config: BuildConfig,
    seed_max: int,
) -> str:
    """The file `surrogate.c`.

    Args:
        scalars: the variables of the FMU.
        time: name and value reference of the independent variable, where there is one.
        token: FMI 2.0's GUID, FMI 3.0's instantiation token.
    """
    rows, items, parts = [], [], list[str]()
    for scalar in answering(scalars):
        values = gapped_items(scalar)
        listed = f"items_{scalar.value_reference}" if values else "0"
        if values:
            numbers = ", ".join(f"INT64_C({value})" for value in values)
            items.append(f"static const int64_t {listed}[] = {{{numbers}}};")
        elements = f"elements_{scalar.value_reference}" if scalar.elements else "0"
        if scalar.elements:
            shared = [replace(element, value_reference=scalar.value_reference) for element in scalar.elements]
            parts += _array("sf_variable", elements, [_variable(part, time is not None, listed, len(values)) for part in shared])
        rows.append((scalar.value_reference, _variable(scalar, time is not None, listed, len(values), elements)))
    if time is not None:
        name, reference = time
        rows.append((reference, _row(reference, "SF_REAL", "SF_INDEPENDENT", "SF_TIME", 0, 1, name, "s", None, None)))
    starts = [_number(float(v.start or 0.0)) for v in manifest.condition for _ in range(v.size)]
    face = manifest.face or Face(())
    texts = [_number(0.0)] * len(face.texts)  # 1 where one was set to another text
    kept = [_number(float(v.start or 0.0)) for v in face.kept] + texts
    recorded = [_number(face.recorded(v)) for v in face.kept] + texts
    members = config.ensemble
    quantiles = [_number(q) for q in config.quantiles] if members > 1 else []
    lines = [
        "/* Generated: what is fixed about this FMU. */",
        '#include "surrogate.h"',
        "",
        *_ranges("condition", manifest, manifest.condition),
        *_ranges("output", manifest, manifest.outputs),
        *_array("double", "start", starts),
        *_array("double", "kept_start", kept),
        *_array("double", "kept_recorded", recorded),
        *items,
        *parts,
        *_array("double", "quantiles", quantiles),
        *_array("sf_variable", "variables", [row for _, row in sorted(rows)]),
        "const sf_surrogate sf_surrogate_data = {",
        f"    .model_identifier = {_text(model_identifier)},",
        f"    .token = {_text(token)},",
        f"    .step_size = {_number(manifest.step_size)},",
        f"    .seed_max = INT64_C({seed_max}),",
        f"    .external_latents = {int(config.external_latents)},",
        f"    .member_count = {members},",
        f"    .quantile_count = {len(quantiles)},",
        "    .quantiles = quantiles,",
        f"    .variable_count = {len(rows)},",
        "    .variables = variables,",
        "    .start = start,",
        f"    .kept_count = {len(kept)},",
        "    .kept_start = kept_start,",
        "    .kept_recorded = kept_recorded,",
        f"    .condition_range_count = {len(manifest.condition)},",
        f"    .output_range_count = {len(manifest.outputs)},",
        "    .condition_ranges = condition_ranges,",
        "    .output_ranges = output_ranges,",
        "};",
    ]
    return "\n".join(lines) + "\n"


def _variable(scalar: Scalar, third: bool, items: str, item_count: int, elements: str = "0") -> str:
    if scalar.role is not None:
        role = _ROLES[scalar.role]
    else:
        role = "SF_RESULT" if scalar.causality is Causality.OUTPUT else "SF_CONDITION"
    tunable = scalar.causality is Causality.PARAMETER and scalar.variability is Variability.TUNABLE
    number = scalar.kind in (Kind.INTEGER, Kind.ENUMERATION, Kind.BOOLEAN)
    low, high = number_limits(scalar) if number else (scalar.min, scalar.max)
    return _row(
        scalar.value_reference,
        _FMI3_KINDS.get(scalar.fmi3_type or "", _KINDS[scalar.kind]) if third else _KINDS[scalar.kind],
        "SF_TUNABLE" if tunable else _CAUSALITIES[scalar.causality],
        role,
        scalar.offset,
        scalar.size,
        scalar.name,
        scalar.unit or "",
        low,
        high,
        items,
        item_count,
        str(scalar.start) if scalar.kind is Kind.STRING else "",
        elements,
    )


def _row(
    reference: int,
    kind: str,
    causality: str,
    role: str,
    offset: int,
    size: int,
    name: str,
    unit: str,
    low: float | None,
    high: float | None,
    items: str = "0",
    item_count: int = 0,
    text: str = "",
    elements: str = "0",
) -> str:
    limits = f"{_number(-sys.float_info.max if low is None else low)}, {_number(sys.float_info.max if high is None else high)}"
    head = f"{reference}u, {kind}, {causality}, {role}, {offset}, {size}, {_text(name)}, {_text(unit)}"
    return f"{{{head}, {limits}, {items}, {item_count}, {_text(text)}, {elements}}}"


def _ranges(prefix: str, manifest: Manifest, variables: Sequence[Variable]) -> list[str]:
    lines, rows = [], []
    for number, variable in enumerate(variables):
        shape = "0"
        if variable.shape:
            shape = f"{prefix}_shape_{number}"
            lines.append(f"static const int32_t {shape}[] = {{{', '.join(map(str, variable.shape))}}};")
        interval = manifest.domain[variable.name]
        width = (interval.max - interval.min) or 1.0
        numbers = ", ".join(_number(value) for value in (interval.min, interval.max, width))
        tunable = int(variable.causality is Causality.PARAMETER and variable.is_settable_in_run)
        rows.append(f"{{{_text(variable.name)}, {variable.size}, {len(variable.shape)}, {shape}, {numbers}, {tunable}}}")
    return lines + _array("sf_range", f"{prefix}_ranges", rows)


def _array(kind: str, name: str, rows: Sequence[str]) -> list[str]:
    """C has no empty arrays: one entry that nobody reads stands for none."""
    body = [f"    {row}," for row in rows] or ["    {0}," if kind.startswith("sf_") else "    0.0,"]
    return [f"static const {kind} {name}[] = {{", *body, "};", ""]


def _number(value: float) -> str:
    """Exact, and read alike by every compiler."""
    return float(value).hex()


def _text(value: str) -> str:
    """A C string in ASCII; what is not ASCII is escaped byte by byte, in octal, which ends after three digits."""
    if value.isascii() and value.isprintable():
        return json.dumps(value)
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in value.encode()) + '"'
