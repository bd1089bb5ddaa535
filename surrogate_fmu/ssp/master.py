"""A master for systems in SSP archives: fixed steps, all components at once (Jacobi), FMI 2.0 and 3.0 mixed, through FMPy."""

import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.fmu_instance import CoSimulationFmu
from surrogate_fmu.plant.fmu_interface import seed_parameter
from surrogate_fmu.ssp.parameter import parameter_value
from surrogate_fmu.ssp.structure import Connection, Structure

Array = NDArray[np.float64]
_SEEDS, _SEEDS_APART = ("surrogate.seed", "seed"), 100_000


@dataclass(frozen=True)
class SystemRun:
    """One run of a system.

    Attributes:
        times: (point,) [s].
        signals: (point,) of every output of a component that is connected, or of all where none is, by "path.output".
        seconds: wall time that a component's steps took [s], by path.
        wall_s: of the whole run, without loading and initialization [s].
        tapped: of the component that is recorded, by name: inputs (step,) as they are held over the steps, outputs (point,).
    """

    times: Array
    signals: Mapping[str, Array]
    seconds: Mapping[str, float]
    wall_s: float
    tapped: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class _Wire:
    """What an input gets: the output of a component, or the value of a system's own connector that nothing drives."""

    source: tuple[str, str]
    factor: float
    offset: float


