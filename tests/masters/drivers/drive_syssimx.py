"""SysSimX: components by FMPy, its Jacobi algorithm, which takes the order from the dependencies in ModelStructure; FMI 2.0.

It settles a system by steps of length zero, which the standard does not have: its component leaves them out here. Before
initialization it hands over zeros where the system has a loop: its outputs are told what they will be.
"""

from syssimx.components.fmu import FMUComponent
from syssimx.system.algorithms.jacobi import JacobiAlgorithm
from syssimx.system.connection import Connection
from syssimx.system.system import System
from task import input_starts, read_system, split, write_result


class Component(FMUComponent):
    """Takes steps that have a length."""

    def _do_step_internal(self, t: float, dt: float) -> None:
        if dt > 0.0:
            super()._do_step_internal(t, dt)


def main() -> None:
    task = read_system()
    system = System("system")
    system.set_algorithm(JacobiAlgorithm())
    for component in task["components"]:
        part = Component(component["name"], component["fmu"])
        part.set_parameters(**component["start"])
        for name, value in input_starts(component["fmu"]).items():
            part.inputs[name].set(value, t=0.0)
        system.add_component(part)
    for source, sink in task["connections"]:
        system.add_connection(Connection(*split(source), *split(sink)))
        component, variable = split(source)
        system.components[component].outputs[variable].set(task["coupled_start"][sink], t=0.0)
    system.initialize(0.0)
    size, rows = task["step_size"], []

    def read(name: str) -> float:
        component, variable = split(name)
        value = system.components[component].outputs[variable].get()
        return float(getattr(value, "magnitude", value))

    for number in range(task["steps"]):
        system.run(number * size, (number + 1) * size, size)
        rows.append([read(name) for name in task["record"]])
    system.reset()
    write_result(rows, "syssimx")


main()
