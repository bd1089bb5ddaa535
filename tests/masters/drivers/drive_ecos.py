"""The `ecos` command line inside ecospy's wheel: a master without Python, fed with an SSP, answering with six decimals in CSV."""

import csv
import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from task import read_system, references, split, write_result

SSP = "http://ssp-standard.org/SSP1/SystemStructure"
CSV = "http://github.com/Ecos-platform/libecos/resources/schema/CsvConfig"
DECIMALS = 6


def structure_of(system: dict[str, Any]) -> bytes:
    """SystemStructure.ssd with the start values inside."""
    spaces = {"xmlns:ssd": f"{SSP}Description", "xmlns:ssc": f"{SSP}Common", "xmlns:ssv": f"{SSP}ParameterValues"}
    root = Element("ssd:SystemStructureDescription", {**spaces, "name": "system", "version": "1.0"})
    top = SubElement(root, "ssd:System", name="system")
    elements = SubElement(top, "ssd:Elements")
    ends = [(source, "output") for source, _ in system["connections"]] + [(sink, "input") for _, sink in system["connections"]]
    for component in system["components"]:
        name, listed = component["name"], references(component["fmu"])
        kind_of = "application/x-fmu-sharedlibrary"
        element = SubElement(elements, "ssd:Component", name=name, type=kind_of, source=f"resources/{name}.fmu")
        connectors = SubElement(element, "ssd:Connectors")
        for (owner, variable), kind in ((split(end), kind) for end, kind in ends):
            if owner == name:
                SubElement(SubElement(connectors, "ssd:Connector", name=variable, kind=kind), "ssc:Real")
        bindings = SubElement(element, "ssd:ParameterBindings")
        values = SubElement(SubElement(bindings, "ssd:ParameterBinding"), "ssd:ParameterValues")
        parameters = SubElement(SubElement(values, "ssv:ParameterSet", version="1.0", name="start"), "ssv:Parameters")
        for variable, value in component["start"].items():
            tag = "ssv:Integer" if listed[variable][1] else "ssv:Real"
            SubElement(SubElement(parameters, "ssv:Parameter", name=variable), tag, value=str(value))
    connections = SubElement(top, "ssd:Connections")
    for source, sink in system["connections"]:
        (start, out), (end, into) = split(source), split(sink)
        SubElement(connections, "ssd:Connection", startElement=start, startConnector=out, endElement=end, endConnector=into)
    return tostring(root, xml_declaration=True, encoding="UTF-8")


def csv_config(system: dict[str, Any]) -> bytes:
    """What is written after every step."""
    root = Element("ecos:CsvConfig", {"xmlns:ecos": CSV})
    components = SubElement(root, "ecos:components")
    for component in system["components"]:
        element = SubElement(components, "ecos:component", name=component["name"])
        for owner, variable in map(split, system["record"]):
            if owner == component["name"]:
                SubElement(element, "ecos:variable", name=variable)
    return tostring(root, xml_declaration=True, encoding="UTF-8")


def main() -> None:
    system = read_system()
    folder = Path(tempfile.mkdtemp())
    ssp = folder / "system.ssp"
    with zipfile.ZipFile(ssp, "w") as archive:
        archive.writestr("SystemStructure.ssd", structure_of(system))
        for component in system["components"]:
            archive.write(component["fmu"], f"resources/{component['name']}.fmu")
    (folder / "csv.xml").write_bytes(csv_config(system))
    program = folder / "ecos"
    program.write_bytes(Path(distribution("ecospy").locate_file("ecospy/binaries/ecos")).read_bytes())
    program.chmod(0o755)
    stop = system["step_size"] * system["steps"]
    arguments = ["--path", ssp.name, "--stepSize", str(system["step_size"]), "--stopTime", str(stop)]
    arguments += ["--parameterSet", "start", "--csvConfig", "csv.xml", "--logLevel", "warn"]
    host = {name.removeprefix("HOST_"): value for name, value in os.environ.items() if name.startswith("HOST_")}
    done = subprocess.run([str(program), "simulate", *arguments], cwd=folder, env={**os.environ, **host}, check=False)
    if done.returncode:
        sys.exit(f"ecos ended with {done.returncode}")
    (table,) = folder.rglob("*.csv")
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file, skipinitialspace=True))
    names = ["{}::{}[REAL]".format(*split(name)) for name in system["record"]]
    rows = [[float(line[name]) for name in names] for line in lines if line["iterations"] != "0"]
    write_result(rows, "ecospy", DECIMALS)


main()
