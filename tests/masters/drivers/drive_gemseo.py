"""gemseo-fmu: FMUs as disciplines of GEMSEO, its time-stepping system with a Jacobi master; FMPy underneath.

It gets outputs of FMI 2.0 as real ones, and the FMUs are built so. It sets what it was given as real ones too, and at every step,
parameters and the integer seed: so it is given the inputs alone, and those are set after the reset with which its run begins.
"""

from typing import Any

from gemseo_fmu.disciplines.do_step_fmu_discipline import DoStepFMUDiscipline
from gemseo_fmu.disciplines.time_stepping_system import TimeSteppingSystem
from numpy import array
from task import description_of, read_system, references, write_result


def discipline_of(component: dict[str, Any], task: dict[str, Any]) -> DoStepFMUDiscipline:
    """A component with the names of its variables in the system."""
    name, listed = component["name"], references(component["fmu"])
    root = description_of(component["fmu"])
    inputs, outputs = (
        [v.get("name") for v in root.find("ModelVariables") if v.get("causality") == causality] for causality in ("input", "output")
    )
    sources = {sink: source for source, sink in task["connections"]}
    sources |= {signal: signal for signal in task["record"]}
    names = {variable: sources.get(f"{name}.{variable}", f"{name}.{variable}") for variable in (*inputs, *outputs)}
    discipline = DoStepFMUDiscipline(
        component["fmu"],
        input_names=inputs,
        output_names=outputs,
        time_step=task["step_size"],
        final_time=task["step_size"] * task["steps"],
        add_time_to_output_grammar=False,
        name=name,
        variable_names=names,
    )
    model, third = discipline.model, root.get("fmiVersion") == "3.0"
    reset = model.reset

    def reset_and_start() -> None:
        reset()
        for variable, value in component["start"].items():
            reference, whole = listed[variable]
            if whole:
                (model.setInt64 if third else model.setInteger)([reference], [value])
            else:
                (model.setFloat64 if third else model.setReal)([reference], [value])

    model.reset = reset_and_start
    return discipline


def main() -> None:
    task = read_system()
    disciplines = [discipline_of(component, task) for component in task["components"]]
    end = task["step_size"] * task["steps"]
    system = TimeSteppingSystem(disciplines, end, task["step_size"], restart=False, do_step=True)
    coupled = {sink: source for source, sink in task["connections"]}
    given = {coupled[sink]: array([value]) for sink, value in task["coupled_start"].items()}
    rows = []
    for _ in range(task["steps"]):
        data = system.execute(given)
        given = {}
        rows.append([float(data[name][0]) for name in task["record"]])
    write_result(rows, "gemseo-fmu")


main()
