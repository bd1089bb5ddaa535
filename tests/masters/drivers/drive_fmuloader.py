"""fmuloader's thin layer over the functions of an FMU, all of which it demands, with the loop of a Jacobi master around it."""

from typing import Any

from fmuloader.fmi2 import Fmi2Slave, Fmi2Type
from fmuloader.fmi3 import Fmi3Slave
from task import description_of, read_system, references, split, write_result


class Instance:
    """One component; the two versions of the standard behind the same names."""

    def __init__(self, component: dict[str, Any]) -> None:
        root = description_of(component["fmu"])
        self.third = root.get("fmiVersion") == "3.0"
        self.references = references(component["fmu"])
        kind = root.find("CoSimulation")
        self.fmu = (Fmi3Slave if self.third else Fmi2Slave)(component["fmu"], model_identifier=kind.get("modelIdentifier"))
        if self.third:
            self.fmu.instantiate_co_simulation(component["name"], instantiation_token=root.get("instantiationToken"))
        else:
            own_memory = kind.get("canNotUseMemoryManagementFunctions") == "true"
            self.fmu.instantiate(
                component["name"],
                Fmi2Type.CO_SIMULATION,
                guid=root.get("guid"),
                cannot_use_memory_management_functions=own_memory,
            )
        for name, value in component["start"].items():
            self.set(name, value)

    def set(self, name: str, value: float) -> None:
        reference, whole = self.references[name]
        if whole:
            (self.fmu.set_int64 if self.third else self.fmu.set_integer)([reference], [value])
        else:
            (self.fmu.set_float64 if self.third else self.fmu.set_real)([reference], [value])

    def get(self, name: str) -> float:
        reference, _ = self.references[name]
        return (self.fmu.get_float64 if self.third else self.fmu.get_real)([reference])[0]

    def enter(self) -> None:
        if not self.third:
            self.fmu.setup_experiment(start_time=0.0)
        self.fmu.enter_initialization_mode()


def main() -> None:
    system = read_system()
    instances = {component["name"]: Instance(component) for component in system["components"]}

    def read(name: str) -> float:
        component, variable = split(name)
        return instances[component].get(variable)

    def hand_over() -> None:
        values = [read(source) for source, _ in system["connections"]]
        for (_, sink), value in zip(system["connections"], values, strict=True):
            component, variable = split(sink)
            instances[component].set(variable, value)

    for instance in instances.values():
        instance.enter()
    hand_over()
    for instance in instances.values():
        instance.fmu.exit_initialization_mode()
    rows, size = [], system["step_size"]
    for number in range(system["steps"]):
        hand_over()
        for instance in instances.values():
            if system["rollback"]:
                state = instance.fmu.get_fmu_state()
                instance.fmu.do_step(number * size, size)
                instance.fmu.set_fmu_state(state)
                instance.fmu.free_fmu_state(state)
            instance.fmu.do_step(number * size, size)
        rows.append([read(name) for name in system["record"]])
    for instance in instances.values():
        instance.fmu.terminate()
        instance.fmu.free_instance()
    write_result(rows, "fmuloader")


main()
