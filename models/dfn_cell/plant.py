"""A lithium-ion cell as a plant: the Doyle-Fuller-Newman model of PyBaMM with a spread from cell to cell.

Chemistry and geometry: parameter set Chen2020 (LG M50 21700, 5 A.h; Chen et al., J. Electrochem. Soc. 167, 080534,
2020), lumped thermal model, contact resistance. The model: Doyle, Fuller, Newman, J. Electrochem. Soc. 140, 1526, 1993.

Every seed is one cell. Six parameters differ from cell to cell, drawn log-normally about the parameter set's values;
they are hidden: no output tells them, and a surrogate never sees them.

What makes a step fast: the model is discretised and the solver set up once for all runs (all that changes is a solver
input); the four outputs are one compiled CasADi function of the last state, in place of PyBaMM's post-processing of
four variables, which costs as much as the solve; nothing of a step's trajectory is kept but its end.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import casadi
import numpy as np
import pybamm

from surrogate_fmu.errors import PlantError
from surrogate_fmu.variables import Causality, Variable

# Hidden spread from cell to cell: standard deviation of the logarithm.
CELL_SPREAD = {
    "contact_resistance": 0.25,
    "negative_diffusivity": 0.25,
    "positive_diffusivity": 0.25,
    "negative_exchange_current": 0.20,
    "heat_transfer": 0.20,
    "electrode_width": 0.015,
}
MEDIAN_CONTACT_RESISTANCE_OHM = 0.008
HEAT_TRANSFER_W_M2_K = 10.0

_OUTPUTS = (
    "Voltage [V]",
    "Volume-averaged cell temperature [K]",
    "Discharge capacity [A.h]",
    "Total heating [W]",
)
_INPUTS = (
    "Current function [A]",
    "Ambient temperature [K]",
    "Initial temperature [K]",
    "Initial concentration in negative electrode [mol.m-3]",
    "Initial concentration in positive electrode [mol.m-3]",
    "Contact resistance [Ohm]",
    "Total heat transfer coefficient [W.m-2.K-1]",
    "Electrode width [m]",
    "Negative diffusivity factor",
    "Positive diffusivity factor",
    "Negative exchange-current factor",
)


class DfnCell:
    """The cell. A positive current discharges it."""

    communication_step_size = 10.0
    variables: Sequence[Variable] = (
        Variable("current", Causality.INPUT, "A", "current, positive when discharging", 0.0, -10.0, 15.0, 5.0),
        Variable("ambient_temperature", Causality.INPUT, "K", "temperature around the cell", 298.15, 253.15, 333.15, 300.0, "degC"),
        Variable("soc_start", Causality.PARAMETER, "1", "state of charge at the start", 0.5, 0.0, 1.0, 1.0, "%"),
        Variable(
            "temperature_start", Causality.PARAMETER, "K", "cell temperature at the start", 298.15, 253.15, 333.15, 300.0, "degC"
        ),
        Variable("voltage", Causality.OUTPUT, "V", "terminal voltage", nominal=4.0),
        Variable("temperature", Causality.OUTPUT, "K", "cell temperature", nominal=300.0, display_unit="degC"),
        Variable("soc", Causality.OUTPUT, "1", "state of charge", nominal=1.0, display_unit="%"),
        Variable("heat", Causality.OUTPUT, "W", "heat generated in the cell", nominal=1.0),
    )

    def __init__(self) -> None:
        pybamm.set_logging_level("ERROR")
        values = pybamm.ParameterValues("Chen2020")
        self._electrode_width = float(values["Electrode width [m]"])
        self._temperature_reference = float(values["Reference temperature [K]"])
        negative_maximum = float(values["Maximum concentration in negative electrode [mol.m-3]"])
        positive_maximum = float(values["Maximum concentration in positive electrode [mol.m-3]"])
        empty = pybamm.lithium_ion.get_min_max_stoichiometries(values)  # x_0, x_100, y_100, y_0
        x_0, x_100, y_100, y_0 = (float(stoichiometry) for stoichiometry in empty)
        self._negative_concentrations = (x_0 * negative_maximum, x_100 * negative_maximum)
        self._positive_concentrations = (y_0 * positive_maximum, y_100 * positive_maximum)
        self._solver, self._model, self._capacity = _set_up_solver(values, (x_0, x_100, negative_maximum))
        self._read_outputs = _compile_outputs(self._model)
        self._cell: dict[str, float] = {}
        self._soc_start = math.nan
        self._cell_capacity = math.nan
        self._solution: Any = None

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        start = {v.name: v.start for v in self.variables if v.causality is Causality.PARAMETER} | dict(parameters)
        for variable in self.variables:
            value = start.get(variable.name)
            if value is not None and not variable.min <= value <= variable.max:
                raise PlantError(f"{variable.name} = {value} is outside {variable.min} to {variable.max} {variable.unit}")
        soc, temperature = float(start["soc_start"]), float(start["temperature_start"])
        draw = np.random.default_rng(seed)
        spread = {name: math.exp(std * draw.standard_normal()) for name, std in CELL_SPREAD.items()}
        negative_empty, negative_full = self._negative_concentrations
        positive_empty, positive_full = self._positive_concentrations
        self._cell = {
            "Initial temperature [K]": temperature,
            "Initial concentration in negative electrode [mol.m-3]": negative_empty + soc * (negative_full - negative_empty),
            "Initial concentration in positive electrode [mol.m-3]": positive_empty + soc * (positive_full - positive_empty),
            "Contact resistance [Ohm]": MEDIAN_CONTACT_RESISTANCE_OHM * spread["contact_resistance"],
            "Total heat transfer coefficient [W.m-2.K-1]": HEAT_TRANSFER_W_M2_K * spread["heat_transfer"],
            "Electrode width [m]": self._electrode_width * spread["electrode_width"],
            "Negative diffusivity factor": spread["negative_diffusivity"],
            "Positive diffusivity factor": spread["positive_diffusivity"],
            "Negative exchange-current factor": spread["negative_exchange_current"],
        }
        self._soc_start = soc
        self._cell_capacity = self._capacity * spread["electrode_width"]
        self._solution = None
        rest = self._solver_inputs({"current": 0.0, "ambient_temperature": temperature})
        state = self._model.concatenated_initial_conditions.evaluate(0.0, inputs={k: np.array([[v]]) for k, v in rest.items()})
        return self._outputs(0.0, np.asarray(state).ravel(), rest)

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        if not self._cell:
            raise PlantError("the cell has no start: call reset(seed, parameters) before do_step")
        values = self._solver_inputs(inputs)
        try:
            solution = self._solver.step(self._solution, self._model, communication_step_size, inputs=values, save=False)
        except pybamm.SolverError as error:
            raise PlantError(f"the DFN solver failed at inputs {dict(inputs)}: {error}") from error
        if solution.termination != "final time":
            raise PlantError(f"the DFN solver stopped early ({solution.termination}) at inputs {dict(inputs)}")
        outputs = self._outputs(float(solution.t[-1]), solution.y[:, -1], values)
        if not all(map(math.isfinite, outputs.values())):
            raise PlantError(f"the DFN solver diverged at inputs {dict(inputs)}: {outputs}")
        self._solution = solution
        return outputs

    def _solver_inputs(self, inputs: Mapping[str, float]) -> dict[str, float]:
        return {
            "Current function [A]": float(inputs["current"]),
            "Ambient temperature [K]": float(inputs["ambient_temperature"]),
            **self._cell,
        }

    def _outputs(self, time: float, state: Any, values: Mapping[str, float]) -> dict[str, float]:
        voltage, temperature, discharged, heat = np.asarray(
            self._read_outputs(time, state, [values[name] for name in _INPUTS])
        ).ravel()
        return {
            "voltage": float(voltage),
            "temperature": float(temperature),
            "soc": self._soc_start - float(discharged) / self._cell_capacity,
            "heat": float(heat),
        }


def _set_up_solver(values: Any, negative_window: tuple[float, float, float]) -> tuple[Any, Any, float]:
    """The warm solver, the discretised model, and the capacity [A.h] of the median cell."""
    x_0, x_100, negative_maximum = negative_window
    volume = (
        float(values["Negative electrode thickness [m]"])
        * float(values["Electrode width [m]"])
        * float(values["Electrode height [m]"])
        * float(values["Number of electrodes connected in parallel to make a cell"])
    )
    capacity = (
        (x_100 - x_0)
        * negative_maximum
        * float(values["Negative electrode active material volume fraction"])
        * volume
        * pybamm.constants.F.value
        / 3600.0
    )
    diffusivity = {side: values[f"{side} particle diffusivity [m2.s-1]"] for side in ("Negative", "Positive")}
    exchange_current = values["Negative electrode exchange-current density [A.m-2]"]

    def scaled_exchange_current(*arguments: Any) -> Any:
        return pybamm.InputParameter("Negative exchange-current factor") * exchange_current(*arguments)

    values.update(
        {name: "[input]" for name in _INPUTS if not name.endswith("factor")}
        | {
            f"{side} particle diffusivity [m2.s-1]": diffusivity[side] * pybamm.InputParameter(f"{side} diffusivity factor")
            for side in ("Negative", "Positive")
        }
        | {
            "Negative electrode exchange-current density [A.m-2]": scaled_exchange_current,
            # The cut-offs are the controller's business; as events they would end a step early.
            "Lower voltage cut-off [V]": 1.0,
            "Upper voltage cut-off [V]": 5.5,
        },
        check_already_exists=False,
    )
    model = pybamm.lithium_ion.DFN({"thermal": "lumped", "contact resistance": "true"})
    solver = pybamm.IDAKLUSolver(rtol=1e-4, atol=1e-6)
    simulation = pybamm.Simulation(model, parameter_values=values, solver=solver)
    simulation.build()
    return simulation.solver, simulation.built_model, float(capacity)


def _compile_outputs(model: Any) -> Any:
    """(time, state, solver inputs) -> the four raw outputs, as one CasADi function."""
    time = casadi.MX.sym("time")
    state = casadi.MX.sym("state", model.len_rhs_and_alg)
    inputs = {name: casadi.MX.sym(name) for name in _INPUTS}
    raw = [model.get_processed_variable(name).to_casadi(time, state, inputs=inputs) for name in _OUTPUTS]
    return casadi.Function("outputs", [time, state, casadi.vertcat(*inputs.values())], [casadi.vertcat(*raw)])
