"""A model exchange FMU as a plant: it has no solver of its own, and FMPy's CVODE integrates it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import PlantError
from surrogate_fmu.plant.fmu_instance import CoSimulationFmu, PlantFmu, fmu_kinds

_TOLERANCE = 1e-6  # relative, where the FMU says none
_MOST_EVENTS = 10_000  # within a communication step; more of them are chattering


def open_fmu(path: Path) -> PlantFmu:
    """A co-simulation FMU, or one for model exchange where it is that alone.

    Raises:
        ConfigError: there is no such FMU, it is of neither kind, or it has no binary for this machine.
    """
    return ModelExchangeFmu(path) if fmu_kinds(path) == {"modelExchange"} else CoSimulationFmu(path)


class ModelExchangeFmu(PlantFmu):
    """The FMU and its solver. Inputs are constant over a communication step, as in co-simulation.

    Between two steps the instance is in event mode, in which inputs of any variability may be set. A step takes their events first,
    then integrates, stopping for state, time and step events on its way (FMI 2.0.4 section 3.2; FMI 3.0 section 3).
    """

    kind = "modelExchange"

    def initialize(self) -> None:
        """Through initialization mode; the instance is in event mode then."""
        super().initialize()
        experiment = self.description.defaultExperiment
        tolerance = float(getattr(experiment, "tolerance", None) or _TOLERANCE)
        self._next_event = math.inf
        self._failure: Exception | None = None
        fmu = self._fmu
        try:
            from fmpy.sundials import CVodeSolver

            self._solver: Any = CVodeSolver(
                nx=int(self.description.numberOfContinuousStates or 0),
                nz=int(self.description.numberOfEventIndicators or 0),
                get_x=self._kept(fmu.getContinuousStates),
                set_x=self._kept(fmu.setContinuousStates),
                get_dx=self._kept(fmu.getContinuousStateDerivatives if self._third else fmu.getDerivatives),
                get_z=self._kept(fmu.getEventIndicators),
                get_nominals=self._kept(fmu.getNominalsOfContinuousStates),
                set_time=self._kept(fmu.setTime),
                input=_Held(),
                startTime=self._time,
                relativeTolerance=tolerance,
                maxNumSteps=100_000,
            )
        except (ImportError, OSError) as error:
            raise PlantError(
                f"{self.name}: FMPy has no CVODE for this machine ({error}); export the FMU for co-simulation"
            ) from error

    def do_step(self, communication_step_size: float) -> None:
        """Advance [s]."""
        begin = self._time
        self._call(f"the step at {begin:g} s", self._integrate, begin + communication_step_size)
        self._time = begin + communication_step_size

    def _integrate(self, end: float) -> None:
        time, events = self._time, 0
        self._take_events(time)
        while not _is_near(time, end):
            target = min(end, self._next_event)
            state_event = step_event = False
            if _is_near(time, target):  # an event that is due now but for rounding, nearer than the solver can step
                time = target
            else:
                state_event, _, time = self._solver.step(time, target)
                if self._failure is not None:
                    raise self._failure
            self._fmu.setTime(time)
            if self.description.modelExchange.needsCompletedIntegratorStep:
                step_event, ended = self._fmu.completedIntegratorStep()
                self._check(ended, time)
            if state_event or step_event or time >= self._next_event:
                events += 1
                if events > _MOST_EVENTS:
                    raise RuntimeError(f"more than {_MOST_EVENTS} events up to {time:g} s; the model chatters")
                self._fmu.enterEventMode()
                self._take_events(time)
        self._fmu.enterEventMode()

    def _take_events(self, time: float) -> None:
        """From event mode to continuous time."""
        update = self._fmu.updateDiscreteStates if self._third else self._fmu.newDiscreteStates
        more, updates = True, 0
        while more:
            updates += 1
            if updates > _MOST_EVENTS:
                raise RuntimeError(f"more than {_MOST_EVENTS} updates of events at {time:g} s; its discrete states do not settle")
            more, ended, _, _, is_known, next_event = update()
            self._check(ended, time)
            self._next_event = float(next_event) if is_known and next_event > time else math.inf
        self._fmu.enterContinuousTimeMode()
        self._solver.reset(time)

    def _check(self, ended: bool, time: float) -> None:
        if ended:
            raise RuntimeError(f"it ends the simulation at {time:g} s")

    def _kept(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """An exception cannot pass the solver, which is C; the first one is kept, and raised behind it."""

        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except Exception as error:
                self._failure = self._failure or error
                return None

        return call


def _is_near(time: float, other: float) -> bool:
    """Whether two times [s] differ by rounding alone."""
    return math.isclose(time, other, rel_tol=1e-12, abs_tol=1e-12)


class _Held:
    """Inputs of FMPy's solver: set before the step."""

    def apply(self, time: float) -> None:
        """Nothing changes."""
        return None
