"""What a plant must offer, and how one is found by name."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.variables import Variable


@runtime_checkable
class Plant(Protocol):
    """A component of a co-simulation: inputs are held over a communication step, outputs are those at its end.

    A plant is deterministic given its seed: the seed chooses the individual (this cell, not its sister) and, where
    there is process noise, its draws. One whose start depends on the first inputs sets `takes_inputs_at_reset = True`, and gets
    them among the parameters of `reset`.
    """

    @property
    def variables(self) -> Sequence[Variable]:
        """Inputs, parameters and outputs with units, in the order that datasets and bundles keep."""
        ...

    @property
    def communication_step_size(self) -> float:
        """The step [s] that the plant is recorded with."""
        ...

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        """Start a run at time 0 and return the outputs there; parameters not given keep their start values.

        Raises:
            PlantError: the plant cannot start from these parameters.
        """
        ...

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        """Advance by one communication step [s] with held inputs; return the outputs at its end.

        Raises:
            PlantError: the solver failed; the run is over.
        """
        ...


def load_plant(reference: str, folder: Path) -> Plant:
    """Make the plant that `path/to/file.py:ClassName` names, the path relative to `folder`.

    Raises:
        ConfigError: there is no such file or class, or it is no plant.
    """
    plant_class = load_named(reference, folder, "plant", "ClassName")
    plant = plant_class()
    if not isinstance(plant, Plant):
        name = reference.partition(":")[2]
        raise ConfigError(f"plant {reference!r}: {name} is no plant; it needs variables, communication_step_size, reset, do_step")
    return plant


def load_named(reference: str, folder: Path, kind: str, pattern: str) -> Any:
    """What `path/to/file.py:name` names, the path relative to `folder`; a file is run once in a process.

    Args:
        reference: file and name.
        folder: where the path begins.
        kind: what it is to be, for errors: "plant".
        pattern: of the name, for errors: "ClassName".

    Raises:
        ConfigError: there is no such file or name, or the file needs a package that is not installed.
    """
    file_name, separator, name = reference.partition(":")
    path = (folder / file_name).resolve()
    if not separator or not path.is_file():
        raise ConfigError(f"{kind} {reference!r}: expected 'file.py:{pattern}' with a file under {folder}, found no {path.name!r}")
    # Named after its whole path: two plants in one process may have equal file and folder names.
    module_name = f"surrogate_fmu_plant_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except ModuleNotFoundError as error:
            del sys.modules[module_name]
            raise ConfigError(
                f"{kind} {reference!r} needs the package {error.name!r}, which is not installed; "
                "for the plants in models/ install the extra: pip install 'surrogate-fmu[models]'"
            ) from error
        except BaseException:
            del sys.modules[module_name]
            raise
    found = getattr(sys.modules[module_name], name, None)
    if found is None:
        raise ConfigError(f"{kind} {reference!r}: {path.name} has no {'class' if pattern[0].isupper() else 'function'} {name!r}")
    return found
