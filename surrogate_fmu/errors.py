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
        ├── InputError
        ├── StepSizeError
        ├── DomainError
        ├── DeviceError
        ├── SnapshotError
        └── ServiceError               10  the service cannot be reached
            ├── NotServedError             it has no such model or session
            └── ServiceFullError           it holds as many sessions as it may

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


class NotServedError(ServiceError):
    """The service has no such model or session."""


class ServiceFullError(ServiceError):
    """The service holds as many sessions as it may."""
