"""Importance weights under a planted shift: recorded where p_s = N(0, 1), wanted where p_t = N(1, 1) or N(1, 4).

python benchmarks/training/shift.py [--seeds 3] [--budget 5]

The plant is y = sin(2 x) + 0.3 x^2 + (0.1 + 0.1 |x|) noise, the generator a network too small for all of it, so that it must choose
where to be right. The error is the CRPS on fresh samples of the target over that of the plant's own.
"""

import argparse
import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import GeneratorConfig, Objective, TermConfig, TrainingConfig
from surrogate_fmu.training.importance import density_ratio, effective_sample_size
from surrogate_fmu.training.loop import Trainer
from surrogate_fmu.training.validation import Validation
from surrogate_fmu.variables import Causality, Variable

VARIABLES = (Variable("x", Causality.PARAMETER, start=0.0), Variable("y", Causality.OUTPUT))
CONFIG = TrainingConfig(
    objective=Objective.TERMS,
    terms=(TermConfig("energy"),),
    updates=10**9,
    batch_size=256,
    window_steps=(1, 1),
    validations=2,
    learning_rate=5e-3,
    generator=GeneratorConfig(run_latent_dim=0, step_latent_dim=1, memory_dim=1, width=4),
)


def make_runs(x: NDArray[np.float64], individuals: int, random: np.random.Generator) -> Trajectories:
    """Runs of one step, so many at each x."""
    x = x.repeat(individuals)
    y = np.sin(2 * x) + 0.3 * x**2 + (0.1 + 0.1 * np.abs(x)) * random.standard_normal(len(x))
    count = len(x)
    return Trajectories(
        VARIABLES,
        1.0,
        np.zeros((count, 1, 0)),
        x[:, None],
        np.stack([np.zeros(count), y], axis=1)[:, :, None],
        np.arange(count),
        np.arange(count // individuals).repeat(individuals),
    )


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description="Importance weights under a planted shift.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=5.0, help="CPU seconds of each training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, variance in (("N(1, 1)", 1.0), ("N(1, 4)", 4.0)):
        errors: dict[str, list[float]] = {}
        sizes: dict[str, list[float]] = {}
        refused: dict[str, str] = {}
        for seed in range(arguments.seeds):
            random = np.random.default_rng(seed)
            source = random.standard_normal(4000)
            target = 1.0 + np.sqrt(variance) * random.standard_normal(4000)
            training = make_runs(source, 1, random)
            validation = make_runs(random.standard_normal(64), 16, random)
            test = make_runs(1.0 + np.sqrt(variance) * random.standard_normal(256), 32, random)
            known = np.exp(-0.5 * (source - 1.0) ** 2 / variance + 0.5 * source**2) / np.sqrt(variance)
            found = density_ratio(source[:, None], target[:, None], seed)
            for way, weights in (("none", None), ("closed form", known), ("classifier", found)):
                if weights is not None:
                    sizes.setdefault(way, []).append(effective_sample_size(weights) / len(weights))
                try:
                    config = dataclasses.replace(CONFIG, seed=seed, budget_cpu_s=arguments.budget)
                    trainer = Trainer(training, validation, config, weights=weights)
                except TrainingError as error:
                    refused[way] = str(error)
                    continue
                while not trainer.finished:
                    trainer.update()
                score = Validation(test, 0, 1, 64, seed).score(trainer.result().generator)
                errors.setdefault(way, []).append(score.crps_ratio[0])
        for way in ("none", "closed form", "classifier"):
            size = f", effective sample {np.mean(sizes[way]):.0%}" if way in sizes else ""
            values = errors.get(way, [])
            figure = f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "no training"
            also = f"; {arguments.seeds - len(values)} refused: {refused[way]}" if way in refused else ""
            print(f"target {name}, weights {way}{size}: CRPS over the plant's own {figure}{also}", flush=True)


if __name__ == "__main__":
    main()
