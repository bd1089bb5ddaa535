"""What a Python FMU answers to its master: variables, call order, refusals. A subclass supplies the run.

PythonFMU's library calls the methods below. It has one way to fail, an exception, which it turns into fmi2Fatal; and
it drops its references to the slave when it does, once more than it holds. So here is how errors become FMI statuses
(nothing else maps them):

    call                          an error becomes
    fmi2SetXXX                    a message with status error; the value is not taken, and the next fmi2DoStep or
                                  fmi2ExitInitializationMode is refused, until the variable is written well
    fmi2GetXXX                    a message with status error and the value NaN, 0, false or ""
    fmi2DoStep                    fmi2Discard and a message with status error; nothing has changed
    fmi2Enter-,                   fmi2Fatal with the message, because these calls can say nothing else; nothing has
    fmi2ExitInitializationMode,   changed, fmi2Reset and fmi2FreeInstance work
    fmi2SetFMUstate

A message is `ClassName: sentence`, with the class of `surrogate_fmu.errors`; it is a printf format (FMI 2.0.4,
section 2.1.5), so a percent sign is doubled.
"""

import abc
import atexit
import ctypes
import gc
import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, NoReturn

import numpy as np
from pythonfmu.enums import Fmi2Status
from pythonfmu.fmi2slave import Fmi2Slave

from surrogate_fmu.errors import CallOrderError, InputError, SessionError, SnapshotError, StepSizeError, SurrogateError
from surrogate_fmu.fmu.interface import Kind, Scalar
from surrogate_fmu.variables import Causality

# Collecting garbage while the interpreter is torn down after the library crashes hosts that loaded torch.
atexit.register(gc.freeze)

_TIME_TOLERANCE = 1e-6  # of a communication step; masters sum floats
_STATE_HEAD = 32  # SHA-256 in front of the state


class FmiState(StrEnum):
    """Where the master is (FMI 2.0.4, section 4.2.4)."""

    INSTANTIATED = "instantiated"
    INITIALIZATION = "initialization mode"
    STEPPING = "step complete"
    TERMINATED = "terminated"


BEFORE_RUN = frozenset({FmiState.INSTANTIATED, FmiState.INITIALIZATION})


class _FatalRefusalError(Exception):
    """Carries a sentence through PythonFMU, which logs the `repr` of an exception."""

    def __repr__(self) -> str:
        return str(self.args[0])


