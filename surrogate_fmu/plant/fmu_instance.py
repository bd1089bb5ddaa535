"""One instance of any FMU, FMI 2.0 or 3.0, in FMPy, with its variables by name."""

import math
import shutil
import tempfile
import weakref
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.face import FaceArray
from surrogate_fmu.plant.fmu_arrays import ArrayElement, arrays_of
from surrogate_fmu.plant.fmu_description import read_description
from surrogate_fmu.plant.fmu_variable import start_value

try:
    from fmpy import calloc, free, platform, platform_tuple, supported_platforms
    from fmpy.fmi2 import (
        FMU2Model,
        FMU2Slave,
        fmi2CallbackAllocateMemoryTYPE,
        fmi2CallbackFreeMemoryTYPE,
        fmi2CallbackFunctions,
        fmi2CallbackLoggerTYPE,
    )
    from fmpy.fmi3 import FMU3Model, FMU3Slave
except ModuleNotFoundError as error:
    raise ConfigError("FMPy, which runs FMUs, is not installed; install the extra: pip install 'surrogate-fmu[fmu]'") from error

_KEPT_MESSAGES = 20
_INTEGERS = ("Integer", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")


class PlantFmu(ABC):
    """An FMU as files, and its instance while a run lasts. Each run has an instance of its own, so that nothing of one is left.

    Args:
        path: of the FMU.

    Attributes:
        name: of the file.
        kind: of it that is used, as FMPy calls it.
        description: FMPy's model description, with the elements of arrays in the place of these.
        variables: FMPy's variables, by name.
        arrays: whose elements are among them, by name.
        has_terminals: whether it groups variables to terminals (FMI 3.0.2, section 2.4.9).

    Raises:
        ConfigError: there is no such FMU, it is not of this kind, or it has no binary for this machine.
    """

    kind: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._folder = _unpack(path)
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.description: Any = read_description(self._folder, self.name)
        self._implementation = getattr(self.description, self.kind)
        if self._implementation is None:
            raise ConfigError(f"{self.name} is for model exchange only, without a solver of its own; export it for co-simulation")
        there = supported_platforms(str(self._folder))
        if not {platform, platform_tuple} & set(there):
            raise ConfigError(
                f"{self.name} has binaries for {', '.join(there) or 'no platform'}, and none for {platform_tuple}, which this is; "
                "record it where it runs, or export it for this platform"
            )
        self.variables = {variable.name: variable for variable in self.description.modelVariables}
        self.arrays: dict[str, FaceArray] = arrays_of(self.description.modelVariables)
        self._given: dict[str, list[Any]] = {}  # of the arrays that were set, all elements
        self.has_terminals = (self._folder / "terminalsAndIcons" / "terminalsAndIcons.xml").is_file()
        self._third = str(self.description.fmiVersion).startswith("3")
        self._log: deque[str] = deque(maxlen=_KEPT_MESSAGES)
        self._fmu: Any = None
        self._time = 0.0

    def instantiate(self, start_time: float = 0.0) -> None:
        """Make an instance, the one before it is freed; variables can be set then.

        Raises:
            PlantError: the FMU refuses; the message has what it logged, as those below.
        """
        self.free()
        self._log.clear()
        self._given.clear()
        self._fmu = self._call("instantiation", self._make)
        self._time = start_time
        if not self._third:
            self._call("setting up the experiment", self._fmu.setupExperiment, None, start_time)

    def initialize(self) -> None:
        """Through initialization mode."""
        arguments = {"startTime": self._time} if self._third else {}
        self._call("entering initialization mode", lambda: self._fmu.enterInitializationMode(**arguments))
        self._call("initialization", self._fmu.exitInitializationMode)

    def set(self, name: str, value: float) -> None:
        """Set a scalar variable or an element of an array, as its type has it."""
        self.set_values({name: value})

    def set_values(self, values: Mapping[str, float]) -> None:
        """Set scalars and elements of arrays by name, as their types have them; each array is set once."""
        changed: dict[str, ArrayElement] = {}
        for name, value in values.items():
            variable = self.variables[name]
            number = _as_typed(variable, value)
            if isinstance(variable, ArrayElement):
                array = variable.array.name
                if array not in self._given:
                    self._given[array] = self._starts(variable.array)
                self._given[array][variable.index] = number
                changed[array] = variable
            else:
                setter = getattr(self._fmu, f"set{self._access(variable.type)}")
                self._call(f"setting {name}", setter, [variable.valueReference], [number])
        for array, variable in changed.items():
            setter = getattr(self._fmu, f"set{self._access(variable.type)}")
            self._call(f"setting {array}", setter, [variable.valueReference], self._given[array])

    def get(self, name: str) -> float:
        """Read a scalar variable or an element of an array."""
        return self.get_values((name,))[name]

    def get_values(self, names: Iterable[str]) -> dict[str, float]:
        """Read scalars and elements of arrays by name; each array is read once."""
        values: dict[str, float] = {}
        read: dict[str, Any] = {}
        for name in names:
            variable = self.variables[name]
            getter = getattr(self._fmu, f"get{self._access(variable.type)}")
            if not isinstance(variable, ArrayElement):
                (value,) = self._call(f"reading {name}", getter, [variable.valueReference])
            else:
                array = variable.array
                if array.name not in read:
                    size = len(array.elements)
                    read[array.name] = self._call(f"reading {array.name}", getter, [variable.valueReference], size)
                value = read[array.name][variable.index]
            values[name] = float(value)
        return values

    @abstractmethod
    def do_step(self, communication_step_size: float) -> None:
        """Advance [s]."""

    def free(self) -> None:
        """Free the instance."""
        if self._fmu is not None:
            fmu, self._fmu = self._fmu, None
            fmu.freeInstance()

    def _starts(self, array: FaceArray) -> list[Any]:
        """Where the elements of an array are as long as nobody has set one: FMI lets no master ask before initialization."""
        elements = [self.variables[name] for name in array.elements]
        return [_as_typed(element, start_value(element)) for element in elements]

    def _make(self) -> Any:
        arguments = {
            "instanceName": self.description.modelName,
            "guid": self.description.guid,
            "unzipDirectory": str(self._folder),
            "modelIdentifier": self._implementation.modelIdentifier,
        }
        if self._third:
            fmu = FMU3Slave(**arguments) if self.kind == "coSimulation" else FMU3Model(**arguments)
            fmu.instantiate(loggingOn=True, logMessage=lambda _, status, category, text: self._note(text))
        else:
            fmu = FMU2Slave(**arguments) if self.kind == "coSimulation" else FMU2Model(**arguments)
            callbacks = fmi2CallbackFunctions()
            callbacks.logger = fmi2CallbackLoggerTYPE(lambda _, name, status, category, text: self._note(text))
            callbacks.allocateMemory = fmi2CallbackAllocateMemoryTYPE(calloc)  # some will not start without
            callbacks.freeMemory = fmi2CallbackFreeMemoryTYPE(free)
            fmu.instantiate(callbacks=callbacks, loggingOn=True)
        return fmu

    def _note(self, text: bytes) -> None:
        self._log.append(text.decode("utf-8", "replace").strip())

    def _call(self, what: str, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            said = "; ".join(text for text in self._log if text)
            raise PlantError(f"{self.name}: {what} failed ({error})" + (f"; it logged: {said}" if said else "")) from error

    def _access(self, kind: str) -> str:
        if kind == "Enumeration":
            return "Int64" if self._third else "Integer"
        return kind


class CoSimulationFmu(PlantFmu):
    """An FMU with a solver inside."""

    kind = "coSimulation"

    def do_step(self, communication_step_size: float) -> None:
        """Advance [s]."""
        self._call(f"the step at {self._time:g} s", self._fmu.doStep, self._time, communication_step_size)
        self._time += communication_step_size


def _as_typed(variable: Any, value: float) -> Any:
    if variable.type == "Boolean":
        return value >= 0.5
    if variable.type in _INTEGERS or variable.type == "Enumeration":
        return math.floor(value + 0.5)
    return float(value)


def fmu_kinds(path: Path) -> set[str]:
    """What an FMU can be used for, of "coSimulation" and "modelExchange"; none where it cannot be read."""
    try:
        from fmpy import read_model_description

        description = read_model_description(str(path), validate=False)
    except Exception:  # whoever opens it says why
        return set()
    return {kind for kind in ("coSimulation", "modelExchange") if getattr(description, kind) is not None}


def _unpack(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"there is no FMU at {path}")
    folder = Path(tempfile.mkdtemp(prefix="surrogate_fmu_plant_"))
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
            if "modelDescription.xml" not in archive.namelist():
                raise ConfigError(f"{path} is no FMU: it has no modelDescription.xml")
    except (zipfile.BadZipFile, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"{path} is no FMU, or damaged ({error})") from error
    return folder
