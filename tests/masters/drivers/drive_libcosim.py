"""Open Simulation Platform's libcosim by its Python package: a master in C++ in this process; FMI 2.0."""

from libcosimpy import CosimConstants
from libcosimpy.CosimExecution import CosimExecution
from libcosimpy.CosimObserver import CosimObserver
from libcosimpy.CosimSlave import CosimLocalSlave
from task import read_system, references, split, write_result

NANOSECONDS = 10**9


def main() -> None:
    system = read_system()
    execution = CosimExecution.from_step_size(int(system["step_size"] * NANOSECONDS))
    observer = CosimObserver.create_last_value()
    execution.add_observer(observer)
    listed = {component["name"]: references(component["fmu"]) for component in system["components"]}
    kept, indices = [], {}
    for component in system["components"]:
        slave = CosimLocalSlave(component["fmu"], component["name"])
        if not slave.ptr():
            raise RuntimeError(f"libcosim cannot load {component['fmu']}")
        kept.append(slave)
        index = indices[component["name"]] = execution.add_local_slave(slave)
        if index < 0:
            raise RuntimeError(f"libcosim cannot add {component['name']}")
        for name, value in component["start"].items():
            reference, whole = listed[component["name"]][name]
            done = (execution.integer_initial_value if whole else execution.real_initial_value)(index, reference, value)
            if not done:
                raise RuntimeError(f"libcosim cannot start {name} with {value}")

    def place(name: str) -> tuple[int, int]:
        component, variable = split(name)
        return indices[component], listed[component][variable][0]

    for source, sink in system["connections"]:
        if execution.connect_real_variables(*place(source), *place(sink)) != CosimConstants.success:
            raise RuntimeError(f"libcosim cannot connect {source} with {sink}")
    rows = []
    for number in range(1, system["steps"] + 1):
        if not execution.step():
            raise RuntimeError(f"step {number}: {execution.status()}")
        places = [place(name) for name in system["record"]]
        rows.append([observer.last_real_values(index, [reference])[0] for index, reference in places])
    write_result(rows, "libcosimpy")


def _listed(place: tuple[int, int]) -> tuple[int, list[int]]:
    return place[0], [place[1]]


main()
