"""`surrogate-fmu inspect`: what is in a bundle, an FMU or a dataset."""

import argparse
import json
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import BuildError, ConfigError, DatasetError

HELP = "show what is in a bundle, an FMU or a dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a .bundle, .fmu or .nc file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print a table of the file, or JSON; 0.

    Raises:
        ConfigError: there is no such file, or it is of no known kind.
        BundleError, BuildError, DatasetError: the file cannot be read.
    """
    path: Path = arguments.file
    readers = {".bundle": _inspect_bundle, ".fmu": _inspect_fmu, ".nc": _inspect_dataset}
    reader = readers.get(path.suffix)
    if reader is None:
        raise ConfigError(f"{path} has the suffix {path.suffix!r}; inspect reads {', '.join(readers)}")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    facts = reader(path)
    print(json.dumps(facts, indent=1) if arguments.json else _readable(facts))
    return 0


def _inspect_bundle(path: Path) -> dict[str, Any]:
    from surrogate_fmu.bundle.archive import read_bundle

    bundle = read_bundle(path)
    return {"file": str(path), "kind": "bundle", "digest": bundle.digest, **json.loads(bundle.manifest.to_json())}


def _inspect_fmu(path: Path) -> dict[str, Any]:
    if find_spec("fmpy") is None:
        raise BuildError("FMPy, which reads FMUs, is not installed; install the extra: pip install 'surrogate-fmu[fmu]'")
    from fmpy import read_model_description, supported_platforms

    try:
        description = read_model_description(str(path), validate=False)
        platforms = supported_platforms(str(path))
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            card = json.loads(archive.read("documentation/card.json")) if "documentation/card.json" in names else {}
    except Exception as error:
        raise BuildError(f"{path} cannot be read as an FMU ({error}); take an intact copy, or build it again") from error
    experiment = description.defaultExperiment
    columns = ("name", "causality", "variability", "unit", "start", "min", "max", "description")
    return {
        "file": str(path),
        "kind": "FMU",
        "name": description.modelName,
        "description": description.description or "",
        "fmi_version": description.fmiVersion,
        "guid": description.guid,
        "tool": description.generationTool,
        "platforms": platforms,
        "step_size": None if experiment is None or experiment.stepSize is None else float(experiment.stepSize),
        "variables": [
            {"value_reference": v.valueReference, "type": v.type}
            | {name: getattr(v, name) for name in columns if getattr(v, name) is not None}
            | ({"dimensions": list(v.shape)} if v.shape else {})
            for v in description.modelVariables
        ],
        "card": card,
    }


def _inspect_dataset(path: Path) -> dict[str, Any]:
    if find_spec("xarray") is None:
        raise DatasetError("xarray, which reads datasets, is not installed; install the extra: pip install 'surrogate-fmu[train]'")
    from surrogate_fmu.dataset.store import read_trajectories
    from surrogate_fmu.schema import encode
    from surrogate_fmu.variables import Causality, with_causality

    trajectories = read_trajectories(path)
    variables = []
    for causality, array in (
        (Causality.INPUT, trajectories.inputs),
        (Causality.PARAMETER, trajectories.parameters),
        (Causality.OUTPUT, trajectories.outputs),
    ):
        for column, variable in enumerate(with_causality(trajectories.variables, causality)):
            values = array[..., column]
            recorded = {"recorded_min": float(values.min()), "recorded_max": float(values.max())} if values.size else {}
            variables.append({**encode(variable), **recorded})
    return {
        "file": str(path),
        "kind": "dataset",
        "runs": int(trajectories.inputs.shape[0]),
        "steps": int(trajectories.inputs.shape[1]),
        "schedules": len(set(trajectories.schedule.tolist())),
        "communication_step_size": trajectories.communication_step_size,
        "checksum": trajectories.checksum(),
        "variables": variables,
        "provenance": trajectories.provenance,
    }


def _readable(facts: Mapping[str, Any]) -> str:
    """Scalars first, then tables, then nested entries."""
    blocks = []
    plain = [(name, value) for name, value in facts.items() if not isinstance(value, Mapping) and not _is_table(value)]
    width = max(len(name) for name, _ in plain)
    blocks.append("\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in plain))
    blocks += [f"{name}\n{_table(value)}" for name, value in facts.items() if _is_table(value)]
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            blocks.append(f"{name}\n" + "\n".join(f"  {key}  {_cell(item)}" for key, item in value.items()))
    return "\n\n".join(blocks)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: (name != "name", name == "description"))
    cells = [columns, *([_cell(row.get(name, "")) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if isinstance(value, Mapping | list) else str(value)
