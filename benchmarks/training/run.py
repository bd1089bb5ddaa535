"""Every recipe on the double well, at equal budgets, against the simulator itself.

python benchmarks/training/run.py [--recipes energy,r3gan] [--seeds 3] [--budget 20]     prints the table, adds to results.json

CPU seconds of one thread. The law is known, so every figure stands beside its floor: CRPS over that of the simulator's own members
(fresh runs, 8 steps), spread over skill at leads 1, 10 and 100, members of 32 that leave the wells in 100 000 steps, hops from
well to well over the simulator's, and the AUC of a classifier that tells short paths from the simulator's.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import double_well
import numpy as np
import torch
from torch import Tensor, nn

from surrogate_fmu.config import load_config
from surrogate_fmu.training.config import Objective, Optimiser, TermConfig, TrainingConfig
from surrogate_fmu.training.loop import Trainer
from surrogate_fmu.training.objectives.energy import fair_crps
from surrogate_fmu.training.recipes import RECIPES
from surrogate_fmu.training.rollout import RollingGenerator, draw_latents

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
MEMBERS, STARTS, OBSERVED = 64, 128, 64
LEADS = (1, 10, 100)
LONG_STEPS, LONG_MEMBERS, CHUNK = 100_000, 32, 500


def variants() -> dict[str, TrainingConfig]:
    """The recipes of the package, and variants that ask one question each."""
    config = load_config(HERE.parents[1] / "models" / "double_well" / "surrogate.toml").training
    found = {name: recipe.configure(config) for name, recipe in RECIPES.items()}

    def terms(*some: TermConfig) -> TrainingConfig:
        return dataclasses.replace(RECIPES["crps"].configure(config), objective=Objective.TERMS, terms=some)

    def optimised(config: TrainingConfig, optimiser: Optimiser) -> TrainingConfig:
        return dataclasses.replace(config, optimiser=optimiser)

    for steps in (1, 3, 5):
        found[f"wgan-gp, {steps} critic steps"] = terms(TermConfig("wgan-gp", options={"critic_steps": steps}))
        found[f"wgan-2, {steps} critic steps"] = terms(TermConfig("wasserstein-2", options={"critic_steps": steps}))
    found["wgan-gp and repulsion"] = terms(TermConfig("wgan-gp", options={"critic_steps": 3}), TermConfig("repulsion", 0.05))
    for optimiser in Optimiser:
        options = {"optimiser": str(optimiser)}
        found[f"r3gan-alone, {optimiser}"] = optimised(terms(TermConfig("r3gan", options=options)), optimiser)
        found[f"gan, {optimiser}"] = optimised(
            terms(TermConfig("non-saturating", options={"real_label": 0.9, **options})), optimiser
        )
    found["energy alone, terms"] = terms(TermConfig("energy"))
    found["r3gan beside energy"] = terms(TermConfig("energy"), TermConfig("r3gan", 0.1))
    return found


def measure(generator: RollingGenerator, sizes: tuple[int, int], seed: int) -> dict[str, float]:
    """All figures of one generator."""
    random = torch.Generator().manual_seed(seed)
    test = double_well.make_runs(STARTS, OBSERVED + MEMBERS, max(LEADS), 1000 + seed)
    plant = torch.tensor(test.outputs[:, :, 0], dtype=torch.float32).reshape(STARTS, OBSERVED + MEMBERS, -1)
    observed, own = plant[:, :OBSERVED], plant[:, OBSERVED:]
    conditions = torch.tensor(test.conditions(), dtype=torch.float32)[:: OBSERVED + MEMBERS].repeat_interleave(MEMBERS, dim=0)
    latents = draw_latents(len(conditions), conditions.shape[1], *sizes, random)
    with torch.no_grad():
        rolled = generator.roll(conditions, latents)[..., 0].reshape(STARTS, MEMBERS, -1)

    def crps(members: Tensor) -> float:
        short = members[:, :, 1:9].transpose(0, 1)
        return float(torch.stack([fair_crps(short, observed[:, k, 1:9]).mean() for k in range(OBSERVED)]).mean())

    figures = {"crps_ratio": crps(rolled) / crps(own)}
    for lead in LEADS:
        spread = rolled[:, :, lead].var(dim=1).mean() * (1 + 1 / MEMBERS)
        error = (rolled[:, :, lead].mean(dim=1, keepdim=True) - observed[:, :, lead]).square().mean()
        figures[f"spread_skill_{lead}"] = float((spread / error).sqrt())
    figures["c2st"] = c2st(rolled[:, :, 1:9].reshape(-1, 8), own[:, :, 1:9].reshape(-1, 8), seed)
    return figures | long_rollout(generator, sizes, random, seed)


def long_rollout(generator: RollingGenerator, sizes: tuple[int, int], random: torch.Generator, seed: int) -> dict[str, float]:
    """Hops and members that left, without a force; each chunk begins where the last one ended."""
    own = double_well.simulate(np.ones(256), np.zeros((256, 2000)), np.random.default_rng(seed))
    position = torch.ones(LONG_MEMBERS)
    gone, paths = torch.zeros(LONG_MEMBERS, dtype=torch.bool), []
    with torch.no_grad():
        for _ in range(LONG_STEPS // CHUNK):
            conditions = torch.stack([torch.zeros(LONG_MEMBERS), position.clamp(-1.8, 1.8)], dim=1)
            conditions = conditions[:, None].expand(-1, CHUNK, -1)
            rolled = generator.roll(conditions, draw_latents(LONG_MEMBERS, CHUNK, *sizes, random))[..., 0]
            gone |= ~(rolled.abs() < 4.0).all(dim=1)
            paths.append(rolled[:, 1:].numpy())
            position = rolled[:, -1]
    whole = np.concatenate(paths, axis=1)
    return {"diverged": float(gone.sum()), "hop_ratio": double_well.hops_per_step(whole) / double_well.hops_per_step(own)}


def c2st(first: Tensor, second: Tensor, seed: int) -> float:
    """AUC on held-out paths of a perceptron that was trained on the other half (Lopez-Paz and Oquab, ICLR 2017)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(8, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1), nn.Flatten(0))
        data = torch.cat([first, second])
        label = torch.cat([torch.ones(len(first)), torch.zeros(len(second))])
        order = torch.randperm(len(data))
        train, held = order[: len(order) // 2], order[len(order) // 2 :]
        optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
        for _ in range(400):
            some = train[torch.randint(len(train), (512,))]
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(data[some]), label[some]).backward()
            optimiser.step()
        with torch.no_grad():
            score = network(data[held])
    ranks = score.argsort().argsort().double() + 1.0
    positive = label[held] == 1.0
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(held) - count)))


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description="Every recipe on the double well.")
    parser.add_argument("--recipes", default="energy,crps,repulsion,r3gan,wgan-gp,hinge-sn,vae,mmd,mse")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=20.0, help="CPU seconds of each training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training, validation = double_well.make_runs(3000, 1, 16, 1), double_well.make_runs(32, 32, 16, 2)
    known = variants()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.recipes.split(";" if ";" in arguments.recipes else ","):
        figures: list[dict[str, float]] = []
        for seed in range(arguments.seeds):
            config = dataclasses.replace(known[name], seed=seed, budget_cpu_s=arguments.budget, updates=10**9)
            trainer, start = Trainer(training, validation, config), time.time()
            while not trainer.finished:
                trainer.update()
            result = trainer.result()
            sizes = (config.generator.run_latent_dim, config.generator.step_latent_dim)
            figures.append(measure(result.generator, sizes, seed) | {"updates": result.updates, "wall_s": time.time() - start})
        results[f"{name} @ {arguments.budget:g} s"] = figures
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(row(f"{name} @ {arguments.budget:g} s", figures), flush=True)


def row(name: str, figures: list[dict[str, float]]) -> str:
    """A row of the table: mean and range over the seeds."""

    def cell(key: str, digits: int) -> str:
        values = [figure[key] for figure in figures]
        return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    leads = ", ".join(f"{np.mean([figure[f'spread_skill_{lead}'] for figure in figures]):.2f}" for lead in LEADS)
    gone = f"{sum(figure['diverged'] for figure in figures):.0f} of {LONG_MEMBERS * len(figures)}"
    return f"| {name} | {cell('crps_ratio', 3)} | {leads} | {gone} | {cell('hop_ratio', 2)} | {cell('c2st', 2)} |"


if __name__ == "__main__":
    main()
