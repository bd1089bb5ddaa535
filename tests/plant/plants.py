"""A small plant with its configuration, written into a folder as a user would."""

from pathlib import Path

from surrogate_fmu.plant.design import Excitation

DRAWN = tuple(family for family in Excitation if family is not Excitation.PROFILE)  # families that need no file

PLANT = '''
"""A tank that leaks; every seed is another leak."""

import math

import numpy as np

from surrogate_fmu.errors import PlantError
from surrogate_fmu.variables import Causality, Variable


class Tank:
    communication_step_size = 2.0
    variables = (
        Variable("flow", Causality.INPUT, "L/s", start=0.0),
        Variable("ambient", Causality.INPUT, "K", start=290.0),
        Variable("level_start", Causality.PARAMETER, "L", start=1.0),
        Variable("area", Causality.PARAMETER, "m2", start=3.0),
        Variable("level", Causality.OUTPUT, "L"),
        Variable("temperature", Causality.OUTPUT, "K"),
    )

    def reset(self, seed, parameters):
        self.seed, self.step = seed, 0
        self.leak = np.random.default_rng(seed).uniform(0.0, 0.1)
        self.level = parameters.get("level_start", 1.0)
        return {"level": self.level, "temperature": 290.0}

    def do_step(self, inputs, communication_step_size):
        self.step += 1
        self.level += (inputs["flow"] - self.leak) * communication_step_size
        return {"level": self.level, "temperature": inputs["ambient"] + 1.0}


class Bursting(Tank):
    def do_step(self, inputs, communication_step_size):
        if self.seed % 2 and self.step == 3:
            raise PlantError(f"the tank of seed {self.seed} burst at step {self.step}")
        return super().do_step(inputs, communication_step_size)


class Diverging(Tank):
    def do_step(self, inputs, communication_step_size):
        outputs = super().do_step(inputs, communication_step_size)
        return outputs | ({"temperature": math.nan} if self.seed % 2 and self.step == 2 else {})


class Overflowing(Tank):
    def do_step(self, inputs, communication_step_size):
        outputs = super().do_step(inputs, communication_step_size)
        return outputs | ({"temperature": -1e42} if self.seed % 2 and self.step == 2 else {})


class NeverStarting(Tank):
    def reset(self, seed, parameters):
        raise PlantError("the valve is stuck")


class Unfinished:
    communication_step_size = 2.0
    variables = Tank.variables

    def reset(self, seed, parameters):
        return {}
'''

CONFIG = """
[surrogate]
name = "tank"
plant = "tank.py:Tank"

[variables]
flow = "L/s"
ambient = "K"
level_start = "L"
area = "m2"
level = "L"
temperature = "K"

[recording]
steps = 5

[recording.sets]
train = { schedules = 3, individuals = 2, seed = 1 }
validation = { schedules = 1, individuals = 3, seed = 2 }

[recording.design.inputs.flow]
min = -1.0
max = 1.0
excitations = ["steps", "ramps"]
hold_s = [2, 6]

[recording.design.inputs.ambient]
min = 280.0
max = 300.0
excitations = ["constant"]
hold_s = [2, 6]

[recording.design.parameters]
level_start = { min = 1.0, max = 2.0 }
"""


def write_plant(folder: Path, name: str = "tank.py", text: str = PLANT) -> Path:
    """Write the plant file; every test has a folder of its own, so modules cannot be taken for one another."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def write_config(folder: Path, text: str = CONFIG) -> Path:
    """Write plant and configuration."""
    write_plant(folder)
    (folder / "surrogate.toml").write_text(text)
    return folder / "surrogate.toml"
