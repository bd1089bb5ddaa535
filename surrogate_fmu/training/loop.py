"""The training loop: windows, objective, averaged weights, validation, checkpoints."""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.dataset.scaling import measure_scaling
from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.schema import encode
from surrogate_fmu.training.balances import fit_balances
from surrogate_fmu.training.checkpoint import read_checkpoint, write_checkpoint
from surrogate_fmu.training.config import Structure, TrainingConfig
from surrogate_fmu.training.execution import Execution
from surrogate_fmu.training.generators import Generator, make_generator
from surrogate_fmu.training.generators.graph import GraphGenerator
from surrogate_fmu.training.generators.ring import RingGenerator
from surrogate_fmu.training.generators.roles import find_roles
from surrogate_fmu.training.graph_step import fit_step
from surrogate_fmu.training.importance import check_weights
from surrogate_fmu.training.linear import fit_linear_part
from surrogate_fmu.training.objectives import make_objective
from surrogate_fmu.training.objectives.protocol import Batch
from surrogate_fmu.training.objectives.terms.term import TermSum
from surrogate_fmu.training.optimisers import make_optimiser, stands
from surrogate_fmu.training.processes import Processes
from surrogate_fmu.training.rollout import WindowRoller, stream
from surrogate_fmu.training.teacher import fit_transport, teach
from surrogate_fmu.training.trust_region import TrustRegion
from surrogate_fmu.training.validation import Validation, ValidationScore

_WARM_UP_UPDATES = 50  # learning rate rises over the first updates
_CURRICULUM = 0.5  # windows reach full length at this share of the training


@dataclass(frozen=True)
class Progress:
    """Where training stands, for a display, the logs and the watch.

    Attributes:
        update: how many were made.
        share: of the training done, 0 to 1.
        loss: of the last update.
        learning_rate: of the generator.
        cpu_s: CPU seconds spent.
        validation: the score of the averaged weights, where it was taken.
        best: so far.
        signals: what the loss was made of, and the norm of its gradient before clipping.
    """

    update: int
    share: float
    loss: float
    learning_rate: float
    cpu_s: float
    validation: ValidationScore | None
    best: ValidationScore | None
    signals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingResult:
    """The generator with the best averaged weights, and how it came about."""

    generator: Generator
    best: ValidationScore
    best_update: int
    updates: int
    cpu_s: float
    ended_by: str


def train(
    training: Trajectories,
    validation: Trajectories,
    config: TrainingConfig,
    checkpoint: Path | None = None,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    objective: TermSum | None = None,
    weights: Array | None = None,
    folder: Path = Path(),
) -> TrainingResult:
    """Train a generator.

    Training is `config.updates` long, or until the CPU budget is used up, whichever comes first; learning rate and window
    length follow the larger of the two shares, so either way the training is complete. Where the budget does not bind, equal
    seeds give equal weights.

    Args:
        training: runs to learn from.
        validation: several individuals per schedule; their score picks the weights.
        checkpoint: where to keep the state; written at every validation and when interrupted.
        resume: go on from the checkpoint.
        report: called after every update.
        objective: a sum of terms, in place of what the configuration names; a checkpoint does not know it.
        weights: (run,), importance weights of the training runs, for an objective of terms.
        folder: where files that the configuration names are.

    Raises:
        TrainingError: the loss is not finite, the data do not fit the settings, or the checkpoint cannot be used.
        KeyboardInterrupt: passed on after the checkpoint is written.
    """
    torch.set_num_threads(config.threads)
    trainer = Trainer(training, validation, config, objective, weights, folder)
    if resume:
        if checkpoint is None:
            raise TrainingError("resume needs a checkpoint path")
        trainer.load(read_checkpoint(checkpoint, trainer.fingerprint))
    # An interruption may come in the middle of an update; what is kept is the state between two.
    whole = copy.deepcopy(trainer.state()) if checkpoint else {}
    try:
        while not trainer.finished:
            progress = trainer.update()
            if checkpoint:
                whole = copy.deepcopy(trainer.state())
                if progress.validation:
                    write_checkpoint(checkpoint, whole)
            report(progress)
    except KeyboardInterrupt:
        if checkpoint:
            write_checkpoint(checkpoint, whole)
        raise
    return trainer.result()


