"""ECOS by its Python package: a master in C++ in this process."""

from ecospy.EcosSimulation import EcosSimulation
from ecospy.EcosSimulationStructure import EcosSimulationStructure
from ecospy.lib import EcosLib
from task import read_system, split, write_result


def identifier(name: str) -> str:
    """`component.variable` as ECOS calls it."""
    return "::".join(split(name))


def main() -> None:
    system = read_system()
    structure = EcosSimulationStructure()
    for component in system["components"]:
        structure.add_model(component["name"], component["fmu"])
    for source, sink in system["connections"]:
        structure.make_real_connection(identifier(source), identifier(sink))
    start = {f"{c['name']}::{name}": value for c in system["components"] for name, value in c["start"].items()}
    structure.add_parameter_set("start", start)
    rows, size = [], system["step_size"]
    with EcosSimulation(size, structure=structure) as simulation:
        if not simulation.init(parameter_set="start"):
            raise RuntimeError(EcosLib.get_last_error())
        for number in range(1, system["steps"] + 1):
            if simulation.step() != number * size:
                raise RuntimeError(f"step {number}: {EcosLib.get_last_error()}")
            rows.append([simulation.get_real(identifier(name)) for name in system["record"]])
        simulation.terminate()
    write_result(rows, "ecospy")


main()
