"""One instance of an FMU in FMPy, with its log and with refusals as errors."""

import math
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from surrogate_fmu import errors
from surrogate_fmu.errors import BuildError, SessionError
from surrogate_fmu.fmu.unpacked import UnpackedFmu

try:
    from fmpy import calloc, free
    from fmpy.fmi1 import FMICallException
    from fmpy.fmi2 import (
        FMU2Slave,
        fmi2CallbackAllocateMemoryTYPE,
        fmi2CallbackFreeMemoryTYPE,
        fmi2CallbackFunctions,
        fmi2CallbackLoggerTYPE,
        fmi2Error,
    )

    from surrogate_fmu.fmu.fmi3_slave import Fmi3Slave
except ModuleNotFoundError as error:
    raise BuildError("FMPy, which runs FMUs, is not installed; install the extra: pip install 'surrogate-fmu[fmu]'") from error

_KEPT_MESSAGES = 1000
_USUAL = ("Float64", "Int64", "Enumeration", "Boolean", "String")
# Loading and unloading a library from several threads at once is not safe everywhere; in one thread the collector may free an
# instance while another one is made.
_loading = threading.RLock()


class Message(NamedTuple):
    """What the FMU logged: an fmi2Status, a category and a sentence."""

    status: int
    category: str
    text: str


class FmuInstance:
    """An instantiated co-simulation FMU, FMI 2.0 or 3.0; freed when it is closed, collected, or the process ends.

    Args:
        unpacked: its files.
        name: of the instance; None takes that of the model.
        messages_refuse: whether a message of an error is a refusal, as it is with a surrogate; else the status alone is one.
        on_message: called with each message.

    Attributes:
        fmu: FMPy's object, whose methods go through `call`; an FMI 3.0 one has the names of FMI 2.0.
        log: the last thousand messages.

    Raises:
        SessionError: the FMU cannot be instantiated; the message is the FMU's own.
    """

    def __init__(
        self,
        unpacked: UnpackedFmu,
        name: str | None = None,
        messages_refuse: bool = True,
        on_message: Callable[[Message], object] | None = None,
    ) -> None:
        description = unpacked.description
        log: deque[Message] = deque(maxlen=_KEPT_MESSAGES)
        recent: list[Message] = []

        def take_message(status: int, category: bytes | None, sentence: str) -> None:
            message = Message(status, (category or b"").decode(), sentence)
            log.append(message)
            recent.append(message)
            if on_message is not None:
                on_message(message)

        arguments = {
            "instanceName": name or description.modelName,
            "guid": description.guid,
            "unzipDirectory": str(unpacked.folder.resolve()),
            "modelIdentifier": description.coSimulation.modelIdentifier,
        }
        third = str(description.fmiVersion).startswith("3")
        with _loading:
            fmu = Fmi3Slave(sizes_of(description), _types_of(description), **arguments) if third else FMU2Slave(**arguments)
            try:
                if third:
                    fmu.instantiate(loggingOn=True, logMessage=_fmi3_logger(take_message))
                else:
                    fmu.instantiate(callbacks=_fmi2_callbacks(take_message), loggingOn=True)
            except Exception as error:
                fmu.freeLibrary()
                raise _refusal(recent, f"the FMU {description.modelName!r} cannot be instantiated ({error})") from error
        self.fmu: Any = fmu
        self.log = log
        self._recent = recent
        self._messages_refuse = messages_refuse
        self._finalizer = weakref.finalize(self, _free, fmu)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of `fmu` and return what it returns.

        Raises:
            SessionError: its status or a message says that it was refused; the class is the one that the message names.
        """
        recent = self._recent
        recent.clear()
        try:
            result = function(*arguments)
        except FMICallException as error:
            raise _refusal(recent, f"{error.function} was refused with status {error.status}") from None
        if recent and self._messages_refuse and any(message.status >= fmi2Error for message in recent):
            raise _refusal(recent, "the FMU logged an error")
        return result

    def free(self) -> None:
        """fmi2FreeInstance; a second time does nothing."""
        self._finalizer()


def sizes_of(description: Any) -> dict[int, int]:
    """Elements of every variable of FMPy's model description, with the sizes that they start with, by value reference."""
    return {v.valueReference: math.prod(v.shape or ()) for v in description.modelVariables}


def _types_of(description: Any) -> dict[int, str]:
    """Types by value reference, of those variables whose type is not the usual one."""
    return {v.valueReference: v.type for v in description.modelVariables if v.type not in _USUAL}


def _fmi2_callbacks(take_message: Callable[[int, bytes | None, str], None]) -> Any:
    def log(environment: Any, name: bytes, status: int, category: bytes | None, text: bytes) -> None:
        # The text is a printf format; FMPy's own proxy for that is one per process and would redirect other FMUs.
        take_message(status, category, text.decode("utf-8", "replace").replace("%%", "%"))

    callbacks = fmi2CallbackFunctions()
    callbacks.logger = fmi2CallbackLoggerTYPE(log)
    callbacks.allocateMemory = fmi2CallbackAllocateMemoryTYPE(calloc)  # some will not start without
    callbacks.freeMemory = fmi2CallbackFreeMemoryTYPE(free)
    return callbacks


def _fmi3_logger(take_message: Callable[[int, bytes | None, str], None]) -> Callable[..., None]:
    def log(environment: Any, status: int, category: bytes | None, text: bytes) -> None:
        take_message(status, category, text.decode("utf-8", "replace"))

    return log


def _free(fmu: Any) -> None:
    with _loading:
        fmu.freeInstance()


def _refusal(messages: list[Message], otherwise: str) -> SessionError:
    """The error that the FMU named in its last message of the form `ClassName: sentence`."""
    for message in reversed(messages):
        for line in message.text.splitlines():
            name, separator, sentence = line.partition(": ")
            kind = getattr(errors, name, None) if separator and name.isidentifier() else None
            if isinstance(kind, type) and issubclass(kind, errors.SurrogateError):
                return kind(sentence) if issubclass(kind, SessionError) else SessionError(f"{name}: {sentence}")
    return SessionError("; ".join([otherwise, *(message.text for message in messages)]))
