"""How a client goes on after a call failed: when it tries again, for how long, and what it tells its caller."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from surrogate_fmu.errors import (
    ConcurrentCallError,
    NotServedError,
    RetryLaterError,
    ServiceError,
    ServiceLostError,
    StepGapError,
    SurrogateError,
)

_log = logging.getLogger("surrogate_fmu.service")
_FIRST_S = 0.05
_LONGEST_S = 2.0
MENDABLE = (ServiceLostError, RetryLaterError, ConcurrentCallError, NotServedError, StepGapError)
"""Errors after which the same step may be sent again, once the session is there."""


@dataclass(frozen=True)
class Recovery:
    """A failure that a session got over.

    Attributes:
        step_number: the step whose call had failed.
        cause: what had failed, in words.
        attempts: calls of the step until it was answered, the failed ones included.
        replayed_steps: steps before it that the session took again, because the service had lost them.
        seconds: from the failure to the answer [s].
    """

    step_number: int
    cause: str
    attempts: int
    replayed_steps: int
    seconds: float


class Patience:
    """Waits between two tries: exponential backoff with full jitter, until a deadline.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        limit_s: how long to go on trying [s].
        draw: gives numbers from 0 to 1.
        clock: gives the time [s].
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        limit_s: float,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limit_s = limit_s
        self._draw = draw
        self._clock = clock
        self._sleep = sleep
        self._start = clock()
        self.attempts = 1

    @property
    def seconds(self) -> float:
        """Since the first failure [s]."""
        return self._clock() - self._start

    def wait(self, error: SurrogateError) -> None:
        """Wait before the next try.

        Raises:
            ServiceError: the time is over; of the class of `error`, which is its cause.
        """
        longest = min(_LONGEST_S, _FIRST_S * 2.0 ** (self.attempts - 1))
        pause = longest * self._draw()
        if isinstance(error, RetryLaterError):
            pause = max(pause, min(error.retry_after_s, _LONGEST_S))
        if self.seconds + pause > self._limit_s:
            raise _gave_up(error, self.seconds, self.attempts) from error
        level = logging.WARNING if self.attempts == 1 else logging.DEBUG
        _log.log(level, "%s; trying again for up to %.0f s", error, self._limit_s)
        self._sleep(pause)
        self.attempts += 1


def _gave_up(error: SurrogateError, seconds: float, attempts: int) -> SurrogateError:
    if attempts == 1 and not isinstance(error, ServiceError):
        return error
    return type(error)(
        f"{error} (tried {attempts} times in {seconds:.1f} s; a call that got no answer may have taken effect: calling again with "
        "equal arguments is safe)"
    )
