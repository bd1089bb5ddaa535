"""The error tree: every error that the package raises on purpose.

    SurrogateError                     exit code
    ├── ConfigError                    2   a surrogate.toml or a command line that cannot be used
    ├── DatasetError                   3   recorded data that cannot be used
    ├── PlantError                     4   the plant failed
    ├── TrainingError                  5   training cannot go on
    ├── BundleError                    6   a bundle that cannot be written or read
    ├── BuildError                     7   an FMU that cannot be built
    │   └── LoweringError                  its generator has something that C cannot be made of
    ├── VerdictError                   8   a verified artefact that was rejected
    └── SessionError                   9   a session that refuses a call; its state is as it was
        ├── CallOrderError
        │   └── StepNumberError            a numbered step that is not the next one
        │       ├── StepGapError               beyond the next one
        │       ├── StepStaleError             before the last one
        │       └── StepConflictError          the last one with other inputs
        ├── InputError
        ├── StepSizeError
        ├── DomainError
        ├── DeviceError
        ├── SnapshotError
        └── ServiceError               10  the service cannot be reached
            ├── ServiceLostError           no answer came; whether the call took effect is not known
            ├── NotServedError             it has no such model or session
            │   └── SessionEvictedError        the session was idle for its time to live
            ├── OpenConflictError          the session id is taken by a session that was opened otherwise
            ├── ConcurrentCallError        another call steps the session at this moment
            ├── AccessError                it does not know the caller, or the caller may not
            └── RetryLaterError            the same call may succeed later
                ├── ServiceFullError           a limit of it is reached
                ├── ServiceDrainingError       it stops and takes no new work
                └── StoreError                 it could not store or read the state of a session

A message says what came, what was expected and what to do. The class decides the exit code here, the gRPC status in
`surrogate_fmu.service.status` and the FMI status in `surrogate_fmu.fmu.python.slave` and, for native FMUs, in
`fmu/native/c/session.h`; nothing else maps errors.
"""

from typing import ClassVar


class SurrogateError(Exception):
    """Root of the tree; `exit_code` is what the command line exits with."""

    exit_code: ClassVar[int] = 1


class ConfigError(SurrogateError):
    """A configuration file or command line that cannot be used."""

    exit_code = 2


class DatasetError(SurrogateError):
    """Recorded data that cannot be read, does not fit, or was changed."""

    exit_code = 3


class PlantError(SurrogateError):
    """The plant failed: it diverged, or refused its inputs."""

    exit_code = 4


class TrainingError(SurrogateError):
    """Training cannot start or go on."""

    exit_code = 5


class BundleError(SurrogateError):
    """A bundle that is truncated, tampered with, of another version, or does not keep the generator contract."""

    exit_code = 6


class BuildError(SurrogateError):
    """An FMU that cannot be built."""

    exit_code = 7


class LoweringError(BuildError):
    """A generator with an operation, or a use of one, that cannot be lowered to native code."""


class VerdictError(SurrogateError):
    """The verified artefact may not take the plant's place."""

    exit_code = 8


class SessionError(SurrogateError):
    """A session refused a call; its state is what it was before the call."""

    exit_code = 9


class CallOrderError(SessionError):
    """A call that the session's present state does not allow."""


class StepNumberError(CallOrderError):
    """A step number that is not the next one; `next_step` is the number that the session expects."""

    def __init__(self, message: str, next_step: int = 0) -> None:
        super().__init__(message)
        self.next_step = next_step


class StepGapError(StepNumberError):
    """A step number beyond the next one: steps between are missing."""


class StepStaleError(StepNumberError):
    """A step number before the last one: the reply is no longer stored."""


class StepConflictError(StepNumberError):
    """The number of the last step with other inputs: two writers step one session."""


class InputError(SessionError):
    """An unknown variable, or a value that is not finite, of the wrong shape, or not settable."""


class StepSizeError(SessionError):
    """A communication step that is no whole multiple of the generator's step."""


class DomainError(SessionError):
    """An input outside the training domain, under the policy `refuse`."""


class DeviceError(SessionError):
    """A compute device that this machine does not have."""


class SnapshotError(SessionError):
    """A snapshot that is damaged or belongs to another bundle."""


class ServiceError(SessionError):
    """The service cannot be reached; the two below say that it can, and refuses."""

    exit_code = 10


class ServiceLostError(ServiceError):
    """No answer came; whether the call took effect is not known."""


class NotServedError(ServiceError):
    """The service has no such model or session."""


class SessionEvictedError(NotServedError):
    """The session was idle for its time to live and was evicted."""


class OpenConflictError(ServiceError):
    """The session id is taken by a session that was opened otherwise."""


class ConcurrentCallError(ServiceError):
    """Another call steps the session at this moment."""


class AccessError(ServiceError):
    """The service does not know the caller, or the caller may not do that."""


class RetryLaterError(ServiceError):
    """The same call may succeed later; `retry_after_s` says when [s]."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServiceFullError(RetryLaterError):
    """A limit of the service is reached."""


class ServiceDrainingError(RetryLaterError):
    """The service stops and takes no new work."""


class StoreError(RetryLaterError):
    """The service could not store or read the state of a session; the step was not taken."""
