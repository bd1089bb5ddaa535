"""The two-scale Lorenz '96 system: surrogates against the system itself and against published parametrisations, at equal data.

python benchmarks/training/lorenz96.py [--seed 0] [--models "ring 20 s;polynomial and AR(1)"]    prints the table, adds to
lorenz96.json
python benchmarks/training/lorenz96.py --table    prints the means of all seeds in it

A surrogate learns the whole step of 0.05 MTU from X alone; a parametrisation knows the equations of X, sees the same runs at every
0.005 MTU and models the unresolved U. Forecasts begin with X on the attractor. What they are scored by begins with the fast ring of
the plant, which lived under that X held, and, in the columns "settled", with the one that went with X on the attractor. CRPS is
given over that of the system itself with the plant's fast ring drawn again. Intervals are 95 %, over the starts of forecasts and
over the runs of a climate.
"""

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import lorenz96_parametrisations as published
import lorenz96_scores as scores
import lorenz96_truth as truth
import numpy as np
import torch
from lorenz96_scores import Estimate, bootstrap
from numpy.typing import NDArray
from torch import Tensor

from surrogate_fmu.config import load_config
from surrogate_fmu.training.config import GeneratorConfig, TrainingConfig
from surrogate_fmu.training.generators.ring import RingGenerator
from surrogate_fmu.training.loop import Trainer
from surrogate_fmu.training.recipes import RECIPES
from surrogate_fmu.training.rollout import RollingGenerator, draw_latents

Array = NDArray[np.floating]
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "lorenz96.json"
RUNS, STEPS = 4000, 20
STARTS, OBSERVED, MEMBERS, HORIZON = 150, 4, 40, 100  # of forecasts, in steps of 0.05 MTU
LONG_RUNS, LONG_STEPS = 32, 10_000
SHORT = slice(1, 9)
MTU = round(1.0 / truth.STEP)
LEADS = (1, 10, 100)
LAGS = tuple(range(0, 3 * MTU + 1, 2))


class Model(Protocol):
    """Something that runs from given X (run, K) under F = 20; `cpu_s` is what its training took."""

    cpu_s: float

    def run(self, slow: Array, steps: int, random: np.random.Generator) -> Array:
        """(run, step + 1, K)."""
        ...


class Perfect:
    """The system itself, with another fast ring."""

    cpu_s = 0.0

    def run(self, slow: Array, steps: int, random: np.random.Generator) -> Array:
        return truth.forecast(slow, 1, steps, int(random.integers(2**31)))[:, 0]


class Parametrisation:
    """The resolved equations with a model of U."""

    def __init__(self, closure: published.Polynomial | published.Gan) -> None:
        self._closure = closure
        self.cpu_s = closure.cpu_s

    def run(self, slow: Array, steps: int, random: np.random.Generator) -> Array:
        return published.run(self._closure, slow, steps, random)


class Surrogate:
    """A trained generator."""

    def __init__(self, generator: RollingGenerator, latents: tuple[int, int], cpu_s: float) -> None:
        self._generator, self._latents, self.cpu_s = generator, latents, cpu_s

    def run(self, slow: Array, steps: int, random: np.random.Generator) -> Array:
        draws = torch.Generator().manual_seed(int(random.integers(2**62)))
        condition = torch.tensor(np.column_stack([np.full(len(slow), truth.plant.FORCING), slow]), dtype=torch.float32)
        with torch.no_grad():
            latents = draw_latents(len(slow), steps, *self._latents, draws)
            return self._generator.roll(condition[:, None].expand(-1, steps, -1), latents).numpy()


