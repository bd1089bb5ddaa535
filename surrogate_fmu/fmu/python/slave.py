"""What a Python FMU answers to its master: call order, time, state. A subclass supplies the run.

The library of PythonFMU (FMI 2.0) or PythonFMU3 (FMI 3.0) calls the methods below, through a shell that names them as its
version does (`fmi2_shell`, `fmi3_shell`); `refusal` says what becomes of errors, `variable_table` holds the values.
"""

import abc
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from surrogate_fmu.errors import CallOrderError, InputError, SessionError, SnapshotError
from surrogate_fmu.fmu.python.refusal import fatal_refusal, message_of, text_for
from surrogate_fmu.fmu.python.variable_table import VariableTable
from surrogate_fmu.fmu.scalar import Kind, Scalar
from surrogate_fmu.runtime.communication_step import check_communication_point

_STATE_HEAD = 32  # SHA-256 in front of the state


class FmiState(StrEnum):
    """Where the master is (FMI 2.0.4, section 4.2.4; FMI 3.0.2, section 4.2)."""

    INSTANTIATED = "instantiated"
    INITIALIZATION = "in initialization mode"
    STEPPING = "stepping"
    TERMINATED = "terminated"


# Where parameters can be set, and outputs are a preview of what the run would start with.
BEFORE_RUN = frozenset({FmiState.INSTANTIATED, FmiState.INITIALIZATION})

# call -> the state that it needs and what to do otherwise
_NEEDED: Mapping[str, tuple[FmiState, str]] = {
    "EnterInitializationMode": (FmiState.INSTANTIATED, "call {prefix}Reset first"),
    "ExitInitializationMode": (FmiState.INITIALIZATION, "enter initialization mode first"),
    "DoStep": (FmiState.STEPPING, "initialize first"),
}


