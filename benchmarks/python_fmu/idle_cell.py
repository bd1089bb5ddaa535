"""A plant with the variables of the cell and no model: an FMU of it costs what the master and PythonFMU cost."""

from collections.abc import Mapping, Sequence

from surrogate_fmu.variables import Causality, Variable


class IdleCell:
    """Stays where it is."""

    communication_step_size = 10.0
    variables: Sequence[Variable] = (
        Variable("current", Causality.INPUT, "A", start=0.0),
        Variable("ambient_temperature", Causality.INPUT, "K", start=298.15),
        Variable("soc_start", Causality.PARAMETER, "1", start=0.5),
        Variable("temperature_start", Causality.PARAMETER, "K", start=298.15),
        Variable("voltage", Causality.OUTPUT, "V"),
        Variable("temperature", Causality.OUTPUT, "K"),
        Variable("soc", Causality.OUTPUT, "1"),
    )

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        return {"voltage": 3.7, "temperature": 298.15, "soc": 0.5}

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        return {"voltage": 3.7, "temperature": 298.15, "soc": 0.5}