@dataclasses.dataclass(frozen=True)
class Truth:
    """What models are measured by."""

    starts: Array
    observed: Array
    settled: Array
    own_crps: Array
    own_settled: Array
    climate: Array
    mean: float
    var: float
    regimes: scores.Regimes

    @classmethod
    def make(cls, seed: int) -> "Truth":
        random = np.random.default_rng((seed, 1))
        starts, fast = truth.attractor(STARTS, random)
        observed = truth.forecast(starts, OBSERVED, HORIZON, 2000 + seed)
        own = truth.forecast(starts, MEMBERS, HORIZON, 3000 + seed)
        settled = truth.continued(starts, fast, HORIZON)[:, None]
        climate = truth.climate(LONG_RUNS, LONG_STEPS, 4000 + seed)
        mean, var = float(climate.mean()), float(climate.var())
        own_crps, own_settled = scores.crps(own, observed), scores.crps(own, settled)
        return cls(starts, observed, settled, own_crps, own_settled, climate, mean, var, scores.Regimes(climate))


def measure(model: Model, known: Truth, seed: int) -> dict[str, Any]:
    """All figures of one model."""
    random = np.random.default_rng((seed, 2))
    rolled = model.run(known.starts.repeat(MEMBERS, axis=0), HORIZON, random)
    members = rolled.reshape(STARTS, MEMBERS, HORIZON + 1, truth.K)
    long = model.run(known.climate[:, 0], LONG_STEPS, random)
    gone = scores.left(long, float(known.climate.min()), float(known.climate.max()))
    return forecast_figures(members, known, seed) | climate_figures(long, known, seed) | {"gone": gone, "cpu_s": model.cpu_s}


def forecast_figures(members: Array, known: Truth, seed: int) -> dict[str, Estimate]:
    """Of members (start, member, point, K)."""
    found, own = scores.crps(members, known.observed), known.own_crps
    error, spread = scores.squared_error(members, known.observed), scores.variance(members)
    figures = {"crps short": bootstrap(lambda a, b: a[:, SHORT].mean() / b[:, SHORT].mean(), (found, own), seed)}
    for lead in (MTU, 2 * MTU, 3 * MTU):
        name = f"{lead // MTU} MTU"
        figures[f"crps {name}"] = bootstrap(lambda a, b: a.mean() / b.mean(), (found[:, lead], own[:, lead]), seed)
        figures[f"rmse {name}"] = bootstrap(lambda a: np.sqrt(a.mean()), (error[:, lead],), seed)
        figures[f"spread/error {name}"] = bootstrap(spread_over_error, (spread[:, lead], error[:, lead]), seed)
    for lead in LEADS:
        figures[f"spread/error {lead}"] = bootstrap(spread_over_error, (spread[:, lead], error[:, lead]), seed)
    found, own = scores.crps(members, known.settled), known.own_settled
    figures["settled short"] = bootstrap(lambda a, b: a[:, SHORT].mean() / b[:, SHORT].mean(), (found, own), seed)
    figures["settled 1 MTU"] = bootstrap(lambda a, b: a.mean() / b.mean(), (found[:, MTU], own[:, MTU]), seed)
    logarithm = scores.logarithmic_score(members, known.observed)
    for lead in (10, MTU):
        figures[f"log score {lead}"] = bootstrap(lambda a: a.mean(), (logarithm[:, lead],), seed)
    return figures


def climate_figures(long: Array, known: Truth, seed: int) -> dict[str, Estimate]:
    """Of long runs (run, point, K); runs that left count with what was finite."""
    finite = np.nan_to_num(long, nan=100.0, posinf=100.0, neginf=-100.0).clip(-100.0, 100.0)
    marginal = (scores.marginal_counts(finite), scores.marginal_counts(known.climate))
    regimes = (known.regimes.counts(finite), known.regimes.counts(known.climate))
    ours, own = (scores.correlations(paths, LAGS, known.mean, known.var) for paths in (finite, known.climate))
    return {
        "hellinger": bootstrap(scores.hellinger, marginal, seed),
        "hellinger regimes": bootstrap(scores.hellinger, regimes, seed),
        "time correlation": bootstrap(scores.correlation_error, (ours[:, 0], own[:, 0]), seed),
        "space correlation": bootstrap(scores.correlation_error, (ours[:, 1:], own[:, 1:]), seed),
    }


