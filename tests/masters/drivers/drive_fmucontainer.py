"""A container FMU of fmu-manipulation-toolbox, whose master in C is inside; FMPy loads the container and takes its steps.

The container has FMI 3.0 where its first component has it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fmpy import extract, read_model_description
from fmpy.fmi2 import FMU2Slave
from fmpy.fmi3 import FMU3Slave
from task import description_of, read_system, split, write_result


def build(system: dict[str, Any], folder: Path, third: bool) -> Path:
    """The container, in the folder."""

    def port(name: str) -> list[str]:
        component, variable = split(name)
        return [f"{component}.fmu", variable]

    for component in system["components"]:
        shutil.copy(component["fmu"], folder / f"{component['name']}.fmu")
    assembly = {
        "name": "container.fmu",
        "auto_link": False,
        "auto_input": False,
        "auto_output": False,
        "step_size": system["step_size"],
        "fmu": [f"{component['name']}.fmu" for component in system["components"]],
        "link": [[*port(source), *port(sink)] for source, sink in system["connections"]],
        "output": [[*port(name), f"out_{number}"] for number, name in enumerate(system["record"])],
        "start": [[f"{c['name']}.fmu", name, value] for c in system["components"] for name, value in c["start"].items()],
    }
    (folder / "container.json").write_text(json.dumps(assembly))
    script = "from fmu_manipulation_toolbox.cli.fmucontainer import fmucontainer; fmucontainer()"
    arguments = ["-container", "container.json", "-fmu-directory", ".", "-fmi", "3" if third else "2"]
    subprocess.run([sys.executable, "-c", script, *arguments], cwd=folder, check=True)
    return folder / "container.fmu"


def main() -> None:
    system = read_system()
    third = description_of(system["components"][0]["fmu"]).get("fmiVersion") == "3.0"
    folder = Path(tempfile.mkdtemp())
    path = str(build(system, folder, third))
    description = read_model_description(path, validate=False)
    listed = {variable.name: variable.valueReference for variable in description.modelVariables}
    references = [listed[f"out_{number}"] for number in range(len(system["record"]))]
    container = (FMU3Slave if third else FMU2Slave)(
        guid=description.guid,
        unzipDirectory=extract(path, str(folder / "unpacked")),
        modelIdentifier=description.coSimulation.modelIdentifier,
        instanceName="container",
    )
    container.instantiate()
    if not third:
        container.setupExperiment(startTime=0.0)
    container.enterInitializationMode()
    container.exitInitializationMode()
    rows, size = [], system["step_size"]
    for number in range(system["steps"]):
        container.doStep(number * size, size)
        rows.append((container.getFloat64 if third else container.getReal)(references))
    container.terminate()
    container.freeInstance()
    write_result([list(row) for row in rows], "fmu-manipulation-toolbox")


main()
