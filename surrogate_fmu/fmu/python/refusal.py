"""How a refused call leaves a Python FMU: PythonFMU and PythonFMU3 have one way to fail, an exception that becomes Fatal.

When it does, it drops its references to the slave once more than it holds them. So only calls that can say nothing in
any other way raise, and they take those references first. Errors become FMI statuses as follows, with the names of FMI 2.0
(those of 3.0 are alike); nothing else maps them:

    call                          an error becomes
    fmi2SetXXX                    a message with status error; the value is not taken, and the next fmi2DoStep or
                                  fmi2ExitInitializationMode is refused, until the variable is written well;
                                  once, if it is an output or no variable at all
    fmi2GetXXX                    a message with status error and the value NaN, 0, false or ""
    fmi2DoStep                    fmi2Discard and a message with status error; nothing has changed
    fmi2EnterInitializationMode,  fmi2Fatal with the message; nothing has changed, and fmi2Reset and
    fmi2ExitInitializationMode,   fmi2FreeInstance work
    fmi2GetFMUstate,
    fmi2SetFMUstate
    fmi2Instantiate               no instance, with the message

A message is `ClassName: sentence`, with the class of `surrogate_fmu.errors`; in FMI 2.0 it is a printf format (FMI 2.0.4,
section 2.1.5), so a percent sign is doubled there.
"""

import ctypes

from surrogate_fmu.errors import SurrogateError


class FatalRefusalError(Exception):
    """Carries a sentence through PythonFMU, which logs the `repr` of an exception."""

    def __repr__(self) -> str:
        return str(self.args[0])


def text_for(sentence: str, prefix: str) -> str:
    """A sentence as the logger of an FMI version takes it."""
    return sentence.replace("%", "%%") if prefix == "fmi2" else sentence


def message_of(error: Exception, prefix: str) -> str:
    """The message of an error; one that is not of this package's tree is the model's failure."""
    known = isinstance(error, SurrogateError)
    text = f"{type(error).__name__}: {error}" if known else f"SessionError: the model failed with {type(error).__name__}: {error}"
    return text_for(text, prefix)


def fatal_refusal(error: Exception, prefix: str, slave: object = None, log_queue: list[object] | None = None) -> FatalRefusalError:
    """The exception to raise from a callback.

    Args:
        error: what is wrong.
        prefix: of the FMI version, "fmi2" or "fmi3".
        slave, log_queue: what PythonFMU is about to drop without owning it; left out while the slave is being made.
    """
    if slave is not None and log_queue is not None:
        log_queue.clear()  # messages that are delivered while an exception is pending would lose the exception
        for kept in (type(slave), slave, log_queue):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    return FatalRefusalError(message_of(error, prefix))