def spread_over_error(spread: Array, error: Array) -> float:
    return float(np.sqrt(spread.mean() / error.mean()))


def models(runs: truth.Runs, validation: truth.Runs, seed: int, gan_s: float) -> dict[str, Callable[[], Model]]:
    """All there are, by name; each is trained when it is called."""
    shipped = load_config(truth.MODEL / "surrogate.toml").training
    config = dataclasses.replace(shipped, seed=seed, updates=10**9, learning_rate=1e-3)
    training, repeated = runs.trajectories(), validation.trajectories()

    def surrogate(given: TrainingConfig, budget: float) -> Surrogate:
        trainer = Trainer(training, repeated, dataclasses.replace(given, budget_cpu_s=budget))
        while not trainer.finished:
            trainer.update()
        sizes = given.generator
        return Surrogate(trainer.result().generator, (sizes.run_latent_dim, sizes.step_latent_dim), trainer.cpu_s)

    def ring(budget: float, teacher: int, recipe: str = "energy", **changes: Any) -> Surrogate:
        shape = dataclasses.replace(config.generator.ring, teacher_updates=teacher)
        sizes = dataclasses.replace(config.generator, ring=shape, **({"width": 32, "memory_dim": 6} | changes))
        return surrogate(RECIPES[recipe].configure(dataclasses.replace(config, generator=sizes)), budget)

    def forgetful(budget: float, teacher: int, last: bool) -> Surrogate:
        with without_memory(last):
            found = ring(budget, teacher)
        run = found.run

        def patched(slow: Array, steps: int, random: np.random.Generator) -> Array:
            with without_memory(last):
                return run(slow, steps, random)

        found.run = patched  # type: ignore[method-assign]
        return found

    recurrent = GeneratorConfig(
        run_latent_dim=0,
        step_latent_dim=8,
        memory_dim=32,
        width=96,
        initial_parameters=config.generator.ring.starts,
    )
    general = dataclasses.replace(config, generator=recurrent, window_steps=(2, 16), learning_rate=3e-3)
    return {
        "the system itself": Perfect,
        "ring, 20 s": lambda: ring(20.0, 600),
        "ring, 120 s": lambda: ring(120.0, 3000),
        "ring, memory 1": lambda: ring(20.0, 600, memory_dim=1),
        "ring, last closure alone": lambda: forgetful(20.0, 600, last=True),
        "ring, no memory": lambda: forgetful(20.0, 600, last=False),
        "general recurrent, 20 s": lambda: surrogate(general, 20.0),
        "general recurrent, 120 s": lambda: surrogate(general, 120.0),
        "polynomial": lambda: Parametrisation(published.Polynomial(runs, noise=False)),
        "polynomial and AR(1)": lambda: Parametrisation(published.Polynomial(runs)),
        "GAN": lambda: Parametrisation(published.Gan(runs, seed, budget_s=gan_s)),
        "ring, r3gan after energy, 120 s": lambda: ring(120.0, 3000, "r3gan"),
    }


@contextlib.contextmanager
def without_memory(last: bool) -> Iterator[None]:
    """Ring generators remember nothing, or the last closure alone."""
    state = RingGenerator.state

    def forgotten(self: RingGenerator, y: Tensor, ahead: Tensor, closure: Tensor, scaled: Tensor) -> Tensor:
        return state(self, y, ahead, closure if last else torch.zeros_like(closure), scaled)

    def kept(self: RingGenerator, seen: Tensor, memory: Tensor, rate: Tensor) -> Tensor:
        return torch.zeros_like(memory)

    with mock.patch.object(RingGenerator, "state", forgotten), mock.patch.object(RingGenerator, "remember", kept):
        yield


