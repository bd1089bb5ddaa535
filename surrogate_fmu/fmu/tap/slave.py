"""What a tap answers to its master: calls are passed on to the plant, those of a run by way of the guard.

The library of PythonFMU or PythonFMU3 calls the methods below; what becomes of errors is as `python.refusal` says, and a value that
the plant does not take is told again at the next step, which is refused, until it takes one (once, for an output).
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import fmpy  # noqa: F401  (named here, so that a host without it is told so)

from surrogate_fmu.errors import CallOrderError, InputError, SessionError, SnapshotError, SurrogateError
from surrogate_fmu.fmu.instance import Message
from surrogate_fmu.fmu.python.description_token import check_description_token
from surrogate_fmu.fmu.python.interpreter_end import end_interpreter_first
from surrogate_fmu.fmu.python.refusal import fatal_refusal, message_of, text_for
from surrogate_fmu.fmu.tap.agreement import Agreement
from surrogate_fmu.fmu.tap.guard import Guard, GuardState, Leader, Outputs
from surrogate_fmu.fmu.tap.inner import BOOLEAN, REALS, Columns, Place, SavedState, TappedPlant, Write
from surrogate_fmu.fmu.tap.log import TapLog, open_folder
from surrogate_fmu.fmu.tap.partner import PartnerState, TappedSurrogate
from surrogate_fmu.fmu.tap.plan import PLAN_FILE, PLANT_FOLDER, SURROGATE_FOLDER, Mode, TapPlan
from surrogate_fmu.fmu.tap.value_calls import ValueCalls
from surrogate_fmu.schema import decode
from surrogate_fmu.variables import Causality, with_causality

_NEVER_SET = ("output", "independent", "calculatedParameter")


def _whole(place: Place) -> Place:
    """That of the variable that a scalar is of."""
    return Place(place.type, place.reference)


class _SavedTap(NamedTuple):
    """A state of a tap."""

    slave: "TapSlave"
    plant: SavedState
    surrogate: PartnerState | None
    guard: GuardState | None
    held: dict[Place, float]
    given: dict[Place, Any]
    refusals: dict[Place, SurrogateError]
    time: float
    has_stepped: bool
    rows: int


class TapSlave(ValueCalls):
    """A tap; the generated slave module of an FMU joins it with a shell.

    Attributes:
        token: the GUID, or instantiation token, of the build.
        prefix, start_time, status_error, status_warning, resources, instance_name, log_queue, log: as `Slave`.
    """

    token: ClassVar[str]
    prefix: ClassVar[str]
    start_time: ClassVar[float | None]
    status_error: ClassVar[Any]
    status_warning: ClassVar[Any]
    resources: str
    instance_name: str
    log_queue: list[object]
    log: Callable[[str, Any], None]

    def __init__(self, **kwargs: Any) -> None:
        resources, instance = Path(kwargs["resources"]), str(kwargs["instance_name"])
        end_interpreter_first(resources, type(self).__name__)
        self._heard: list[Message] = []
        try:
            check_description_token(kwargs["resources"], self.token, self.prefix)
            plan = decode(TapPlan, json.loads((resources / PLAN_FILE).read_text("utf-8")))
            self._folder = open_folder(plan.config.log)
            inputs, parameters, outputs = (
                [v.name for v in with_causality(plan.variables, causality)]
                for causality in (Causality.INPUT, Causality.PARAMETER, Causality.OUTPUT)
            )
            self._plant = TappedPlant(resources / PLANT_FOLDER, instance, outputs, self._heard.append)
            self._surrogate = None
            if plan.surrogate:
                self._surrogate = TappedSurrogate(resources / SURROGATE_FOLDER, instance, plan, self._plant)
        except SurrogateError as error:
            raise fatal_refusal(error, self.prefix) from None
        super().__init__(**kwargs)
        # The loader puts the resources on the path at every instantiation; by now everything is imported.
        if self.resources in sys.path:
            sys.path.remove(self.resources)
        self._statuses = type(self.status_error)
        self._plan = plan
        self._inputs, self._parameters = Columns(self._plant, inputs), Columns(self._plant, parameters)
        self._held: dict[Place, float] = {}  # inputs
        self._given: dict[Place, Any] = {}  # what the master reads in place of the plant's values
        self._refusals: dict[Place, SurrogateError] = {}
        listed = self._plant.variables.items()
        self._settable = {_whole(self._plant.place(name)) for name, v in listed if v.causality not in _NEVER_SET}
        self._guard: Guard[Write] | None = None
        self._log: TapLog | None = None
        self._time, self._has_stepped = 0.0, False

    # -- life ------------------------------------------------------------------------------------------------------

    def setup_experiment(self, start_time: float, stop_time: float | None, tolerance: float | None) -> None:
        """FMI 2.0.4, section 2.1.6. PythonFMU3 does not call it."""
        self._time = start_time
        self._fatal(self._plant.setup_experiment, start_time, stop_time, tolerance)
        if self._surrogate is not None:
            self._surrogate.attempt(self._surrogate.setup_experiment, start_time)

    def enter_initialization_mode(self) -> None:
        """Both enter it."""
        self._fatal(self._plant.enter_initialization_mode)
        if self._surrogate is not None:
            self._surrogate.attempt(self._surrogate.enter_initialization_mode)

    def exit_initialization_mode(self) -> None:
        """The run starts, and its log."""
        self._fatal(self._start_run)

    def do_step(self, current_time: float, step_size: float) -> bool:
        """Advance once; False when refused, with a message."""
        try:
            self._raise_refusal()
            if self._guard is None:
                raise CallOrderError(f"{self.prefix}DoStep is not allowed before the FMU is initialized: initialize first")
            if self.start_time is None and not self._has_stepped and current_time != self._time:
                raise SessionError(
                    f"the master starts at {current_time:g} s, and the plant inside was initialized at {self._time:g} s, "
                    f"for PythonFMU3 does not tell the start time; start at {self._time:g} s"
                )
            inputs = [self._held[place] for place in self._inputs.places]
            taken = self._guard.do_step(current_time, step_size)
        except Exception as error:
            self._tell(error)
            return False
        self._time, self._has_stepped = current_time + step_size, True
        if taken.leader is Leader.PLANT:
            self._given.clear()
        else:
            assert taken.surrogate is not None
            self._give(taken.surrogate)
        self._logged(lambda log: log.step(current_time, step_size, inputs, taken))
        for handover in taken.handovers:
            out = handover.to is Leader.PLANT
            said = f"from {handover.communication_point:g} s {'the solver takes over' if out else 'the surrogate leads'}"
            status = self.status_warning if out else self._statuses.ok
            self.log(text_for(f"{said}: {handover.reason}", self.prefix), status)
        self._tell()
        return True

    def terminate(self) -> None:
        """The end of the run, of both; values can still be read."""
        self._logged(lambda log: log.end(self._time))
        self._fatal(self._plant.terminate)
        if self._surrogate is not None:
            self._surrogate.attempt(self._surrogate.terminate)

    # -- state -----------------------------------------------------------------------------------------------------

    def _get_fmu_state(self) -> _SavedTap:
        """Where everything stands; of this instance, and not to be serialized."""
        try:
            return _SavedTap(
                self,
                self._plant.save(),
                None if self._surrogate is None else self._surrogate.save_all(),
                None if self._guard is None else self._guard.save(),
                dict(self._held),
                dict(self._given),
                dict(self._refusals),
                self._time,
                self._has_stepped,
                0 if self._log is None else self._log.rows,
            )
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None

    def _set_fmu_state(self, state: _SavedTap) -> None:
        """Go back to it; the log goes on and says so."""
        try:
            if state.slave is not self:
                raise SnapshotError(
                    "the FMU state is one of another instance of this tap, or from before a reset; set one of this instance"
                )
            if (state.guard is None) is not (self._guard is None):
                raise SnapshotError("the FMU state is from before the run started; reset the FMU instead")
            self._plant.load(state.plant)
            if self._surrogate is not None and state.surrogate is not None:
                self._surrogate.load_all(state.surrogate)
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None
        if self._guard is not None and state.guard is not None:
            self._guard.load(state.guard)
        self._held, self._given, self._refusals = dict(state.held), dict(state.given), dict(state.refusals)
        self._time, self._has_stepped = state.time, state.has_stepped
        self._logged(lambda log: log.restore(state.rows))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _get(self, kind: str, vrs: Sequence[int], nothing: Any) -> list[Any]:
        given = self._given
        try:
            if not given:
                return self._plant.get(kind, vrs)
            places = self._plant.places(kind, vrs)
            asked = list(dict.fromkeys(place.reference for place in places if place not in given))
            if not asked:
                return [given[place] for place in places]
            read = dict(zip(self._plant.places(kind, asked), self._plant.get(kind, asked), strict=True))
            return [given[place] if place in given else read[place] for place in places]
        except SurrogateError as error:
            self._tell(error)
            return [nothing] * self._plant.count(vrs)

    def _set(self, kind: str, vrs: Sequence[int], values: Sequence[Any]) -> None:
        write = Write(kind, tuple(vrs), tuple(values))
        places = [Place(kind, vr) for vr in vrs]
        try:
            if len(values) != (elements := self._plant.count(vrs)):
                raise InputError(f"{len(values)} values were given for variables with {elements} elements; give all of them")
            if self._guard is not None:
                self._guard.write(write)
            else:
                self._plant.write(write)
                if self._surrogate is not None:
                    self._surrogate.write(write)
        except SurrogateError as error:
            self._refusals.update(dict.fromkeys(places, error))
            self._tell(error)
            return
        if self._refusals:
            for place in places:
                self._refusals.pop(place, None)
        for place, value in self._plant.scalars(write):
            if place in self._held:
                self._held[place] = float(value)
            if self._guard is not None and self._guard.is_behind:
                self._given[place] = value  # the plant gets it when it catches up

    def _raise_refusal(self) -> None:
        """Raise the first write that was refused and not made good; one that never can be is forgotten with that."""
        for place, error in self._refusals.items():
            if place not in self._settable:
                del self._refusals[place]
            raise error

    def _start_run(self) -> None:
        self._raise_refusal()
        self._plant.exit_initialization_mode()
        config = self._plan.config
        if self._surrogate is not None:
            self._surrogate.attempt(self._surrogate.exit_initialization_mode)
        agreement = Agreement(self._plant.outputs.names, config.agree)
        steps_inside = config.inside if config.mode is Mode.GUARDED else None
        self._guard = Guard(self._plant, self._surrogate, steps_inside, agreement.disagreement)
        self._held = dict(zip(self._inputs.places, self._inputs.read(), strict=True))
        parameters = dict(zip(self._parameters.names, self._parameters.read(), strict=True))
        outputs = self._plant.outputs.read()
        try:
            self._log = TapLog(self._folder, self.instance_name, self._plan)
        except OSError as error:
            self._stop_log(error)
        self._logged(lambda log: log.start(self._time, parameters, outputs))

    def _give(self, outputs: Outputs) -> None:
        """The surrogate's outputs, as the plant's types have them."""
        for place, number in zip(self._plant.outputs.places, outputs, strict=True):
            if place.type in REALS:
                self._given[place] = number
            else:
                self._given[place] = number > 0.5 if place.type == BOOLEAN else round(number)

    def _logged(self, write: Callable[[TapLog], None]) -> None:
        if self._log is not None:
            try:
                write(self._log)
            except OSError as error:
                self._stop_log(error)

    def _stop_log(self, error: OSError) -> None:
        self._log = None
        self.log(text_for(f"the log in {self._folder} ends here, it cannot be written ({error})", self.prefix), self.status_warning)

    def _fatal(self, function: Callable[..., object], *arguments: Any) -> None:
        """Make a call whose refusal has no other way to be told than fmi2Fatal."""
        try:
            function(*arguments)
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None
        self._tell()

    def _tell(self, error: Exception | None = None) -> None:
        """Hand on warnings and errors that the plant has logged, and an error."""
        for message in self._heard:
            if message.status >= self._statuses.warning.value:
                self.log(text_for(message.text, self.prefix), self._statuses(min(message.status, self._statuses.fatal.value)))
        self._heard.clear()
        if error is not None:
            self.log(message_of(error, self.prefix), self.status_error)
