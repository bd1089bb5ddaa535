"""The figures of docs/training.md: python docs/figures/training.py trains four recipes for 20 CPU seconds each, then draws."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import NullFormatter

from surrogate_fmu.training.loop import Trainer
from surrogate_fmu.training.rollout import draw_latents

HERE = Path(__file__).resolve().parent
BENCHMARKS = HERE.parents[1] / "benchmarks" / "training"
IMAGES = HERE.parent / "images"
SHOWN = {"mixture": "mixture of 5 Gaussians", "energy": "energy score", "vae": "VAE", "mse": "squared error of the mean"}
STEPS, BUDGET_S = 400, 20.0
_OFFSETS = {  # of labels that would lie on others
    "r3gan-alone, adam": (4, -8),
    "r3gan-alone, optimistic": (-20, 7),
    "r3gan-alone, extragradient": (4, 5),
    "hinge-sn": (4, 5),
    "wgan-gp, 1 critic steps": (4, -8),
    "wgan-gp, 5 critic steps": (-20, -9),
    "wgan-2, 3 critic steps": (-30, -9),
    "crps": (4, -8),
    "r3gan": (-18, 5),
}


def paths_of(recipe: str, runs: int) -> np.ndarray:
    """Positions (run, step + 1) of a generator that was trained by a recipe, without force from the left valley."""
    import double_well
    from run import variants

    config = dataclasses.replace(variants()[recipe], budget_cpu_s=BUDGET_S, updates=10**6)
    trainer = Trainer(double_well.make_runs(3000, 1, 16, 1), double_well.make_runs(32, 32, 16, 2), config)
    while not trainer.finished:
        trainer.update()
    conditions = torch.tensor([0.0, -1.0]).expand(runs, STEPS, -1)
    latents = draw_latents(
        runs, STEPS, config.generator.run_latent_dim, config.generator.step_latent_dim, torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        return np.asarray(trainer.result().generator.roll(conditions, latents)[..., 0])


def draw_double_well() -> None:
    """Paths, climates, and what the recipes reach."""
    import double_well

    runs = 400
    simulated = double_well.simulate(np.full(runs, -1.0), np.zeros((runs, STEPS)), np.random.default_rng(0))
    found = {"the simulator": simulated} | {label: paths_of(name, runs) for name, label in SHOWN.items()}
    figure, (paths, climates, reached) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    edges = np.linspace(-2.0, 2.0, 81)
    for place, (label, values) in enumerate(found.items()):
        colour = "black" if place == 0 else f"C{place - 1}"
        paths.plot(values[1] - 4 * place, color=colour, lw=0.8)
        paths.text(STEPS, -4 * place + 1.7, label, ha="right", va="center", color=colour, size=8)
        density = np.histogram(values[:, 100:], edges, density=True)[0]
        climates.plot(0.5 * (edges[1:] + edges[:-1]), density, color=colour, lw=2.5 if place == 0 else 1.2, label=label)
    paths.set(title="a run of 400 steps", xlabel="step", yticks=[])
    climates.set(title="where the particle is, without force", xlabel="position", ylabel="density", ylim=(0, 2.2))
    climates.legend(fontsize=8)
    results = json.loads((BENCHMARKS / "results.json").read_text())
    for label, seeds in results.items():
        crps = [seed["crps_ratio"] - 1.0 for seed in seeds]
        hops = [max(seed["hop_ratio"], 0.02) for seed in seeds]
        middle = (float(np.mean(crps)), float(np.mean(hops)))
        late = label.endswith("20 s")
        reached.plot([middle[0]] * 2, [min(hops), max(hops)], color="C0" if late else "C3", lw=1, alpha=0.6)
        reached.plot(*middle, "o" if late else "s", color="C0" if late else "C3", ms=5)
        name = label.rpartition(" @")[0]
        reached.annotate(name, middle, xytext=_OFFSETS.get(name, (4, 3)), textcoords="offset points", size=6)
    reached.axhline(1.0, color="black", lw=0.8)
    reached.set(
        title="20 s (circles) and 60 s (squares), range of 3 seeds", xlabel="CRPS over the simulator's, minus 1", xscale="log"
    )
    reached.set(ylabel="hops over the simulator's", ylim=(0, 2), xlim=(1e-3, 0.4))
    figure.savefig(IMAGES / "double_well.png", dpi=110)


def draw_lorenz96() -> None:
    """Forecasts and climates of surrogates and parametrisations: means of seeds and their range; of one seed its interval."""
    seeds: dict[str, dict[str, Any]] = json.loads((BENCHMARKS / "lorenz96.json").read_text())
    scores = {name: [models[name] for models in seeds.values() if name in models] for models in seeds.values() for name in models}
    names = sorted(scores, key=lambda name: -np.mean([seed["crps short"][0] for seed in scores[name]]))
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained", sharey=True)
    titles = {
        "crps short": "CRPS of 8 steps over the system's",
        "hellinger": "Hellinger distance of the climate of X",
        "time correlation": "error of the autocorrelation",
    }
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for place, name in enumerate(names):
            values = [seed[key][0] for seed in scores[name]]
            _, low, high = scores[name][0][key] if len(values) == 1 else (0.0, min(values), max(values))
            middle = np.mean(values)
            colour = "black" if name == "the system itself" else "C0" if name.startswith(("ring", "general")) else "C1"
            axis.plot([low, high], [place, place], color=colour, lw=2)
            axis.plot(middle, place, "o", color=colour)
        axis.set(title=title, xscale="log", yticks=range(len(names)), yticklabels=names)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    figure.savefig(IMAGES / "lorenz96.png", dpi=110)


if __name__ == "__main__":
    sys.path.insert(0, str(BENCHMARKS))
    torch.set_num_threads(1)
    draw_lorenz96()
    draw_double_well()
