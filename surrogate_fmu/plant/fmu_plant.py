"""An FMU as the plant."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from surrogate_fmu.face import Face
from surrogate_fmu.plant.fmu_interface import FmuInterface, read_interface
from surrogate_fmu.plant.fmu_model_exchange import open_fmu
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Causality, Variable, with_causality

_SEED_MAX = 2**31 - 1


class FmuPlant:
    """A plant in an FMU, FMI 2.0 or 3.0, for co-simulation or for model exchange.

    Args:
        path: of the FMU.
        settings: what of it is modelled.

    Attributes:
        interface: what was chosen of it.
        description: FMPy's model description.
        takes_inputs_at_reset: the first inputs are set before initialization, as a master does, and may act on the start.

    Raises:
        ConfigError: there is no such FMU, it has no binary for this machine, or it cannot be modelled.
    """

    takes_inputs_at_reset = True

    def __init__(self, path: Path | str, settings: PlantSettings | None = None) -> None:
        self._fmu = open_fmu(Path(path))
        self.description = self._fmu.description
        self.interface: FmuInterface = read_interface(self.description, settings or PlantSettings(), self._fmu.name)
        if self._fmu.has_terminals:
            left_out = (*self.interface.left_out, "the plant has terminals, which group its variables")
            self.interface = replace(self.interface, left_out=left_out)
        self._outputs = [variable.name for variable in with_causality(self.variables, Causality.OUTPUT)]

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Inputs, outputs and parameters that are modelled."""
        return self.interface.variables

    @property
    def face(self) -> Face:
        """What the FMU has besides, as far as a system may be wired to it."""
        return self.interface.face

    @property
    def communication_step_size(self) -> float:
        """[s]."""
        return self.interface.communication_step_size

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        """Instantiate anew, set values of parameters and inputs, and initialize; the outputs at time 0.

        Raises:
            PlantError: the FMU refuses; the message has what it logged.
        """
        self._fmu.instantiate()
        self._fmu.set_values({**self.interface.held, **parameters})
        if self.interface.seed:
            self._fmu.set(self.interface.seed, seed % _SEED_MAX)
        self._fmu.initialize()
        return self._read()

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        """Set the inputs, step, read the outputs.

        Raises:
            PlantError: the FMU refuses; the message has what it logged.
        """
        self._fmu.set_values(inputs)
        self._fmu.do_step(communication_step_size)
        return self._read()

    def close(self) -> None:
        """Free the instance."""
        self._fmu.free()

    def _read(self) -> dict[str, float]:
        return self._fmu.get_values(self._outputs)
