"""One training in several processes: each takes its share of every batch, and gradients are averaged (data parallel).

Started by torchrun, one process per device or per few cores:

    torchrun --nproc-per-node 2 -m surrogate_fmu.cli.main train surrogate.toml
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import Objective, Structure, TrainingConfig
from surrogate_fmu.training.objectives.terms.registry import GAMES


class Processes:
    """The processes of a training; one, where there is no group.

    Attributes:
        rank: of this one, from 0.
        count: how many there are.
    """

    def __init__(self) -> None:
        together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if together else 0
        self.count = distributed.get_world_size() if together else 1

    def check(self, config: TrainingConfig) -> None:
        """Look whether a training can be shared.

        Raises:
            TrainingError: it has a critic, or individuals that are recognised run by run, which stay in one process; or its batch
                is smaller than the number of processes.
        """
        if self.count == 1:
            return
        games = [term.name for term in config.terms if term.name in GAMES]
        if config.objective is Objective.R3GAN or games:
            raise TrainingError(
                f"a game cannot be shared by {self.count} processes, its critic lives in one; train it without torchrun"
            )
        if config.generator.structure is Structure.WIENER:
            raise TrainingError(
                f"a Wiener generator cannot be trained by {self.count} processes: individuals are recognised run by run in one"
            )
        if config.batch_size < self.count:
            raise TrainingError(f"batch_size {config.batch_size} gives {self.count} processes nothing to share; raise it")

    def share_of(self, rows: Tensor) -> Tensor:
        """Every count-th row, from this process's on."""
        return rows[self.rank :: self.count] if self.count > 1 else rows

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= self.count

    def largest(self, value: float) -> float:
        """The largest of the processes' values."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return float(shared)


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the group that torchrun has described in the environment; without one there is this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    distributed.init_process_group("gloo")
    try:
        yield Processes()
    finally:
        distributed.destroy_process_group()
