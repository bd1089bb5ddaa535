"""A co-simulation FMU as the plant: FMI 2.0 and 3.0, driven through FMPy."""

import shutil
import tempfile
import weakref
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.plant.fmu_interface import FmuInterface, Port, read_interface, reader, to_fmu, writer
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.variables import Causality, Variable

try:
    from fmpy import calloc, free, platform, platform_tuple, read_model_description, supported_platforms
    from fmpy.fmi2 import (
        FMU2Slave,
        fmi2CallbackAllocateMemoryTYPE,
        fmi2CallbackFreeMemoryTYPE,
        fmi2CallbackFunctions,
        fmi2CallbackLoggerTYPE,
    )
    from fmpy.fmi3 import FMU3Slave
except ModuleNotFoundError as error:
    raise ConfigError("FMPy, which runs FMUs, is not installed; install the extra: pip install 'surrogate-fmu[fmu]'") from error

_KEPT_MESSAGES = 20
_RUN_SEED_MAX = 2**31 - 1


class FmuPlant:
    """A plant in an FMU. Each run has an instance of its own, so that nothing of one is left for the next.

    Args:
        path: of the FMU.
        settings: what of it is modelled.

    Attributes:
        interface: what was chosen of it.

    Raises:
        ConfigError: there is no such FMU, it has no binary for this machine, or it cannot be modelled.
    """

    def __init__(self, path: Path | str, settings: PlantSettings | None = None) -> None:
        path = Path(path)
        self.name = path.name
        self._folder = _unpack(path)
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            self.description = read_model_description(str(self._folder), validate=False)
        except Exception as error:
            raise ConfigError(f"{self.name}: its modelDescription.xml cannot be read ({error}); export it again") from error
        there = supported_platforms(str(self._folder))
        if not {platform, platform_tuple} & set(there):
            raise ConfigError(
                f"{self.name} has binaries for {', '.join(there) or 'no platform'}, and none for {platform_tuple}, which this is; "
                "record it where it runs, or export it for this platform"
            )
        self.interface: FmuInterface = read_interface(self.description, settings or PlantSettings(), self.name)
        self._third = str(self.description.fmiVersion).startswith("3")
        self._by_name = {port.variable.name: port for port in self.interface.ports}
        self._outputs = [port for port in self.interface.ports if port.variable.causality is Causality.OUTPUT]
        self._log: deque[str] = deque(maxlen=_KEPT_MESSAGES)
        self._fmu: Any = None
        self._time = 0.0

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Inputs, outputs and parameters that are modelled."""
        return tuple(port.variable for port in self.interface.ports)

    @property
    def communication_step_size(self) -> float:
        """[s]."""
        return self.interface.communication_step_size

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        """Instantiate anew and initialize; the outputs at time 0.

        Raises:
            PlantError: the FMU refuses; the message has what it logged.
        """
        self.close()
        self._log.clear()
        self._fmu = self._call("instantiation", self._instantiate)
        self._time = 0.0
        if not self._third:
            self._call("setting up the experiment", self._fmu.setupExperiment, None, 0.0)
        for port, value in self.interface.held:
            self._set(port, value)
        if self.interface.seed is not None:
            self._set(self.interface.seed, seed % _RUN_SEED_MAX)
        for name, value in parameters.items():
            self._set(self._by_name[name], value)
        self._call("entering initialization mode", self._fmu.enterInitializationMode)
        self._call("initialization", self._fmu.exitInitializationMode)
        return self._read()

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        """Set the inputs, step, read the outputs.

        Raises:
            PlantError: the FMU refuses; the message has what it logged.
        """
        for name, value in inputs.items():
            self._set(self._by_name[name], value)
        self._call(f"the step at {self._time:g} s", self._fmu.doStep, self._time, communication_step_size)
        self._time += communication_step_size
        return self._read()

    def close(self) -> None:
        """Free the instance."""
        if self._fmu is not None:
            fmu, self._fmu = self._fmu, None
            fmu.freeInstance()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _instantiate(self) -> Any:
        arguments = {
            "instanceName": self.description.modelName,
            "guid": self.description.guid,
            "unzipDirectory": str(self._folder),
            "modelIdentifier": self.description.coSimulation.modelIdentifier,
        }
        if self._third:
            fmu = FMU3Slave(**arguments)
            fmu.instantiate(loggingOn=True, logMessage=lambda _, status, category, text: self._note(text))
        else:
            fmu = FMU2Slave(**arguments)
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

    def _set(self, port: Port, value: float) -> None:
        set_values = writer(self._fmu, port.kind, self._third)
        self._call(f"setting {port.variable.name}", set_values, [port.reference], [to_fmu(port.kind, value)])

    def _read(self) -> dict[str, float]:
        outputs = {}
        for port in self._outputs:
            (value,) = self._call(f"reading {port.variable.name}", reader(self._fmu, port.kind, self._third), [port.reference])
            outputs[port.variable.name] = float(value)
        return outputs


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
