"""What training tests share: runs of the toy thermal mass under random inputs, and a comparison of results."""

import numpy as np
import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.training.config import Balance, EnergyConfig, GeneratorConfig, TrainingConfig
from surrogate_fmu.training.loop import TrainingResult
from tests.toy import STEP_SIZE

STEPS = 10
BALANCE = Balance("temperature", ("power", "flow"), "temperature_start")
CONFIG = TrainingConfig(
    updates=20,
    batch_size=8,
    window_steps=(3, STEPS),
    validations=2,
    validation_members=8,
    generator=GeneratorConfig(2, 1, 4, 12, ("temperature_start",), (BALANCE,)),
    energy=EnergyConfig(members=3, encoder_width=8),
)


def make_runs(bundle: Bundle, schedules: int, individuals: int, seed: int) -> Trajectories:
    """Runs of the toy: (schedules * individuals) runs of STEPS steps."""
    rng = np.random.default_rng(seed)
    power, ambient = rng.uniform(-40, 40, (schedules, STEPS)), rng.uniform(280, 310, (schedules, STEPS))
    inputs = np.stack([power, ambient], axis=-1).repeat(individuals, axis=0)
    parameters = rng.uniform(280, 310, (schedules, 1)).repeat(individuals, axis=0)
    conditions = np.concatenate([inputs, np.broadcast_to(parameters[:, None], (len(inputs), STEPS, 1))], axis=-1)
    seeds = rng.integers(1, 2**31, len(inputs))
    return Trajectories(
        bundle.manifest.variables,
        STEP_SIZE,
        inputs,
        parameters,
        rollout(bundle, conditions, seeds),
        seeds,
        np.arange(schedules).repeat(individuals),
    )


def same_weights(left: TrainingResult, right: TrainingResult) -> bool:
    """Whether two trainings gave the same generator to the bit."""
    mine, theirs = left.generator.state_dict(), right.generator.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
