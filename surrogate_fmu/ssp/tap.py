"""A component recorded where it works: in its own system, with the inputs that it really gets."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.fmu_interface import read_interface
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.ssp.master import SystemMaster, SystemRun
from surrogate_fmu.ssp.structure import read_structure
from surrogate_fmu.variables import Causality, with_causality


def record_in_system(
    system: Path, component: str, step_size: float, stop_time: float | None = None, runs: int = 1, first_seed: int = 1
) -> Trajectories:
    """Run the system and keep what one component gets and gives: its inputs that are connected, its outputs that are declared.

    Args:
        system: SSP archive.
        component: its path, or its last name where that is enough.
        step_size: communication step [s].
        stop_time: [s]; None takes that of the default experiment.
        runs: how many, each with other seeds of all components that have a parameter `seed`.
        first_seed: of the first run.

    Raises:
        ConfigError: there is no such component, no end is known, or the component has no inputs that are connected.
        PlantError: a component refuses.
    """
    structure = read_structure(system)
    found = structure.find(component)
    end = structure.stop_time if stop_time is None else stop_time
    if end is None:
        raise ConfigError(f"{system.name} has no default experiment; say where to stop: --stop-time SECONDS")
    begin = structure.start_time or 0.0
    if not 0.0 < step_size <= end - begin:
        raise ConfigError(f"a step of {step_size:g} s does not fit a run from {begin:g} to {end:g} s")
    with SystemMaster(structure) as master:
        connected = master.inputs_of(found.path)
        if not connected:
            raise ConfigError(f"no output of the system is connected to an input of {found.path!r}; there is nothing to record")
        declared = tuple(c.name for c in found.connectors.values() if c.kind == "output" and c.type not in ("String", "Binary"))
        settings = PlantSettings(communication_step_size=step_size, inputs=tuple(connected), outputs=declared)
        interface = read_interface(master.description_of(found.path), settings, found.source)
        outputs = [v.name for v in with_causality(interface.variables, Causality.OUTPUT)]
        seeds = [first_seed + run for run in range(runs)]
        taken = [master.run(step_size, end, begin, master.seeds(seed), found.path, outputs) for seed in seeds]
    inputs = [v.name for v in with_causality(interface.variables, Causality.INPUT)]
    return Trajectories(
        variables=interface.variables,
        communication_step_size=step_size,
        inputs=np.array([_columns(run, inputs) for run in taken]),
        parameters=np.zeros((runs, 0)),
        outputs=np.array([_columns(run, outputs) for run in taken]),
        plant_seed=np.array(seeds, np.int64),
        schedule=np.arange(runs),
        provenance={"system": system.name, "component": found.path},
        face=interface.face,
    )


def _columns(run: SystemRun, names: list[str]) -> NDArray[np.float64]:
    return np.stack([run.tapped[name] for name in names], axis=-1)
