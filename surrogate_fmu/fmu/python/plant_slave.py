"""The slave that runs a plant, so that the slow solver itself can stand in a system as an FMU, with a seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from surrogate_fmu.errors import CallOrderError, InputError, PlantError, SurrogateError
from surrogate_fmu.fmu.interface import plant_interface
from surrogate_fmu.fmu.python.description_token import check_description_token
from surrogate_fmu.fmu.python.interpreter_end import end_interpreter_first
from surrogate_fmu.fmu.python.refusal import fatal_refusal
from surrogate_fmu.fmu.python.slave import Slave
from surrogate_fmu.fmu.scalar import Kind, Role
from surrogate_fmu.plant.protocol import Plant, load_plant
from surrogate_fmu.variables import Causality, Variable, with_causality


class PlantSlave(Slave):
    """A plant; the generated slave module of an FMU names it.

    Attributes:
        plant_reference: `file.py:ClassName`, the file in the resources.
    """

    plant_reference: ClassVar[str]

    _known: ClassVar[dict[str, tuple[Sequence[Variable], float]]] = {}  # variables and step by plant

    def __init__(self, **kwargs: Any) -> None:
        self._folder = Path(kwargs["resources"])
        end_interpreter_first(self._folder, type(self).__name__)
        self._plant: Plant | None = None
        try:
            check_description_token(kwargs["resources"], self.token, self.prefix)
        except SurrogateError as error:
            raise fatal_refusal(error, self.prefix) from None
        if self.plant_reference not in self._known:
            try:
                self._plant = load_plant(self.plant_reference, self._folder)
            except SurrogateError as error:
                raise fatal_refusal(error, self.prefix) from None
            self._known[self.plant_reference] = (self._plant.variables, self._plant.communication_step_size)
        variables, step_size = self._known[self.plant_reference]
        interface = plant_interface(variables)
        super().__init__(interface, {}, step_size, **kwargs)
        (self._seed,) = (scalar.value_reference for scalar in interface if scalar.role is Role.SEED)
        self._parameters = [variable.name for variable in with_causality(variables, Causality.PARAMETER)]
        self._inputs = [variable.name for variable in with_causality(variables, Causality.INPUT)]
        self._failed = False

    def _start_run(self) -> Mapping[str, Any]:
        values = {name: self._value(name) for name in self._parameters}
        if self._plant is None:  # made late, because fmi2Reset makes a new slave and must not fail
            self._plant = load_plant(self.plant_reference, self._folder)
        return self._plant.reset(self._table.values[Kind.INTEGER][self._seed], values)

    def _advance(self, inputs: Mapping[str, Any], communication_point: float, communication_step_size: float) -> Mapping[str, Any]:
        assert self._plant is not None
        if self._failed:
            raise CallOrderError("the plant failed in an earlier step and its run is over; call fmi2Reset")
        if not communication_step_size > 0.0:
            raise InputError(f"a communication step of {communication_step_size:g} s was asked; it must be positive")
        held = {name: self._value(name) for name in self._inputs}
        try:
            return self._plant.do_step(held, communication_step_size)
        except PlantError:
            self._failed = True
            raise

    def _value(self, name: str) -> float:
        return self._table.number(name)