class SystemMaster:
    """A system whose components are loaded; each run has instances of its own.

    Args:
        structure: of the archive.

    Raises:
        ConfigError: a component is no FMU in the archive, or the system has something that this master does not know.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self._fmus: dict[str, CoSimulationFmu] = {}
        for component in structure.components.values():
            if component.member is None or not component.member.lower().endswith(".fmu"):
                raise ConfigError(
                    f"the component {component.path!r} is {component.source!r}, no FMU in the archive; this master runs FMUs"
                )
        self._folder = tempfile.TemporaryDirectory(prefix="surrogate_fmu_system_")
        try:
            self._load()
            self._check_arrays()
            self._wires = self._resolve()
        except BaseException:
            self._folder.cleanup()
            raise
        self.outputs = self._outputs()

    def parameter_of(self, path: str, name: str) -> bool:
        """Whether a component has a parameter of that name."""
        variable = self._fmus[path].variables.get(name)
        return variable is not None and variable.causality == "parameter"

    def seeds(self, seed: int) -> dict[str, dict[str, float]]:
        """Values of the seed parameter of all components that have one, another for each."""
        found = ((path, self._seed_of(path)) for path in self._fmus)
        seeded = [(path, name) for path, name in found if name]
        return {path: {name: float(seed + _SEEDS_APART * place)} for place, (path, name) in enumerate(seeded)}

    def _seed_of(self, path: str) -> str:
        """A surrogate's own before one that its plant has."""
        own = (name for name in _SEEDS if self.parameter_of(path, name))
        return next(own, "") or seed_parameter(self._fmus[path].variables)

    def inputs_of(self, path: str) -> list[str]:
        """Names of the component's inputs that an output drives."""
        return [name for end, name in self._wires if end == path]

    def description_of(self, path: str) -> Any:
        """FMPy's model description of a component."""
        return self._fmus[path].description

    def run(
        self,
        step_size: float,
        stop_time: float,
        start_time: float = 0.0,
        values: Mapping[str, Mapping[str, float]] | None = None,
        tap: str = "",
        tapped_outputs: Sequence[str] = (),
    ) -> SystemRun:
        """Run the system.

        Args:
            step_size: communication step [s].
            stop_time, start_time: [s].
            values: of parameters, by path and name, over those that the system sets.
            tap: path of a component to record.
            tapped_outputs: names of the outputs of it that are recorded; all its driven inputs are.

        Raises:
            PlantError: a component refuses.
        """
        for path, fmu in self._fmus.items():
            fmu.instantiate(start_time)
            for name, value in {**self._set_values(path), **(values or {}).get(path, {})}.items():
                fmu.set(name, value)
            fmu.initialize()
        steps = round((stop_time - start_time) / step_size)
        signals = {f"{path}.{name}": np.empty(steps + 1) for path, name in self.outputs}
        seconds = dict.fromkeys(self._fmus, 0.0)
        tapped = {name: np.empty(steps) for name in self.inputs_of(tap)} | {name: np.empty(steps + 1) for name in tapped_outputs}
        begin = time.perf_counter()
        self._record(signals, 0)
        self._tap(tap, tapped, tapped_outputs, 0)
        for step in range(steps):
            for (path, name), value in self._exchange().items():
                if path == tap:
                    tapped[name][step] = value
            for path, fmu in self._fmus.items():
                before = time.perf_counter()
                fmu.do_step(step_size)
                seconds[path] += time.perf_counter() - before
            self._record(signals, step + 1)
            self._tap(tap, tapped, tapped_outputs, step + 1)
        wall = time.perf_counter() - begin
        for fmu in self._fmus.values():
            fmu.free()
        return SystemRun(np.asarray(start_time + step_size * np.arange(steps + 1), np.float64), signals, seconds, wall, tapped)

    def close(self) -> None:
        """Free instances and files."""
        for fmu in self._fmus.values():
            fmu.free()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        with zipfile.ZipFile(self.structure.path) as archive:
            for number, component in enumerate(self.structure.components.values()):
                assert component.member is not None
                path = Path(self._folder.name) / str(number) / Path(component.member).name
                path.parent.mkdir()
                path.write_bytes(archive.read(component.member))
                self._fmus[component.path] = CoSimulationFmu(path)

    def _check_arrays(self) -> None:
        """Refuse to connect and to set arrays as a whole: SSP 1.0 has scalars, and elements of arrays are some by their names."""
        used = [("connects", place) for c in self.structure.connections for place in (c.start, c.end)]
        used += [("sets", (c.path, name)) for c in self.structure.components.values() for name in c.parameters]
        for does, (path, name) in used:
            array = self._fmus[path].arrays.get(name) if path in self._fmus else None
            if array is not None:
                raise ConfigError(
                    f"the system {does} {name!r} of {path!r}, an array of {len(array.elements)} elements; this master knows the "
                    f"scalars of SSP 1.0, so let the system take the elements, {array.elements[0]!r} to {array.elements[-1]!r}"
                )

    def _set_values(self, path: str) -> dict[str, float]:
        values = {}
        for name, text in self.structure.components[path].parameters.items():
            variable = self._fmus[path].variables.get(name)
            if variable is None:
                raise ConfigError(f"the system sets {name!r} of {path!r}, which its FMU does not have")
            if variable.type not in ("String", "Binary"):
                values[name] = parameter_value(text, variable, path)
        return values

    def _resolve(self) -> dict[tuple[str, str], _Wire]:
        drivers: dict[tuple[str, str], Connection] = {}
        for connection in self.structure.connections:
            if not connection.is_plain:
                raise ConfigError(f"the connection to {'.'.join(connection.end)} has a mapping; this master knows linear ones only")
            if self._is_output(connection.end) or connection.end in drivers:
                drivers.setdefault(connection.start, Connection(connection.end, connection.start))
            else:
                drivers[connection.end] = connection
        wires = {}
        for end in drivers:
            if end[0] not in self._fmus or self._is_output(end):
                continue
            place, factor, offset = end, 1.0, 0.0
            for _ in range(len(drivers) + 1):
                if self._is_output(place) or place not in drivers:
                    break
                connection = drivers[place]
                factor, offset = factor * connection.factor, offset + factor * connection.offset
                place = connection.start
            if self._is_output(place):
                wires[end] = _Wire(place, factor, offset)
        return wires

    def _is_output(self, place: tuple[str, str]) -> bool:
        fmu = self._fmus.get(place[0])
        variable = None if fmu is None else fmu.variables.get(place[1])
        return variable is not None and variable.causality == "output"

    def _outputs(self) -> list[tuple[str, str]]:
        used = list(dict.fromkeys(wire.source for wire in self._wires.values()))
        declared = [
            (component.path, connector.name)
            for component in self.structure.components.values()
            for connector in component.connectors.values()
            if connector.kind == "output" and connector.type not in ("String", "Binary")
        ]
        return list(dict.fromkeys([*used, *(place for place in declared if self._is_output(place))]))

    def _exchange(self) -> dict[tuple[str, str], float]:
        values = {}
        for end, wire in self._wires.items():
            values[end] = wire.factor * self._fmus[wire.source[0]].get(wire.source[1]) + wire.offset
            self._fmus[end[0]].set(end[1], values[end])
        return values

    def _tap(self, path: str, tapped: Mapping[str, Array], outputs: Sequence[str], point: int) -> None:
        for name in outputs:
            tapped[name][point] = self._fmus[path].get(name)

    def _record(self, signals: Mapping[str, Array], point: int) -> None:
        for path, name in self.outputs:
            signals[f"{path}.{name}"][point] = self._fmus[path].get(name)