COLUMNS = {
    "CRPS of 8 steps": ("crps short",),
    "CRPS at 1 MTU": ("crps 1 MTU",),
    "at 3 MTU": ("crps 3 MTU",),
    "settled, 8 steps": ("settled short",),
    "1 MTU": ("settled 1 MTU",),
    "RMSE at 1 MTU": ("rmse 1 MTU",),
    "at 3 MTU ": ("rmse 3 MTU",),
    "spread/error at 1, 10, 100 steps": tuple(f"spread/error {lead}" for lead in LEADS),
    "Hellinger of X": ("hellinger",),
    "of regimes": ("hellinger regimes",),
    "correlation in time": ("time correlation",),
    "in space": ("space correlation",),
}


SUMMARY = {
    "CRPS of 8 steps": ("crps short",),
    "at 1 MTU": ("crps 1 MTU",),
    "at 1 MTU, settled": ("settled 1 MTU",),
    "RMSE at 1, 3 MTU": ("rmse 1 MTU", "rmse 3 MTU"),
    "spread/error at 1, 10, 100 steps": tuple(f"spread/error {lead}" for lead in LEADS),
    "Hellinger of X": ("hellinger",),
    "of regimes": ("hellinger regimes",),
    "correlation error in time, space": ("time correlation", "space correlation"),
}


def summary(results: dict[str, dict[str, Any]]) -> str:
    """A table of all seeds: means, and where a column has one figure the least and the largest of the seeds."""
    lines = [f"| model | seeds | {' | '.join(SUMMARY)} |", "|" + "---|" * (len(SUMMARY) + 2)]
    for name in dict.fromkeys(name for models in results.values() for name in models):
        seeds = [models[name] for models in results.values() if name in models]
        cells = [
            ", ".join(_over_seeds([seed[key][0] for seed in seeds], len(keys) > 1) for key in keys) for keys in SUMMARY.values()
        ]
        lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _over_seeds(values: Sequence[float], brief: bool) -> str:
    mean = sum(values) / len(values)
    digits = 2 if (brief and mean >= 0.1) or mean >= 0.5 else 3
    range_ = "" if brief or len(values) == 1 else f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return f"{mean:.{digits}f}{range_}"


def row(name: str, figures: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [", ".join(str(figures[key]) for key in keys) for keys in COLUMNS.values()]
    return f"| {name} | {figures['cpu_s']:.0f} | {' | '.join(cells)} | {figures['gone']} of {LONG_RUNS} |"


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description="Surrogates and parametrisations of the two-scale Lorenz '96 system.")
    parser.add_argument("--seed", type=int, default=0, help="of trainings, forecasts and climates")
    parser.add_argument("--models", default="", help="some, by name, with semicolons between; all by default")
    parser.add_argument("--gan-budget", type=float, default=300.0, help="CPU seconds of the GAN's training, at most 30 epochs")
    parser.add_argument("--table", action="store_true", help="train nothing, print what lorenz96.json has over all seeds")
    arguments = parser.parse_args()
    if arguments.table:
        print(summary(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    begin = time.time()
    runs, validation = truth.record(RUNS, 1, STEPS, 1), truth.record(32, 16, STEPS, 2)
    known = Truth.make(arguments.seed)
    print(f"simulated in {time.time() - begin:.0f} s\n\n| model | CPU s | {' | '.join(COLUMNS)} | left |")
    print("|" + "---|" * (len(COLUMNS) + 3), flush=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    made = models(runs, validation, arguments.seed, arguments.gan_budget)
    for name in arguments.models.split(";") if arguments.models else made:
        figures = measure(made[name](), known, arguments.seed)
        plain = {key: dataclasses.astuple(value) if isinstance(value, Estimate) else value for key, value in figures.items()}
        results.setdefault(f"seed {arguments.seed}", {})[name] = plain
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(row(name, figures), flush=True)


if __name__ == "__main__":
    main()