class Trainer:
    """A training, one update at a time; arguments and errors as those of `train`.

    Attributes:
        generator: as it is now.
        fingerprint: of data and settings.
        cpu_s: CPU seconds spent in updates and in what was learned before the first of them.
    """

    def __init__(
        self,
        training: Trajectories,
        validation: Trajectories,
        config: TrainingConfig,
        objective: TermSum | None = None,
        weights: Array | None = None,
        folder: Path = Path(),
    ) -> None:
        if config.window_steps[1] > training.step_count:
            raise TrainingError(
                f"window_steps reaches {config.window_steps[1]}, the runs have {training.step_count} steps; shorten the window"
            )
        self._processes = Processes()
        self._processes.check(config)
        self._execution = Execution(config, self._processes.count)
        self._config = config
        with self._execution.placed():
            self._prepare(training, validation, objective, weights, folder)

    def _prepare(
        self,
        training: Trajectories,
        validation: Trajectories,
        objective: TermSum | None,
        weights: Array | None,
        folder: Path,
    ) -> None:
        config = self._config
        sizes = config.generator
        scaling = measure_scaling(training, validation)
        content = [training.checksum(), validation.checksum(), encode(config)]
        self.fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        stepping = find_roles(training.variables, sizes).stepping
        with _torch_seed(config.seed):
            self.generator = make_generator(
                training.variables,
                sizes,
                scaling,
                (1.0, training.step_count),
                fit_balances(sizes.balances, training),
                fit_linear_part(training, scaling, stepping) if sizes.linear and sizes.structure is Structure.RECURRENT else None,
            )
            start = time.process_time()
            if isinstance(self.generator, GraphGenerator):
                fit_step(self.generator, training, sizes.graph, sizes.linear)
            if isinstance(self.generator, RingGenerator):
                fit_transport(self.generator, training)
                teaching = stream(config.seed + 4)
                teach(self.generator, training, sizes.ring.teacher_updates, teaching, 0.5 * config.budget_cpu_s)
            self._taught_s = self.cpu_s = time.process_time() - start
            self._objective = make_objective(
                config, self.generator, scaling, training, objective, check_weights(weights, len(training)), folder
            )
        self._trained = [*self.generator.parameters(), *self._objective.parameters()]
        self._average = copy.deepcopy(self.generator)
        self._best_weights = copy.deepcopy(self.generator.state_dict())
        self._optimiser = make_optimiser(config.optimiser, self._trained, config.learning_rate, (0.9, 0.99))
        self._random = stream(config.seed)
        self._latents = self._random  # of one stream with the order of the runs, which all processes share
        if self._processes.count > 1:
            self._latents = stream(config.seed + 1_000_003 * (1 + self._processes.rank))
        self._conditions = torch.tensor(training.conditions(), dtype=torch.float32)
        self._outputs = torch.tensor(training.outputs, dtype=torch.float32)
        self._validation = Validation(
            validation, sizes.run_latent_dim, sizes.step_latent_dim, config.validation_members, seed=config.seed + 1
        )
        self._trust_region = TrustRegion(config.trust_region, torch.tensor(scaling.conditional_std, dtype=torch.float32))
        self._order = torch.zeros(0, dtype=torch.int64)
        self._update = 0
        self._best: ValidationScore | None = None
        self._best_update = 0

    @property
    def share(self) -> float:
        """How much of the training is done, 0 to 1."""
        # What was taught before the first update is spent, and no part of the updates' schedule.
        spent = (self.cpu_s - self._taught_s) / max(1e-9, self._config.budget_cpu_s - self._taught_s)
        return min(1.0, max(self._update / self._config.updates, spent))

    @property
    def finished(self) -> bool:
        """Whether it is complete."""
        return self.share >= 1.0 and self._best is not None

    def update(self) -> Progress:
        """Make one update, and validate when that is due."""
        with self._execution.placed():
            return self._make_update()

    def _make_update(self) -> Progress:
        start = time.process_time()
        config, share = self._config, self.share
        shortest, longest = config.window_steps
        steps = round(shortest + (longest - shortest) * min(1.0, share / _CURRICULUM))
        rate = self._objective.learning_rate(share) * max(1e-3, 0.5 * (1.0 + math.cos(math.pi * share)))
        rate *= min(1.0, (self._update + 1) / _WARM_UP_UPDATES)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        runs = self._processes.share_of(self._next_runs())
        conditions, observed = self._conditions[runs, :steps], self._outputs[runs, : steps + 1]

        sizes = config.generator
        roller = WindowRoller(self.generator, conditions, observed, sizes.run_latent_dim, sizes.step_latent_dim, self._latents)
        with self._execution.playing(self.generator):
            loss = self._objective.loss(roller, Batch(runs, conditions, observed), share)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at update {self._update}; lower learning_rate or gradient_clip, and look for "
                "outliers in the dataset"
            )
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.average_gradients(self._trained)
        gradient = torch.nn.utils.clip_grad_norm_(self._trained, config.gradient_clip)
        with self._trust_region.around(roller, self._trained):
            self._optimiser.step()
        if stands(self._optimiser):
            self._average_weights()
        self._objective.after_update((self.generator, self._average))
        self._update += 1
        self.cpu_s = self._processes.largest(self.cpu_s + time.process_time() - start)
        start = time.process_time()
        score = self._validate_when_due(share)
        self.cpu_s = self._processes.largest(self.cpu_s + time.process_time() - start)
        signals = {"gradient": float(gradient), "step_kept": self._trust_region.kept} | self._objective.signals()
        return Progress(self._update, self.share, loss.item(), rate, self.cpu_s, score, self._best, signals)

    def _next_runs(self) -> Tensor:
        """The next batch of a shuffled order, so that runs are visited equally often."""
        size = min(self._config.batch_size, len(self._conditions))
        if len(self._order) < size:
            self._order = torch.randperm(len(self._conditions), generator=self._random)
        runs, self._order = self._order[:size], self._order[size:]
        return runs

    def _average_weights(self) -> None:
        # The average forgets the first, wild updates fast.
        decay = min(self._config.ema_decay, (1 + self._update) / (10 + self._update))
        with torch.no_grad():
            for averaged, present in zip(self._average.parameters(), self.generator.parameters(), strict=True):
                averaged.lerp_(present, 1.0 - decay)

    def _validate_when_due(self, share_before: float) -> ValidationScore | None:
        count = self._config.validations
        if int(self.share * count) == int(share_before * count) and self._update > 1:
            return None
        score = self._validation.score(self._average)
        if self._best is None or score.score < self._best.score:
            self._best, self._best_update = score, self._update
            self._best_weights = copy.deepcopy(self._average.state_dict())
        return score

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        return {
            "fingerprint": self.fingerprint,
            "generator": self.generator.state_dict(),
            "average": self._average.state_dict(),
            "best_weights": self._best_weights,
            "best": None if self._best is None else encode(self._best),
            "best_update": self._best_update,
            "optimiser": self._optimiser.state_dict(),
            "objective": self._objective.state(),
            "random": self._random.get_state(),
            "order": self._order,
            "update": self._update,
            "cpu_s": self.cpu_s,
            "taught_s": self._taught_s,
        }

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.generator.load_state_dict(state["generator"])
        self._average.load_state_dict(state["average"])
        self._best_weights = state["best_weights"]
        best = state["best"]
        self._best = None if best is None else ValidationScore(tuple(best["crps_ratio"]), tuple(best["spread_ratio"]))
        self._best_update = state["best_update"]
        self._optimiser.load_state_dict(state["optimiser"])
        self._objective.load(state["objective"])
        self._random.set_state(state["random"])
        self._order = state["order"]
        self._update = state["update"]
        self.cpu_s, self._taught_s = state["cpu_s"], state["taught_s"]

    def result(self) -> TrainingResult:
        """The generator with the best averaged weights."""
        assert self._best is not None
        generator = copy.deepcopy(self.generator)
        generator.load_state_dict(self._best_weights)
        generator.cpu()
        ended_by = "updates" if self._update >= self._config.updates else "CPU budget"
        return TrainingResult(generator.eval(), self._best, self._best_update, self._update, self.cpu_s, ended_by)


@contextmanager
def _torch_seed(seed: int) -> Iterator[None]:
    """Initialise weights from a seed and leave torch's global stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
