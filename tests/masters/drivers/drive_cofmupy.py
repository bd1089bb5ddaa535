"""CoFmuPy: its coordinator with the Jacobi method, or, where steps are repeated, its iterative one, which rolls FMUs back.

It gets outputs as real ones, and the FMUs are built so. It sets variables of FMI 2.0 as real ones too: its handler gets the kinds
of the variables here, for the seed is an integer. It does not hand over during initialization.
"""

import sys
from typing import Any

from cofmupy import Coordinator, wrappers
from task import coupled_start, input_starts, read_system, split, write_result


def set_by_kind(handler: wrappers.Fmu2Handler, name: str, value: list[float]) -> None:
    variable = handler.var_name2attr[name]
    (handler.fmu.setReal if variable.type == "Real" else handler.fmu.setInteger)([variable.valueReference], value)


def configuration(task: dict[str, Any]) -> dict[str, Any]:
    fmus = []
    for component in task["components"]:
        name, fmu = component["name"], component["fmu"]
        start = {**component["start"], **input_starts(fmu), **coupled_start(task, name)}
        fmus.append({"id": name, "path": fmu, "initialization": start})

    def end(name: str) -> dict[str, str]:
        component, variable = split(name)
        return {"id": component, "variable": variable, "unit": "", "type": "fmu"}

    connections = [{"source": end(source), "target": end(sink)} for source, sink in task["connections"]]
    return {
        "fmus": fmus,
        "connections": connections,
        "cosim_method": "jacobi",
        "iterative": task["iterations"] > 1,
    }


def main() -> None:
    task = read_system()
    wrappers.Fmu2Handler._set_variable = set_by_kind
    coordinator = Coordinator()
    coordinator.start(configuration(task))
    for number in range(task["steps"]):
        if coordinator.master.current_time != number * task["step_size"]:
            sys.exit(f"step {number} at {coordinator.master.current_time}")
        coordinator.do_step(task["step_size"])
    results = coordinator.get_results()
    columns = [results[split(name)] for name in task["record"]]
    write_result([list(map(float, row)) for row in zip(*columns, strict=True)], "cofmupy")


main()
