"""A representation that forgets where its data came from: which batch, rig, sensor or site (Ganin et al., JMLR 17, 2016).

    min over encoder e and head h, max over the classifier c:   E |y - h(e(x))|^2 - strength * E[-log c(d | e(x))]

The classifier learns to tell the domain d from the representation, and its gradient comes back to the encoder with its sign
reversed. What distinguishes domains is forgotten as far as it does not help to tell y. The strength rises from 0, so that there is
something to forget before it begins.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.optimisers import reverse_gradient

Array = NDArray[np.float64]
_DOMAIN_ROWS_MIN = 8
_RISE = 10.0
_BATCH = 256
_LEAD = 3.0  # the classifier's learning rate: what it does not see is not forgotten


@dataclass(frozen=True)
class InvariantConfig:
    """How a representation is learned.

    Attributes:
        dim: of the representation.
        width: hidden units of encoder, head and classifier.
        strength: of forgetting, at the end; 0 forgets nothing.
        updates: of the networks.
        learning_rate: of Adam.
        seed: of weights and batches.
    """

    dim: int = 4
    width: int = 48
    strength: float = 1.0
    updates: int = 1500
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.dim, self.width, self.updates) < 1 or self.strength < 0.0 or self.learning_rate <= 0.0:
            raise ValueError("dim, width and updates must be at least 1, strength not negative, learning_rate above 0")


class InvariantEncoder(nn.Module):
    """x -> representation -> y; the classifier of domains is gone after training.

    Args:
        inputs, outputs: sizes of x and y.
        config: sizes of the networks.
    """

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, inputs: int, outputs: int, config: InvariantConfig) -> None:
        super().__init__()
        self.register_buffer("input_mean", torch.zeros(inputs))
        self.register_buffer("input_std", torch.ones(inputs))
        self.register_buffer("output_mean", torch.zeros(outputs))
        self.register_buffer("output_std", torch.ones(outputs))
        self.encoder = _network(inputs, config.width, config.dim)
        self.head = _network(config.dim, config.width, outputs)

    def encode(self, x: Tensor) -> Tensor:
        """x (batch, input) -> (batch, dim)."""
        represented: Tensor = self.encoder((x - self.input_mean) / self.input_std)
        return represented

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, input) -> y (batch, output), the mean given the representation."""
        predicted: Tensor = self.head(self.encode(x)) * self.output_std + self.output_mean
        return predicted


def learn_invariant(x: Array, y: Array, domains: NDArray[np.int64], config: InvariantConfig | None = None) -> InvariantEncoder:
    """Learn a representation of x that tells y and not the domain.

    Args:
        x: (row, input).
        y: (row, output).
        domains: (row,), numbers of batches, rigs, sensors or sites.
        config: sizes and strength.

    Raises:
        TrainingError: rows do not match or are not finite, or there are fewer than two domains, or one has too few rows.
    """
    config = config or InvariantConfig()
    labels = _check(x, y, domains)
    random = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = InvariantEncoder(x.shape[1], y.shape[1], config)
        classifier = _network(config.dim, config.width, int(labels.max()) + 1)
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    for name, values in (("input", inputs), ("output", targets)):
        std = values.std(dim=0)
        getattr(model, f"{name}_mean").copy_(values.mean(dim=0))
        getattr(model, f"{name}_std").copy_(torch.where(std > 0, std, torch.ones_like(std)))
    players = [
        {"params": list(model.parameters()), "lr": config.learning_rate},
        {"params": list(classifier.parameters()), "lr": _LEAD * config.learning_rate},
    ]
    optimiser = torch.optim.Adam(players)
    for update in range(config.updates):
        rows = torch.randint(len(inputs), (min(_BATCH, len(inputs)),), generator=random)
        represented = model.encode(inputs[rows])
        error = (model.head(represented) - (targets[rows] - model.output_mean) / model.output_std).square().mean()
        strength = config.strength * (2.0 / (1.0 + math.exp(-_RISE * update / config.updates)) - 1.0)
        told = cross_entropy(classifier(reverse_gradient(represented, strength)), labels[rows])
        optimiser.zero_grad()
        (error + told).backward()
        optimiser.step()
    return model.eval()


def _network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs))


def _check(x: Array, y: Array, domains: NDArray[np.int64]) -> Tensor:
    if not len(x) == len(y) == len(domains):
        raise TrainingError(f"x has {len(x)} rows, y {len(y)}, domains {len(domains)}; give one of each for every row")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TrainingError("x or y has values that are not finite; leave those rows out")
    known, labels, counts = np.unique(domains, return_inverse=True, return_counts=True)
    if len(known) < 2 or counts.min() < _DOMAIN_ROWS_MIN:
        raise TrainingError(
            f"domains need two or more of {_DOMAIN_ROWS_MIN} rows at least to be told apart; got "
            f"{dict(zip(known.tolist(), counts.tolist(), strict=True))}"
        )
    return torch.tensor(labels, dtype=torch.int64)
