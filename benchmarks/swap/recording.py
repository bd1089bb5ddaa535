"""What recording costs over the bare plant, and what workers gain; a plant FMU of 1 ms a step.

python benchmarks/swap/recording.py

The bare plant is FMPy's calls of one instance in one process: set the input, step, read the output. Recording is the whole of
`record` in new processes: their start, files and the dataset included. Both take CPU time of their own; runs are taken in turns.
"""

import tempfile
import time
from pathlib import Path

import fmpy
import numpy as np
from fmpy.fmi2 import FMU2Slave

from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.plant.design import Design, Excitation, InputDesign
from surrogate_fmu.plant.excitation import Schedule, draw_schedules
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.source import PlantSource

STEPS, RUNS, ROUNDS = 200, 400, 1
PLANT = '''
"""A lag that takes a millisecond of CPU time for a step."""

import time

from surrogate_fmu.variables import Causality, Variable


class Slow:
    """A slow lag."""

    communication_step_size = 0.1
    variables = (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT))

    def reset(self, seed, parameters):
        self.y = 0.0
        return {"y": self.y}

    def do_step(self, inputs, communication_step_size):
        end = time.thread_time() + 1e-3
        while time.thread_time() < end:
            pass
        self.y += 0.1 * (inputs["u"] - self.y)
        return {"y": self.y}
'''


def bare(path: Path, schedules: list[Schedule]) -> float:
    """Wall seconds of a step [s] of the FMU alone."""
    description = fmpy.read_model_description(str(path))
    references = {v.name: v.valueReference for v in description.modelVariables}
    with tempfile.TemporaryDirectory() as folder:
        fmpy.extract(str(path), folder)
        fmu = FMU2Slave(
            guid=description.guid,
            unzipDirectory=folder,
            modelIdentifier=description.coSimulation.modelIdentifier,
            instanceName="bare",
        )
        begin = time.perf_counter()
        for schedule in schedules:
            fmu.instantiate()
            fmu.setupExperiment(None, 0.0)
            fmu.enterInitializationMode()
            fmu.exitInitializationMode()
            for k, u in enumerate(schedule.inputs["u"]):
                fmu.setReal([references["u"]], [float(u)])
                fmu.doStep(0.1 * k, 0.1)
                fmu.getReal([references["y"]])
            fmu.fmi2FreeInstance(fmu.component)
        return (time.perf_counter() - begin) / (len(schedules) * STEPS)


def recorded(source: PlantSource, schedules: list[Schedule], jobs: int) -> float:
    """Wall seconds of a step of a recording [s]."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        record(source, schedules, 1, 1, Path(folder), jobs)
        return (time.perf_counter() - begin) / (len(schedules) * STEPS)


def main() -> None:
    """Measure and print."""
    design = Design({"u": InputDesign(-1.0, 1.0, (Excitation.STEPS,), (0.5, 5.0))})
    schedules = draw_schedules(design, RUNS, STEPS, 0.1, 1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "slow.py").write_text(PLANT)
        path = build_plant_fmu("slow.py:Slow", Path(folder), Path(folder) / "Slow.fmu")
        source = PlantSource(path.name, path.parent)
        rows = [(bare(path, schedules[:20]), recorded(source, schedules, 1), recorded(source, schedules, 2)) for _ in range(ROUNDS)]
    alone, one, two = (float(np.median(column)) for column in zip(*rows, strict=True))
    print(f"bare plant {1e3 * alone:.3f} ms a step, recorded {1e3 * one:.3f} ms: {one / alone:.3f} x")
    print(f"2 workers: {one / two:.2f} x faster than 1")


if __name__ == "__main__":
    main()
