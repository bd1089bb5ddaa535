"""Writes SSP archives as a tool would."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<ssd:SystemStructureDescription name="{name}" version="1.0"
    xmlns:ssc="http://ssp-standard.org/SSP1/SystemStructureCommon"
    xmlns:ssd="http://ssp-standard.org/SSP1/SystemStructureDescription"
    xmlns:ssv="http://ssp-standard.org/SSP1/SystemStructureParameterValues">
"""
TAIL = """
    <ssd:DefaultExperiment startTime="0.0" stopTime="{stop}"/>
</ssd:SystemStructureDescription>
"""


def connector(name: str, kind: str, kind_of_value: str = "Real", unit: str = "") -> str:
    attribute = f' unit="{unit}"' if unit else ""
    return f'<ssd:Connector name="{name}" kind="{kind}"><ssc:{kind_of_value}{attribute}/></ssd:Connector>'


def component(name: str, source: str, connectors: list[str], more: str = "") -> str:
    listed = "\n        ".join(connectors)
    return (
        f'      <ssd:Component   name="{name}"\n          source="{source}" type="application/x-fmu-sharedlibrary">\n'
        f"        <ssd:Connectors>\n        {listed}\n        </ssd:Connectors>{more}\n      </ssd:Component>"
    )


def parameters(values: Mapping[str, float | int]) -> str:
    entries = "".join(
        f'<ssv:Parameter name="{name}"><ssv:{"Integer" if isinstance(value, int) else "Real"} value="{value}"/></ssv:Parameter>'
        for name, value in values.items()
    )
    return (
        "<ssd:ParameterBindings><ssd:ParameterBinding><ssd:ParameterValues>"
        f'<ssv:ParameterSet version="1.0" name="values"><ssv:Parameters>{entries}</ssv:Parameters></ssv:ParameterSet>'
        "</ssd:ParameterValues></ssd:ParameterBinding></ssd:ParameterBindings>"
    )


def connection(start: str, end: str, inside: str = "") -> str:
    """`component.connector`, or `.connector` for the system's own."""

    def attributes(which: str, place: str) -> str:
        element, _, name = place.rpartition(".")
        return (f'{which}Element="{element}" ' if element else "") + f'{which}Connector="{name}"'

    return f"      <ssd:Connection {attributes('start', start)} {attributes('end', end)}>{inside}</ssd:Connection>"


def system(name: str, elements: list[str], connections: list[str], connectors: list[str] | None = None, more: str = "") -> str:
    own = "\n".join(connectors or [])
    listed = f"<ssd:Connectors>{own}</ssd:Connectors>" if own else ""
    joined = "\n".join
    return (
        f'    <ssd:System name="{name}">{listed}{more}\n      <ssd:Elements>\n{joined(elements)}\n      </ssd:Elements>\n'
        f"      <ssd:Connections>\n{joined(connections)}\n      </ssd:Connections>\n    </ssd:System>"
    )


def write_ssp(path: Path, root: str, files: Mapping[str, Path | str | bytes], stop: float = 1.0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SystemStructure.ssd", HEAD.format(name=path.stem) + root + TAIL.format(stop=stop))
        for name, content in files.items():
            archive.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return path
