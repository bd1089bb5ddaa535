"""What every driver reads and writes. Drivers import nothing of this project: some run in other environments.

python drive_NAME.py SYSTEM.json RESULT.json
"""

import json
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_INTEGERS = {"Integer", "Enumeration", "Int64", "Int32"}


def read_system() -> dict[str, Any]:
    """The system to run."""
    return json.loads(Path(sys.argv[1]).read_text())


def write_result(rows: list[list[float]], distribution: str, decimals: int | None = None) -> None:
    """The recorded values after every step, and how many decimals of them the master gives; None: all there is."""
    content = {"rows": [[value.hex() for value in row] for row in rows], "version": version(distribution), "decimals": decimals}
    Path(sys.argv[2]).write_text(json.dumps(content))


def split(name: str) -> tuple[str, str]:
    """`component.variable` in two."""
    component, _, variable = name.partition(".")
    return component, variable


def description_of(fmu: str) -> ElementTree.Element:
    """The root of modelDescription.xml."""
    with zipfile.ZipFile(fmu) as archive:
        return ElementTree.fromstring(archive.read("modelDescription.xml"))


def references(fmu: str) -> dict[str, tuple[int, bool]]:
    """Value reference, and whether it is a whole number, by name of a variable."""
    found = {}
    root = description_of(fmu)
    for variable in root.find("ModelVariables"):
        kind = variable[0].tag if root.get("fmiVersion") == "2.0" else variable.tag
        found[variable.get("name")] = (int(variable.get("valueReference")), kind in _INTEGERS)
    return found


def input_starts(fmu: str) -> dict[str, float]:
    """Start values of the inputs, for masters that set them to zero where nothing is said about them."""
    root = description_of(fmu)
    variables = [variable for variable in root.find("ModelVariables") if variable.get("causality") == "input"]
    second = root.get("fmiVersion") == "2.0"
    return {variable.get("name"): float((variable[0] if second else variable).get("start")) for variable in variables}


def coupled_start(system: dict[str, Any], component: str) -> dict[str, float]:
    """What the connected inputs of a component hold at the start."""
    owned = {split(sink): value for sink, value in system["coupled_start"].items()}
    return {variable: value for (owner, variable), value in owned.items() if owner == component}
