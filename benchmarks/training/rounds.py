"""Active rounds against a design drawn at once: plant steps that the same validation score takes.

python benchmarks/training/rounds.py [--seeds 3] [--plant skewed|well|cell]

Both choose from the same recorded pool, so that no plant runs here. The schedules that the active design has after each of its
rounds, and as many of the one drawn at once, are trained on alike. One training more or less lucky moves a curve, so the saving is
the mean of the logarithm of schedules over all scores that both reach, and beside it the one at the best of these.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import double_well
import numpy as np
import torch

from surrogate_fmu.config import Split, load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.distill.rounds import Round, run_rounds
from surrogate_fmu.plant.rounds import RoundsConfig
from surrogate_fmu.training.config import EnergyConfig, GeneratorConfig, Objective, TermConfig, TrainingConfig
from surrogate_fmu.training.loop import train
from surrogate_fmu.variables import Causality, Variable

MODELS = Path(__file__).resolve().parents[2] / "models"
Case = tuple[Trajectories, Trajectories, TrainingConfig, RoundsConfig, int]


def well() -> Case:
    """Noise at every step, hardest where a particle may leave its valley."""
    config = load_config(MODELS / "double_well" / "surrogate.toml").training
    shorter = dataclasses.replace(config, updates=600, validations=6, batch_size=64)
    return double_well.make_runs(1600, 1, 16, 1), double_well.make_runs(64, 32, 16, 2), shorter, RoundsConfig(updates=400), 400


def skewed() -> Case:
    """A tank with a valve that acts, steeply, in a corner of the inputs alone; no randomness."""
    variables = (
        Variable("inflow", Causality.INPUT, start=0.0), Variable("valve", Causality.INPUT, start=0.0),
        Variable("level_start", Causality.PARAMETER, start=0.0), Variable("level", Causality.OUTPUT),
    )  # fmt: skip

    def runs(count: int, seed: int) -> Trajectories:
        random = np.random.default_rng(seed)
        steps = 12
        inflow, valve = (np.repeat(random.uniform(0.0, 1.0, (count, 4)), steps // 4, axis=1) for _ in range(2))
        level = random.uniform(0.0, 1.0, count)
        path = [level]
        for k in range(steps):
            opened = 1.0 / (1.0 + np.exp(-25.0 * (inflow[:, k] * valve[:, k] - 0.7)))
            level = level + 0.1 * (inflow[:, k] - level) - 0.5 * opened * level
            path.append(level)
        return Trajectories(
            variables, 1.0, np.stack([inflow, valve], axis=2), path[0][:, None], np.stack(path, axis=1)[:, :, None],
            np.arange(count), np.arange(count),
        )  # fmt: skip

    config = TrainingConfig(
        objective=Objective.TERMS, terms=(TermConfig("mean-error", options={"members": 1}),), updates=2500, validations=5,
        batch_size=24, window_steps=(6, 12), learning_rate=4e-3, energy=EnergyConfig(),
        generator=GeneratorConfig(0, 0, 4, 32, ("level_start",)),
    )  # fmt: skip
    return runs(800, 1), runs(200, 2), config, RoundsConfig(first_share=0.12, first=12, updates=1200), 96


def cell() -> Case:
    """The recorded runs of the shipped cell; individuals differ."""
    config = load_config(MODELS / "dfn_cell" / "surrogate.toml")
    runs, validation = (read_trajectories(config.dataset_path(split)) for split in (Split.TRAIN, Split.VALIDATION))
    return runs, validation, dataclasses.replace(config.training, updates=1500, validations=4), RoundsConfig(updates=1000), 400


CASES: dict[str, Callable[[], Case]] = {"skewed": skewed, "well": well, "cell": cell}


def curves(case: Case, seed: int) -> tuple[list[int], list[float], list[float]]:
    """Schedules after every round, and the scores of the active and the one-shot design with so many."""
    pool, validation, config, rounds, most = case
    config = dataclasses.replace(config, seed=seed)
    order = np.random.default_rng(seed).permutation(len(pool))
    pool = pool.select(order)
    found: list[Round] = []
    taken: list[list[int]] = []

    def record(places: Sequence[int]) -> Trajectories:
        taken.append(list(places))
        return pool.select(np.array(places))

    endless = dataclasses.replace(rounds, patience=99)
    run_rounds(record, pool.conditions(), validation, config, endless, most, found.append)

    def score(places: Sequence[int]) -> float:
        return train(pool.select(np.array(places)), validation, config).best.score

    counts = [len(places) for places in taken]
    return counts, [score(places) for places in taken], [score(range(count)) for count in counts]


def needed(counts: Sequence[int], scores: Sequence[float], wanted: float) -> float:
    """Schedules at which a falling curve reaches a score, between two of them by the logarithm of both; infinity if never."""
    best = np.minimum.accumulate(scores)
    for place in range(1, len(best)):
        if best[place] <= wanted:
            share = (np.log(best[place - 1]) - np.log(wanted)) / max(1e-12, np.log(best[place - 1]) - np.log(best[place]))
            return float(np.exp(np.interp(share, [0, 1], np.log(counts[place - 1 : place + 1]))))
    return float("inf")


def saved(counts: Sequence[int], active: Sequence[float], once: Sequence[float]) -> tuple[float, float]:
    """Shares of schedules that the active design does without, over all scores that both reach, and at the best of them."""
    levels = np.geomspace(max(active[0], once[0]) * 0.98, max(min(active), min(once)), 50)
    ratios = [np.log(needed(counts, active, level) / needed(counts, once, level)) for level in levels]
    return float(1.0 - np.exp(np.mean(ratios))), float(1.0 - np.exp(ratios[-1]))


def main() -> None:
    """Print the curves and the share of steps that is saved."""
    parser = argparse.ArgumentParser(description="Plant steps that active rounds save.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plant", choices=CASES, action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.plant or ("skewed", "well"):
        shares = []
        for seed in range(arguments.seeds):
            counts, active, once = curves(CASES[name](), seed)
            print(f"{name}, seed {seed}: schedules {counts}")
            print(f"  active {[round(s, 3) for s in active]}\n  once   {[round(s, 3) for s in once]}", flush=True)
            shares.append(saved(counts, active, once))
            print(f"  plant steps saved: {shares[-1][0]:.0%} over all scores, {shares[-1][1]:.0%} at the best", flush=True)
        print(f"{name}: {np.mean([share for share, _ in shares]):.0%} of the plant's steps are saved, mean of {len(shares)} seeds")


if __name__ == "__main__":
    main()