class Slave(Fmi2Slave):  # type: ignore[misc]
    """Base of the slaves.

    Args:
        interface: the scalars of the model description.
        step_size: the preferred communication step [s].
        kwargs: what PythonFMU passes: instance_name, resources, visible.
    """

    log_categories: ClassVar[dict[str, str]] = {
        f"logStatus{status.name.capitalize()}": status.name for status in Fmi2Status if status is not Fmi2Status.ok
    }

    def __init__(self, interface: Sequence[Scalar], step_size: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The loader puts the resources on the path at every instantiation; by now everything is imported.
        if self.resources in sys.path:
            sys.path.remove(self.resources)
        self._state = FmiState.INSTANTIATED
        self._scalars = {scalar.value_reference: scalar for scalar in interface}
        self._values: dict[Kind, dict[int, Any]] = {kind: {} for kind in Kind}
        self._values[Kind.ENUMERATION] = self._values[Kind.INTEGER]  # FMI 2 reads and writes both as integers
        empty = {Kind.REAL: 0.0, Kind.BOOLEAN: False}
        for scalar in interface:
            self._values[scalar.kind][scalar.value_reference] = empty.get(scalar.kind) if scalar.start is None else scalar.start
        self._reals: dict[int, float] = self._values[Kind.REAL]
        self._limits = {
            scalar.value_reference: _limits(scalar)
            for scalar in interface
            if scalar.kind is not Kind.STRING and scalar.causality is not Causality.OUTPUT
        }
        self._input_limits = {vr: limits for vr, limits in self._limits.items() if self._scalars[vr].causality is Causality.INPUT}
        self._elements: dict[str, list[int]] = {}
        for scalar in interface:
            if scalar.variable is not None:
                self._elements.setdefault(scalar.variable, []).append(scalar.value_reference)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._changed: set[int] = set()
        self._refusals: dict[int, SessionError] = {}
        self._outputs_are_stale = True
        self._time_tolerance = _TIME_TOLERANCE * step_size
        self._start_time = 0.0
        self._time = 0.0

    # -- what a subclass supplies --------------------------------------------------------------------------------

    @abc.abstractmethod
    def _start_run(self) -> Mapping[str, Any]:
        """Start a run from the present values; outputs by variable at its start."""

    @abc.abstractmethod
    def _advance(self, inputs: Mapping[str, Any], communication_step_size: float) -> Mapping[str, Any]:
        """Take a step with the inputs that changed; outputs by variable at its end."""

    def _save_run(self) -> str | None:
        """The run as text, None before it has started."""
        raise SessionError("this FMU cannot save its state; canGetAndSetFMUstate is false")

    def _load_run(self, saved: str | None) -> None:
        """Continue from what `_save_run` gave."""
        raise SessionError("this FMU cannot restore a state; canGetAndSetFMUstate is false")

    def _after_outputs(self) -> None:
        """Called when new outputs stand in the tables; sets the outputs that are no variables of the model."""

    # -- life ------------------------------------------------------------------------------------------------------

    def setup_experiment(self, start_time: float, stop_time: float | None, tolerance: float | None) -> None:
        """FMI 2.0.4, section 2.1.6; nothing but the start time matters."""
        self._start_time = self._time = start_time

    def enter_initialization_mode(self) -> None:
        """Outputs can be read from here on."""
        if self._state is not FmiState.INSTANTIATED:
            self._refuse_fatally(CallOrderError(f"initialization mode cannot be entered while {self._state}; call fmi2Reset first"))
        self._state = FmiState.INITIALIZATION

    def exit_initialization_mode(self) -> None:
        """The run starts."""
        try:
            if self._state is not FmiState.INITIALIZATION:
                raise CallOrderError(f"initialization mode cannot be left while {self._state}; enter it first")
            self._raise_refusal()
            if self._outputs_are_stale:
                self._take_outputs(self._start_run())
        except Exception as error:
            self._refuse_fatally(error)
        self._changed.clear()
        self._state = FmiState.STEPPING

    def do_step(self, current_time: float, step_size: float) -> bool:
        """Advance once; False when refused, with a message."""
        try:
            if self._state is not FmiState.STEPPING:
                raise CallOrderError(f"a step cannot be taken while {self._state}; initialize first")
            if self._refusals:
                self._raise_refusal()
            if not abs(current_time - self._time) <= self._time_tolerance:
                raise StepSizeError(
                    f"a step from t = {current_time:.9g} s was asked, but the run stands at t = {self._time:.9g} s; "
                    "continue there, or set an FMU state of the other time first"
                )
            self._take_outputs(self._advance(self._changed_inputs() if self._changed else {}, step_size))
        except Exception as error:
            self._log_error(error)
            return False
        self._changed.clear()
        self._time = current_time + step_size
        return True

    def terminate(self) -> None:
        """The end of the run; values can still be read."""
        self._state = FmiState.TERMINATED

    # -- values ----------------------------------------------------------------------------------------------------

    def get_real(self, vrs: list[int]) -> list[float]:
        """Values by value reference; NaN for one that is none."""
        return self._get(Kind.REAL, vrs, math.nan)

    def get_integer(self, vrs: list[int]) -> list[int]:
        """Integers and enumerations."""
        return self._get(Kind.INTEGER, vrs, 0)

    def get_boolean(self, vrs: list[int]) -> list[bool]:
        """Values by value reference."""
        return self._get(Kind.BOOLEAN, vrs, False)

    def get_string(self, vrs: list[int]) -> list[str]:
        """Values by value reference."""
        return self._get(Kind.STRING, vrs, "")

    def set_real(self, vrs: list[int], values: list[float]) -> None:
        """Take those values that are finite and inside min to max."""
        self._set_numbers(Kind.REAL, vrs, values)

    def set_integer(self, vrs: list[int], values: list[int]) -> None:
        """Integers and enumerations."""
        self._set_numbers(Kind.INTEGER, vrs, values)

    def set_boolean(self, vrs: list[int], values: list[bool]) -> None:
        """No boolean can be set."""
        for vr, value in zip(vrs, values, strict=True):
            self._refuse_value(Kind.BOOLEAN, vr, value)

    def set_string(self, vrs: list[int], values: list[str]) -> None:
        """Take strings of parameters before the run."""
        for vr, value in zip(vrs, values, strict=True):
            if vr in self._values[Kind.STRING] and self._state in BEFORE_RUN:
                self._values[Kind.STRING][vr] = value
                self._outputs_are_stale = True
                self._refusals.pop(vr, None)
            else:
                self._refuse_value(Kind.STRING, vr, value)

    def _get(self, kind: Kind, vrs: list[int], nothing: Any) -> list[Any]:
        if self._outputs_are_stale and any(vr in self._scalars and self._scalars[vr].causality is Causality.OUTPUT for vr in vrs):
            self._preview()
        values = self._values[kind]
        try:
            return [values[vr] for vr in vrs]
        except KeyError:
            for vr in vrs:
                if vr not in values:
                    self._log_error(InputError(f"value reference {vr} is no {kind.value} variable of this FMU"))
            return [values.get(vr, nothing) for vr in vrs]

    def _set_numbers(self, kind: Kind, vrs: list[int], values: list[Any]) -> None:
        table, before_run = self._values[kind], self._state in BEFORE_RUN
        limits = self._limits if before_run else self._input_limits
        for vr, value in zip(vrs, values, strict=True):
            limit = limits.get(vr)
            if limit is not None and limit[0] <= value <= limit[1] and vr in table:  # false for NaN
                table[vr] = value
                self._changed.add(vr)
                if self._refusals:
                    self._refusals.pop(vr, None)
            else:
                self._refuse_value(kind, vr, value)
        if before_run:
            self._outputs_are_stale = True

    def _refuse_value(self, kind: Kind, vr: int, value: object) -> None:
        scalar = self._scalars.get(vr)
        if scalar is None or vr not in self._values[kind]:
            error: SessionError = InputError(f"value reference {vr} is no {kind.value} variable of this FMU")
        elif scalar.causality is Causality.OUTPUT:
            error = InputError(f"{scalar.name!r} is an output and cannot be set")
        elif scalar.causality is Causality.PARAMETER and self._state not in BEFORE_RUN:
            if value == self._values[kind][vr]:
                self._refusals.pop(vr, None)
                return
            error = CallOrderError(f"{scalar.name!r} is a parameter and fixed during a run; call fmi2Reset and set it before")
        elif isinstance(value, float) and not math.isfinite(value):
            error = InputError(f"{scalar.name!r}: expected a finite number in {scalar.unit!r}, got {value!r}")
        else:
            low, high = self._limits[vr]
            error = InputError(f"{scalar.name!r}: {value!r} is outside the allowed range [{low:g}, {high:g}] {scalar.unit or ''}")
        self._refusals[vr] = error
        self._log_error(error)

    def _changed_inputs(self) -> dict[str, Any]:
        reals, inputs = self._reals, {}
        for vr in self._changed:
            name = self._scalars[vr].variable
            if name is not None and name not in inputs:
                shape = self._shapes.get(name)
                inputs[name] = np.array([reals[element] for element in self._elements[name]]).reshape(shape) if shape else reals[vr]
        return inputs

    def _take_outputs(self, outputs: Mapping[str, Any]) -> None:
        reals = self._reals
        for name, value in outputs.items():
            elements = self._elements[name]
            if name in self._shapes:
                reals.update(zip(elements, value.ravel().tolist(), strict=True))
            else:
                reals[elements[0]] = value
        self._outputs_are_stale = False
        self._after_outputs()

    def _preview(self) -> None:
        """Outputs as they would be if the run started now."""
        try:
            self._raise_refusal()
            self._take_outputs(self._start_run())
        except Exception as error:
            self._log_error(error)
            for vr, scalar in self._scalars.items():
                if scalar.causality is Causality.OUTPUT and scalar.kind is Kind.REAL:
                    self._reals[vr] = math.nan

    # -- state -----------------------------------------------------------------------------------------------------

    def _get_fmu_state(self) -> bytes:
        try:
            content = {
                "fmu": type(self).__name__,
                "state": self._state,
                "run": self._save_run(),
                "values": {kind.value: list(table.items()) for kind, table in self._values.items()},
                "changed": sorted(self._changed),
                "refusals": [[vr, type(error).__name__, str(error)] for vr, error in self._refusals.items()],
                "start_time": self._start_time,
                "time": self._time,
            }
        except Exception as error:
            self._refuse_fatally(error)
        text = json.dumps(content, separators=(",", ":")).encode()
        return hashlib.sha256(text).digest() + text

    def _set_fmu_state(self, state: bytes) -> None:
        try:
            content = _read_state(state, type(self).__name__)
            self._load_run(content["run"])
        except Exception as error:
            self._refuse_fatally(error)
        self._state = FmiState(content["state"])
        for kind in Kind:
            if kind is not Kind.STRING:  # the device belongs to this machine, not to the state
                self._values[kind].update((vr, value) for vr, value in content["values"][kind.value])
        self._changed = set(content["changed"])
        self._refusals = {vr: _ERRORS.get(name, SessionError)(text) for vr, name, text in content["refusals"]}
        self._outputs_are_stale = self._state in BEFORE_RUN
        self._start_time, self._time = content["start_time"], content["time"]

    @staticmethod
    def _fmu_state_to_bytes(state: bytes) -> bytes:
        return state

    @staticmethod
    def _fmu_state_from_bytes(state: bytes) -> bytes:
        return state  # there is no way to refuse here; _set_fmu_state looks at the checksum

    # -- refusals --------------------------------------------------------------------------------------------------

    def _raise_refusal(self) -> None:
        for error in self._refusals.values():
            raise error

    def _log_error(self, error: Exception) -> None:
        self.log(_message(error), Fmi2Status.error)

    def _warn(self, sentence: str) -> None:
        self.log(sentence.replace("%", "%%"), Fmi2Status.warning)

    def _refuse_fatally(self, error: Exception) -> NoReturn:
        """Fail the call without harm: PythonFMU is going to drop a reference to each of these that it does not own."""
        self.log_queue.clear()  # logging while an exception is pending would lose the exception
        for kept in (type(self), self, self.log_queue):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        raise fatal_refusal(error) from None


_ERRORS = {cls.__name__: cls for cls in (CallOrderError, InputError)}


def fatal_refusal(error: Exception) -> Exception:
    """An exception of which PythonFMU logs the sentence; after instantiation raise it by `Slave._refuse_fatally` only."""
    return _FatalRefusalError(_message(error))


def _message(error: Exception) -> str:
    known = isinstance(error, SurrogateError)
    text = f"{type(error).__name__}: {error}" if known else f"SessionError: the model failed with {type(error).__name__}: {error}"
    return text.replace("%", "%%")


def _limits(scalar: Scalar) -> tuple[float, float]:
    low = -sys.float_info.max if scalar.min is None else scalar.min
    return low, sys.float_info.max if scalar.max is None else scalar.max


def _read_state(state: bytes, name: str) -> dict[str, Any]:
    head, text = state[:_STATE_HEAD], state[_STATE_HEAD:]
    if len(head) < _STATE_HEAD or hashlib.sha256(text).digest() != head:
        raise SnapshotError(f"the FMU state of {len(state)} bytes is damaged or truncated; use the bytes that were serialized")
    content: dict[str, Any] = json.loads(text)
    if content["fmu"] != name:
        raise SnapshotError(f"the FMU state is one of {content['fmu']!r}, this FMU is {name!r}; set it in an FMU of that build")
    return content
