"""Test runs of a plant for a surrogate that is there, from its manifest alone: what it was trained to know is what is tested."""

import tempfile
from dataclasses import replace
from pathlib import Path

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.plant.design import Design, Excitation, InputDesign, Range
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.process_engine import Engine, run_in_processes
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Causality, with_causality

_SEED = 90_001  # of no recording's default
_EXCITATIONS = (Excitation.STEPS, Excitation.RAMPS, Excitation.NOISE, Excitation.CONSTANT)


def record_test_runs(
    manifest: Manifest,
    plant: Path,
    steps: int,
    schedules: int,
    individuals: int,
    jobs: int | None = None,
    engine: Engine = run_in_processes,
) -> Trajectories:
    """Run the plant over the surrogate's domain.

    Args:
        manifest: of the surrogate; its inputs, outputs and parameters are looked for in the plant.
        plant: an FMU.
        steps: of the surrogate's step size, per run.
        schedules: different inputs and parameters.
        individuals: runs of each.
        jobs: worker processes.
        engine: who takes the runs; they are the same whoever does.

    Raises:
        ConfigError: the plant does not have the surrogate's variables, or the surrogate's domain has no width.
        PlantError: no run could be finished.
    """
    names = {c: tuple(v.name for v in with_causality(manifest.variables, c)) for c in Causality}
    settings = PlantSettings(
        communication_step_size=manifest.step_size,
        inputs=names[Causality.INPUT],
        outputs=names[Causality.OUTPUT],
        parameters=names[Causality.PARAMETER],
    )
    source = PlantSource(plant.name, plant.parent, settings)
    if manifest.face is not None:
        source = replace(source, settings=replace(settings, values=manifest.face.values))
    inputs, held, parameters = {}, {}, {}
    hold_s = (2 * manifest.step_size, max(2, steps // 4) * manifest.step_size)
    for variable in manifest.condition:
        if variable.name not in manifest.domain:
            raise ConfigError(f"the surrogate's manifest says no domain of {variable.name!r}; verify with --config and test runs")
        low, high = manifest.domain[variable.name].min, manifest.domain[variable.name].max
        if variable.causality is Causality.PARAMETER:
            parameters[variable.name] = Range(low, high) if low < high else low
        elif low < high:
            inputs[variable.name] = InputDesign(low, high, _EXCITATIONS, hold_s)
        else:
            held[variable.name] = low
    if not inputs:
        raise ConfigError("the surrogate's domain has no input with a width; there is nothing to excite the plant by")
    moving = {name: interval for name, interval in parameters.items() if isinstance(interval, Range)}
    fixed = {name: value for name, value in parameters.items() if not isinstance(value, Range)}
    drawn = draw_schedules(Design(inputs, moving, held=held), schedules, steps, manifest.step_size, _SEED)
    for schedule in drawn:
        schedule.parameters.update(fixed)
    with tempfile.TemporaryDirectory(prefix="surrogate_fmu_replay_") as folder:
        return record(source, drawn, individuals, _SEED, Path(folder), jobs, engine=engine).trajectories
