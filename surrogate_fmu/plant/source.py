"""Where the plant comes from: a class in a Python file, or an FMU."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.protocol import Plant, load_plant
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.schema import encode


@dataclass(frozen=True)
class PlantSource:
    """What a process needs to make the plant.

    Attributes:
        reference: `file.py:ClassName`, or `file.fmu`.
        folder: where the file is looked for.
        settings: of an FMU.
    """

    reference: str
    folder: Path = Path()
    settings: PlantSettings = field(default_factory=PlantSettings)

    @property
    def is_fmu(self) -> bool:
        """Whether it is an FMU."""
        return self.reference.lower().endswith(".fmu")

    @property
    def file(self) -> Path:
        """The file that it is in."""
        return self.folder / (self.reference if self.is_fmu else self.reference.partition(":")[0])

    def load(self) -> Plant:
        """Make the plant.

        Raises:
            ConfigError: it cannot be made.
        """
        if self.is_fmu:
            from surrogate_fmu.plant.fmu_plant import FmuPlant

            return FmuPlant(self.file, self.settings)
        if self.settings != PlantSettings(timeout_s=self.settings.timeout_s):
            raise ConfigError(f"[plant] says how an FMU is driven, and {self.reference!r} is none; leave all but timeout_s out")
        return load_plant(self.reference, self.folder)

    def digest(self, plant: Plant) -> str:
        """Of all that decides what a run of the plant gives: runs of another plant are no runs of this one."""
        name = self.file.name if self.is_fmu else self.reference.partition(":")[2]
        described = json.dumps([name, plant.communication_step_size, encode(tuple(plant.variables))], sort_keys=True)
        if self.is_fmu:
            described += json.dumps([dict(self.settings.values), self.settings.seed], sort_keys=True)
        return hashlib.sha256(self.file.read_bytes() + described.encode()).hexdigest()
