"""Graph and recurrent generators on rooms of a floor: equal runs, equal CPU seconds, training sets of several sizes.

python benchmarks/training/graph.py [--sizes 16,64,256] [--seeds 3] [--budget 30]     prints the table, adds to graph.json

CPU seconds of one thread. CRPS is over that of the plant's own on fresh schedules, 1 is the plant itself, the mean over rooms and
36 steps; spread likewise. Both generators begin with the linear step that least squares finds. At the end the rooms of a trained
graph generator and the doors between them are permuted, and its outputs are compared with the permuted ones.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import rooms
import torch
from rooms import COUNT, EDGES, NODES

from surrogate_fmu.dataset.scaling import measure_scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.config import GeneratorConfig, Structure, TrainingConfig
from surrogate_fmu.training.generators.graph import GraphGenerator
from surrogate_fmu.training.graph_config import GraphConfig
from surrogate_fmu.training.graph_step import fit_step
from surrogate_fmu.training.loop import Trainer, TrainingResult
from surrogate_fmu.training.rollout import draw_latents
from surrogate_fmu.training.validation import Validation

RESULTS = Path(__file__).resolve().parent / "graph.json"
STEPS = 36
STARTS = tuple(node["start"] for node in NODES)
RECURRENT = TrainingConfig(
    updates=10**9,
    window_steps=(6, 24),
    validations=8,
    generator=GeneratorConfig(COUNT, COUNT, initial_parameters=STARTS, linear=True),
)


def graph_config(rounds: int) -> TrainingConfig:
    """With so many rounds of messages."""
    graph = GraphConfig(NODES, EDGES, starts={"temperature": "start"}, rounds=rounds)
    sizes = GeneratorConfig(COUNT, COUNT, 8, 24, structure=Structure.GRAPH, graph=graph, linear=True)
    return dataclasses.replace(RECURRENT, generator=sizes, batch_size=32, learning_rate=5e-3)


CONFIGS = {"graph, 1 round": graph_config(1), "graph, 2 rounds": graph_config(2), "recurrent": RECURRENT}


def train(runs: Trajectories, validation: Trajectories, config: TrainingConfig) -> TrainingResult:
    """A training to the end of its budget."""
    trainer = Trainer(runs, validation, config)
    while not trainer.finished:
        trainer.update()
    return trainer.result()


def permutation_error(generator: GraphGenerator, runs: Trajectories, config: TrainingConfig, seed: int) -> float:
    """Largest difference [K] between outputs of permuted rooms and permuted outputs."""
    order = np.random.default_rng(seed).permutation(COUNT)  # room k of the other floor is room order[k] of this one
    place = np.argsort(order)
    edges = tuple((int(place[a - 1]) + 1, int(place[b - 1]) + 1) for a, b in EDGES)
    heaters = np.append(order, COUNT)  # the last input is that of all
    other = dataclasses.replace(
        runs, inputs=runs.inputs[..., heaters], parameters=runs.parameters[:, order], outputs=runs.outputs[..., order]
    )
    network = dataclasses.replace(config.generator.graph, edges=edges)
    sizes = dataclasses.replace(config.generator, graph=network)
    permuted = GraphGenerator(other.variables, sizes, measure_scaling(other, other), (1.0, STEPS), {})
    fit_step(permuted, other, network, linear=True)
    permuted.load_state_dict({**permuted.state_dict(), **dict(generator.named_parameters())})
    latents = draw_latents(len(runs), STEPS, COUNT, COUNT, torch.Generator().manual_seed(seed))
    both = np.concatenate([order, COUNT + order])
    with torch.no_grad():
        expected = generator.roll(torch.tensor(runs.conditions(), dtype=torch.float32), latents)[..., order]
        found = permuted.roll(torch.tensor(other.conditions(), dtype=torch.float32), latents[..., both])
    return float((found - expected).abs().max())


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description="Graph and recurrent generators on rooms of a floor.")
    parser.add_argument("--sizes", default="16,64,256", help="training runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=30.0, help="CPU seconds of each training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    validation, test = rooms.make_runs(16, 16, STEPS, 2), rooms.make_runs(24, 32, STEPS, 3)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    print("| generator | runs | CRPS | spread | updates |\n|---|---|---|---|---|")
    for size in map(int, arguments.sizes.split(",")):
        for name, config in CONFIGS.items():
            figures: list[dict[str, float]] = []
            for seed in range(arguments.seeds):
                runs = rooms.make_runs(size, 1, STEPS, 100 + seed)
                config = dataclasses.replace(config, seed=seed, budget_cpu_s=arguments.budget)
                result = train(runs, validation, config)
                score = Validation(test, COUNT, COUNT, 32, seed).score(result.generator)
                found = {"crps_ratio": float(np.mean(score.crps_ratio)), "spread_ratio": float(np.mean(score.spread_ratio))}
                found |= {"updates": result.updates, "best_update": result.best_update}
                if isinstance(result.generator, GraphGenerator):
                    found["permutation_error_K"] = permutation_error(result.generator, runs, config, seed)
                figures.append(found)
            results[f"{name}, {size} runs @ {arguments.budget:g} s"] = figures
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(row(name, size, figures), flush=True)
    errors = [figures["permutation_error_K"] for some in results.values() for figures in some if "permutation_error_K" in figures]
    print(f"rooms permuted: outputs differ from the permuted ones by {max(errors):.1e} K at most")


def row(name: str, size: int, figures: list[dict[str, float]]) -> str:
    """A row of the table: mean and range over the seeds."""

    def cell(key: str) -> str:
        values = [found[key] for found in figures]
        return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    return f"| {name} | {size} | {cell('crps_ratio')} | {cell('spread_ratio')} | {np.mean([f['updates'] for f in figures]):.0f} |"


if __name__ == "__main__":
    main()
