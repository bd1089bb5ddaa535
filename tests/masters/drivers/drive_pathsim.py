"""pathsim-fmi: FMUs as blocks of a PathSim diagram, stepped by its schedule.

PathSim hands the outputs of a block on before the next block steps; samplers of its own, which come first at every point of time,
hold what the inputs get over the step. It gets every output as a real one, and the FMUs are built so.
"""

from pathsim import Connection, Simulation
from pathsim.blocks import Constant, SampleHold, Scope
from pathsim_fmi import CoSimulationFMU
from task import coupled_start, input_starts, read_system, split, write_result


def main() -> None:
    task = read_system()
    size = task["step_size"]
    blocks = {}
    for component in task["components"]:
        name = component["name"]
        start = {**component["start"], **coupled_start(task, name)}
        blocks[name] = CoSimulationFMU(component["fmu"], name, start, size)

    def port(name: str):
        component, variable = split(name)
        return blocks[component][variable]

    samplers, wires, constants = [], [], []
    for source, sink in task["connections"]:
        samplers.append(SampleHold(T=size))
        wires += [Connection(port(source), samplers[-1]), Connection(samplers[-1], port(sink))]
    driven = {sink for _, sink in task["connections"]}
    for component in task["components"]:
        for variable, value in input_starts(component["fmu"]).items():
            name = f"{component['name']}.{variable}"
            if name not in driven:
                constants.append(Constant(value))
                wires.append(Connection(constants[-1], port(name)))
    scope = Scope()
    wires += [Connection(port(name), scope[number]) for number, name in enumerate(task["record"])]
    simulation = Simulation([*samplers, *constants, *blocks.values(), scope], wires, dt=size, log=False)
    # A block takes the step from t to t + dt at t: the last one begins, and the run ends, one step before the end.
    simulation.run(size * (task["steps"] - 1))
    _, columns = scope.read()
    rows = [list(map(float, row)) for row in zip(*columns, strict=True)]
    write_result(rows, "pathsim-fmi")


main()