class Slave(abc.ABC):
    """Base of the slaves; in an FMU it is joined with a shell.

    Args:
        interface: the scalars of the model description, no two with one reference; elements of arrays one by one.
        shapes: of the array variables.
        step_size: the preferred communication step [s].
        shifts: what the references of a kind have more than those of the model description.
        kwargs: what the library passes: instance_name, resources, visible.

    Attributes:
        token: the GUID, or instantiation token, of the build; from the slave module in the FMU.
        prefix: of the names of FMI functions, "fmi2" or "fmi3"; from the shell, as all below.
        start_time: of the run [s], where the library tells none; None takes that of the first step.
        status_error, status_warning: how the library calls them.
        resources: folder of the FMU's resources.
        log_queue: messages that the library is yet to deliver.
        log: puts a message with a status there.
        array_elements: references of the elements by that of their array, in FMI 3.0; no master can name these.
    """

    array_elements: ClassVar[Mapping[int, Sequence[int]]] = {}
    token: ClassVar[str]
    prefix: ClassVar[str]
    start_time: ClassVar[float | None]
    status_error: ClassVar[Any]
    status_warning: ClassVar[Any]
    resources: str
    log_queue: list[object]
    log: Callable[[str, Any], None]

    def __init__(
        self,
        interface: Sequence[Scalar],
        shapes: Mapping[str, tuple[int, ...]],
        step_size: float,
        shifts: Mapping[Kind, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # The loader puts the resources on the path at every instantiation; by now everything is imported.
        if self.resources in sys.path:
            sys.path.remove(self.resources)
        self._state = FmiState.INSTANTIATED
        self._shifts = dict.fromkeys(Kind, 0) if shifts is None else shifts
        self._table = VariableTable(interface, shapes, self.prefix)
        self._outputs_are_stale = True
        self._step_size = step_size
        self._time = self.start_time

    # -- what a subclass supplies --------------------------------------------------------------------------------

    @abc.abstractmethod
    def _start_run(self) -> Mapping[str, Any]:
        """Start a run from the values in the table; outputs by variable at its start."""

    @abc.abstractmethod
    def _advance(self, inputs: Mapping[str, Any], communication_point: float, communication_step_size: float) -> Mapping[str, Any]:
        """Take a step with the inputs that changed; outputs by variable at its end."""

    def _save_run(self) -> str | None:
        """The run as text, None before it has started."""
        raise SessionError("this FMU cannot save its state; canGetAndSetFMUstate is false")

    def _load_run(self, saved: str | None) -> None:
        """Continue from what `_save_run` gave."""
        raise SessionError("this FMU cannot restore a state; canGetAndSetFMUstate is false")

    def _after_state(self) -> None:  # noqa: B027
        """Called when a state was set, with its values in the table."""

    def _after_outputs(self) -> None:  # noqa: B027
        """Called when new outputs are in the table; sets the outputs that are no variables of the model."""

    # -- life ------------------------------------------------------------------------------------------------------

    def setup_experiment(self, start_time: float, stop_time: float | None, tolerance: float | None) -> None:
        """FMI 2.0.4, section 2.1.6; nothing but the start time matters. PythonFMU3 does not call it."""
        self._time = start_time

    def enter_initialization_mode(self) -> None:
        """FMI 2.0.4, section 2.1.6."""
        try:
            self._check_order("EnterInitializationMode")
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None
        self._state = FmiState.INITIALIZATION

    def exit_initialization_mode(self) -> None:
        """The run starts."""
        try:
            self._check_order("ExitInitializationMode")
            self._table.raise_refusal()
            if self._outputs_are_stale:
                self._take_outputs(self._start_run())
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None
        self._table.changed.clear()
        self._state = FmiState.STEPPING

    def do_step(self, current_time: float, step_size: float) -> bool:
        """Advance once; False when refused, with a message."""
        table = self._table
        try:
            if self._state is not FmiState.STEPPING:
                self._check_order("DoStep")
            if table.refusals:
                table.raise_refusal()
            if self._time is None:
                self._time = current_time
            if current_time != self._time:
                check_communication_point(current_time, self._time, self._step_size)
            self._take_outputs(self._advance(table.changed_inputs() if table.changed else {}, current_time, step_size))
        except Exception as error:
            self._log_error(error)
            return False
        table.changed.clear()
        self._time = current_time + step_size
        return True

    def terminate(self) -> None:
        """The end of the run; values can still be read."""
        self._state = FmiState.TERMINATED

    # -- values ----------------------------------------------------------------------------------------------------

    def get_real(self, vrs: list[int]) -> list[float]:
        """Values by value reference; NaN for one that is none."""
        return self._get(Kind.REAL, vrs)

    def get_integer(self, vrs: list[int]) -> list[int]:
        """Integers and enumerations by value reference; 0 for one that is none."""
        return self._get(Kind.INTEGER, vrs)

    def get_boolean(self, vrs: list[int]) -> list[bool]:
        """Values by value reference; False for one that is none."""
        return self._get(Kind.BOOLEAN, vrs)

    def get_string(self, vrs: list[int]) -> list[str]:
        """Values by value reference; "" for one that is none."""
        return self._get(Kind.STRING, vrs)

    def set_real(self, vrs: list[int], values: list[float]) -> None:
        """Take those values that are finite and inside min to max."""
        self._set(Kind.REAL, vrs, values)

    def set_integer(self, vrs: list[int], values: list[int]) -> None:
        """Take those integers and enumerations that are inside min to max."""
        self._set(Kind.INTEGER, vrs, values)

    def set_boolean(self, vrs: list[int], values: list[bool]) -> None:
        """Take those values that can be set."""
        self._set(Kind.BOOLEAN, vrs, values)

    def set_string(self, vrs: list[int], values: list[str]) -> None:
        """Take strings of parameters before the run."""
        self._set(Kind.STRING, vrs, values)

    def _inside(self, kind: Kind, vrs: list[int]) -> list[int]:
        shift, elements = self._shifts[kind], self.array_elements
        if shift or (vrs and min(vrs) < 0):
            vrs = [reference + shift for reference in unsigned(vrs)]
        return [element for vr in vrs for element in elements.get(vr, (vr,))] if elements else vrs

    def _get(self, kind: Kind, vrs: list[int]) -> list[Any]:
        vrs = self._inside(kind, vrs)
        if self._outputs_are_stale and self._table.has_output(vrs):
            self._preview()
        values, errors = self._table.get(kind, vrs)
        for error in errors:
            self._log_error(error)
        return values

    def _set(self, kind: Kind, vrs: list[int], values: Sequence[Any]) -> None:
        references, before_run = self._inside(kind, vrs), self._state in BEFORE_RUN
        if len(references) != len(values):
            error = InputError(
                f"{self.prefix}Set was given {len(values)} values for variables with {len(references)} elements; give all of them"
            )
            self._table.refusals.update(dict.fromkeys(references, error))
            errors: Sequence[SessionError] = [error]
        elif kind is Kind.STRING:
            errors = self._table.set_strings(references, values, before_run)
        else:
            errors = self._table.set_numbers(kind, references, values, before_run)
        for each in errors:
            self._log_error(each)
        if before_run:
            self._outputs_are_stale = True

    def _take_outputs(self, outputs: Mapping[str, Any]) -> None:
        self._table.take_outputs(outputs)
        self._outputs_are_stale = False
        self._after_outputs()

    def _preview(self) -> None:
        """Outputs as they would be if the run started now."""
        try:
            self._table.raise_refusal()
            self._take_outputs(self._start_run())
        except Exception as error:
            self._log_error(error)
            self._table.forget_outputs()

    # -- state -----------------------------------------------------------------------------------------------------

    def _get_fmu_state(self) -> bytes:
        try:
            content = {
                "fmu": type(self).__name__,
                "state": self._state,
                "time": self._time,
                "run": self._save_run(),
                "table": self._table.to_plain(),
            }
            text = json.dumps(content, separators=(",", ":")).encode()
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None
        return hashlib.sha256(text).digest() + text

    def _set_fmu_state(self, state: bytes) -> None:
        try:
            content = _read_state(state, type(self).__name__)
            self._load_run(content["run"])
        except Exception as error:
            raise fatal_refusal(error, self.prefix, self, self.log_queue) from None
        self._table.load_plain(content["table"])
        self._state, self._time = FmiState(content["state"]), content["time"]
        self._outputs_are_stale = self._state in BEFORE_RUN
        self._after_state()

    @staticmethod
    def _fmu_state_to_bytes(state: bytes) -> bytes:
        return state

    @staticmethod
    def _fmu_state_from_bytes(state: bytes) -> bytes:
        return state  # there is no way to refuse here; _set_fmu_state looks at the checksum

    # -- refusals --------------------------------------------------------------------------------------------------

    def _check_order(self, call: str) -> None:
        state, hint = _NEEDED[call]
        if self._state is not state:
            hint = hint.format(prefix=self.prefix)
            raise CallOrderError(f"{self.prefix}{call} is not allowed while the FMU is {self._state}: {hint}")

    def _log_error(self, error: Exception) -> None:
        self.log(message_of(error, self.prefix), self.status_error)

    def _warn(self, sentence: str) -> None:
        self.log(text_for(sentence, self.prefix), self.status_warning)


def unsigned(vrs: Sequence[int]) -> list[int]:
    """Value references as FMI has them: the libraries hand them over as 32 bits with a sign."""
    return [vr & 0xFFFFFFFF if vr < 0 else vr for vr in vrs]


def _read_state(state: bytes, name: str) -> dict[str, Any]:
    head, text = state[:_STATE_HEAD], state[_STATE_HEAD:]
    if len(head) < _STATE_HEAD or hashlib.sha256(text).digest() != head:
        raise SnapshotError(f"the FMU state of {len(state)} bytes is damaged or truncated; use the bytes that were serialized")
    content: dict[str, Any] = json.loads(text)
    if content["fmu"] != name:
        raise SnapshotError(f"the FMU state is one of {content['fmu']!r}, this FMU is {name!r}; set it in an FMU of that build")
    return content
