"""FMPy's classes of FMI 2.0 and 3.0 slaves, with the loop of a Jacobi master around them, which also iterates."""

import tempfile
from typing import Any

from fmpy import extract, read_model_description
from fmpy.fmi2 import FMU2Slave
from fmpy.fmi3 import FMU3Slave
from task import read_system, references, split, write_result


class Instance:
    """One component; the two versions of the standard behind the same names."""

    def __init__(self, component: dict[str, Any]) -> None:
        description = read_model_description(component["fmu"])
        self.third = description.fmiVersion == "3.0"
        self.references = references(component["fmu"])
        self.fmu = (FMU3Slave if self.third else FMU2Slave)(
            guid=description.guid,
            unzipDirectory=extract(component["fmu"], tempfile.mkdtemp()),
            modelIdentifier=description.coSimulation.modelIdentifier,
            instanceName=component["name"],
        )
        self.fmu.instantiate()
        for name, value in component["start"].items():
            self.set(name, value)

    def set(self, name: str, value: float) -> None:
        reference, whole = self.references[name]
        if whole:
            (self.fmu.setInt64 if self.third else self.fmu.setInteger)([reference], [value])
        else:
            (self.fmu.setFloat64 if self.third else self.fmu.setReal)([reference], [value])

    def get(self, name: str) -> float:
        reference, _ = self.references[name]
        return (self.fmu.getFloat64 if self.third else self.fmu.getReal)([reference])[0]

    def enter(self) -> None:
        if not self.third:
            self.fmu.setupExperiment(startTime=0.0)
        self.fmu.enterInitializationMode()

    def get_state(self) -> Any:
        return self.fmu.getFMUState() if self.third else self.fmu.getFMUstate()

    def set_state(self, state: Any) -> None:
        (self.fmu.setFMUState if self.third else self.fmu.setFMUstate)(state)

    def free_state(self, state: Any) -> None:
        (self.fmu.freeFMUState if self.third else self.fmu.freeFMUstate)(state)


def main() -> None:
    system = read_system()
    instances = {component["name"]: Instance(component) for component in system["components"]}

    def read(name: str) -> float:
        component, variable = split(name)
        return instances[component].get(variable)

    def outputs() -> list[float]:
        return [read(source) for source, _ in system["connections"]]

    def hand_over(values: list[float]) -> None:
        for (_, sink), value in zip(system["connections"], values, strict=True):
            component, variable = split(sink)
            instances[component].set(variable, value)

    def step(number: int) -> None:
        for instance in instances.values():
            instance.fmu.doStep(number * size, size)

    def restore(states: dict[str, Any]) -> None:
        for name, state in states.items():
            instances[name].set_state(state)

    for instance in instances.values():
        instance.enter()
    hand_over(outputs())
    for instance in instances.values():
        instance.fmu.exitInitializationMode()
    rows, size = [], system["step_size"]
    repeats = system["rollback"] or system["iterations"] > 1
    for number in range(system["steps"]):
        given = outputs()
        hand_over(given)
        states = {name: instance.get_state() for name, instance in instances.items()} if repeats else {}
        step(number)
        if system["rollback"]:
            restore(states)
            step(number)
        for _ in range(system["iterations"] - 1):
            led_to = outputs()
            if all(abs(a - b) < system["tolerance"] for a, b in zip(led_to, given, strict=True)):
                break
            restore(states)
            given = led_to
            hand_over(given)
            step(number)
        for name, state in states.items():
            instances[name].free_state(state)
        rows.append([read(name) for name in system["record"]])
    for instance in instances.values():
        instance.fmu.terminate()
        instance.fmu.freeInstance()
    write_result(rows, "fmpy")


main()
