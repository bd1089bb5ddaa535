"""The plant's FMU inside a tap: values by the type and value reference that the master uses, and those that are logged by name."""

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from surrogate_fmu.fmu.instance import FmuInstance, Message, sizes_of
from surrogate_fmu.fmu.tap.guard import Outputs
from surrogate_fmu.fmu.unpacked import UnpackedFmu
from surrogate_fmu.plant.fmu_arrays import in_elements

STRING, BOOLEAN = "String", "Boolean"
REALS = ("Real", "Float64")
_unpacked: dict[Path, UnpackedFmu] = {}  # the files of a tap stay as long as the process


class Place(NamedTuple):
    """Where a scalar is: the type that FMI functions are called after, value reference, and place in an array, row-major."""

    type: str
    reference: int
    element: int = 0


class Write(NamedTuple):
    """One call that sets values; those of the elements of an array one behind the other."""

    type: str
    references: tuple[int, ...]
    values: tuple[Any, ...]


class SavedState:
    """A state of an inner FMU; freed when it is collected, before its instance.

    Args:
        instance: that it is of.
    """

    def __init__(self, instance: FmuInstance) -> None:
        self._instance = instance
        self.handle: Any = instance.call(instance.fmu.getFMUstate)
        weakref.finalize(self, instance.fmu.freeFMUstate, self.handle)


class InnerFmu:
    """An instance of an FMU whose files lie in a folder.

    Args:
        folder: of the files.
        instance: name that the master gave.
        messages_refuse: as `FmuInstance`.
        on_message: as `FmuInstance`.

    Attributes:
        description: FMPy's model description.
        variables: FMPy's variables by name, with the elements of arrays in the place of these.

    Raises:
        SurrogateError: it cannot be instantiated; the methods raise it when the FMU refuses.
    """

    def __init__(
        self, folder: Path, instance: str, messages_refuse: bool = False, on_message: Callable[[Message], object] | None = None
    ) -> None:
        if folder not in _unpacked:
            _unpacked[folder] = UnpackedFmu(folder)
        self.description: Any = _unpacked[folder].description
        listed = in_elements(self.description.modelVariables, self.description.modelName)
        self.variables = {variable.name: variable for variable in listed}
        self._third = str(self.description.fmiVersion).startswith("3")
        self._sizes = sizes_of(self.description) if self._third else {}
        self._has_arrays = any(size > 1 for size in self._sizes.values())
        self._instance = FmuInstance(_unpacked[folder], instance, messages_refuse, on_message)
        self._fmu, self._call = self._instance.fmu, self._instance.call

    def setup_experiment(self, start_time: float, stop_time: float | None = None, tolerance: float | None = None) -> None:
        """Times in seconds; FMI 3.0 is told the start alone."""
        self._call(self._fmu.setupExperiment, tolerance, start_time, *(() if self._third else (stop_time,)))

    def enter_initialization_mode(self) -> None:
        """Parameters are set."""
        self._call(self._fmu.enterInitializationMode)

    def exit_initialization_mode(self) -> None:
        """The run starts."""
        self._call(self._fmu.exitInitializationMode)

    def advance(self, communication_point: float, communication_step_size: float) -> None:
        """Take a step [s]."""
        self._call(self._fmu.doStep, communication_point, communication_step_size)

    def terminate(self) -> None:
        """The run ends; values can still be read."""
        self._call(self._fmu.terminate)

    def save(self) -> SavedState:
        """Its state, for `load` of this instance."""
        return SavedState(self._instance)

    def load(self, state: SavedState) -> None:
        """Go back to a state."""
        self._call(self._fmu.setFMUstate, state.handle)

    def place(self, name: str) -> Place:
        """Where a variable is."""
        variable = self.variables[name]
        kind = ("Int64" if self._third else "Integer") if variable.type == "Enumeration" else variable.type
        return Place(kind, variable.valueReference, getattr(variable, "index", 0))

    def size(self, reference: int) -> int:
        """Elements of a variable; 1 for a scalar."""
        return self._sizes.get(reference, 1)

    def count(self, references: Sequence[int]) -> int:
        """Elements of some variables together."""
        return sum(map(self.size, references)) if self._has_arrays else len(references)

    def places(self, kind: str, references: Sequence[int]) -> list[Place]:
        """The scalars that the values of a call are of, in their order."""
        if not self._has_arrays:
            return [Place(kind, reference) for reference in references]
        return [Place(kind, reference, element) for reference in references for element in range(self.size(reference))]

    def scalars(self, write: Write) -> Iterator[tuple[Place, Any]]:
        """The scalars that a call sets, with their values."""
        return zip(self.places(write.type, write.references), write.values, strict=True)

    def get(self, kind: str, references: Sequence[int]) -> list[Any]:
        """Values of a type; elements of an array one behind the other."""
        getter = getattr(self._fmu, f"get{kind}")
        values = self._call(getter, list(references), *([self.count(references)] if self._third else []))
        if kind == STRING:
            return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value or "" for value in values]
        return [bool(value) for value in values] if kind == BOOLEAN else list(values)

    def set(self, kind: str, references: Sequence[int], values: Sequence[Any]) -> None:
        """Set values of a type."""
        self._call(getattr(self._fmu, f"set{kind}"), list(references), list(values))


class Columns:
    """Some scalars of an FMU side by side, read with one call for each type.

    Args:
        fmu: whose they are.
        names: in the order of the columns.
    """

    def __init__(self, fmu: InnerFmu, names: Iterable[str]) -> None:
        self._fmu = fmu
        self.names = tuple(names)
        self.places = tuple(fmu.place(name) for name in self.names)
        columns: dict[Place, list[int]] = {}
        for column, place in enumerate(self.places):
            columns.setdefault(place, []).append(column)
        kinds = dict.fromkeys(place.type for place in self.places)
        references = {kind: list(dict.fromkeys(p.reference for p in self.places if p.type == kind)) for kind in kinds}
        # For each type what is read, and the columns that each of its values goes into.
        self._grouped = {kind: (read, [columns.get(p, []) for p in fmu.places(kind, read)]) for kind, read in references.items()}

    def read(self) -> Outputs:
        """Numbers in the order of the columns.

        Raises:
            SurrogateError: the FMU refuses.
        """
        numbers = [math.nan] * len(self.places)
        for kind, (references, columns) in self._grouped.items():
            for places, value in zip(columns, self._fmu.get(kind, references), strict=True):
                for column in places:
                    numbers[column] = float(value)
        return tuple(numbers)


class TappedPlant(InnerFmu):
    """The plant: it gets what the master gives and gives what it gets.

    Args:
        folder, instance, on_message: as `InnerFmu`.
        outputs: names of those that are logged.
    """

    def __init__(self, folder: Path, instance: str, outputs: Iterable[str], on_message: Callable[[Message], object]) -> None:
        super().__init__(folder, instance, False, on_message)
        self.outputs = Columns(self, outputs)

    def write(self, write: Write) -> None:
        """Set values."""
        self.set(*write)

    def do_step(self, communication_point: float, communication_step_size: float) -> Outputs:
        """Take a step [s]; outputs at its end."""
        self.advance(communication_point, communication_step_size)
        return self.outputs.read()
