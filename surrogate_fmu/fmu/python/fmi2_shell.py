"""A Python FMU as the library of PythonFMU calls it: FMI 2.0."""

from collections.abc import Mapping
from typing import ClassVar

from pythonfmu.enums import Fmi2Status
from pythonfmu.fmi2slave import Fmi2Slave

from surrogate_fmu.fmu.config import OwnOutputs
from surrogate_fmu.fmu.interface import INTEGER_MAX, surrogate_interface
from surrogate_fmu.fmu.scalar import Scalar
from surrogate_fmu.manifest import Manifest


class Fmi2Shell(Fmi2Slave):  # type: ignore[misc]
    """Joined with a `Slave`, whose methods have the names of FMI 2.0 already."""

    prefix = "fmi2"
    start_time = 0.0
    status_error, status_warning = Fmi2Status.error, Fmi2Status.warning
    log_categories: ClassVar[dict[str, str]] = {
        f"logStatus{status.name.capitalize()}": status.name for status in Fmi2Status if status is not Fmi2Status.ok
    }

    @classmethod
    def interface(
        cls,
        manifest: Manifest,
        external_latents: bool,
        statistics: Mapping[str, bool],
        members: int,
        own_outputs: OwnOutputs = OwnOutputs.TYPED,
    ) -> tuple[Scalar, ...]:
        """The scalars of the model description."""
        seed_max = INTEGER_MAX - (members - 1)
        return surrogate_interface(manifest, external_latents, statistics, False, seed_max, own_outputs)
