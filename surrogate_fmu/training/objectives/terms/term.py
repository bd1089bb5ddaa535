"""A term of an objective, and sums of terms that read like the formula: `Energy() + 0.1 * Residual(balance)`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.training.rollout import WindowRoller


@dataclass(frozen=True)
class Shapes:
    """What terms with networks of their own must know.

    Attributes:
        output_dim, condition_dim: sizes of y and x.
        run_latent_dim, step_latent_dim: parts of z.
        outputs, conditions: names, in order, an array's once an element.
        seed: of weights and draws.
    """

    output_dim: int
    condition_dim: int
    run_latent_dim: int
    step_latent_dim: int
    outputs: tuple[str, ...]
    conditions: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Draw:
    """Members of the generator and the observation, under the same conditions.

    Outputs are measured from their mean in units of the conditional spread: an error of 1 is as large as the randomness.

    Attributes:
        members: (member, batch, point, output_dim).
        observed: (batch, point, output_dim).
        start: (batch, output_dim), the observation before the first step, in the same unit.
        condition: (batch, point, condition_dim), scaled to unit variance.
        latents: (member, batch, step, latent_dim) of the members.
        points: (point,), from 1.
        weights: (batch,), of the windows, with mean 1.
        share: of the training done, 0 to 1.
        roller: draws more members.
        output_mean, output_unit: (output_dim,), what outputs are measured from and in.
        output_std: (output_dim,), over all runs.
        condition_mean, condition_std: (condition_dim,).
    """

    members: Tensor
    observed: Tensor
    start: Tensor
    condition: Tensor
    latents: Tensor
    points: Tensor
    weights: Tensor
    share: float
    roller: WindowRoller
    output_mean: Tensor
    output_unit: Tensor
    output_std: Tensor
    condition_mean: Tensor
    condition_std: Tensor

    def roll(self, latents: Tensor) -> Tensor:
        """More members (member, batch, point, output_dim), in the same unit."""
        return self.measured(self.roller.roll(latents, self.points))

    def measured(self, outputs: Tensor) -> Tensor:
        """Physical outputs (..., output_dim) in the unit of this draw."""
        return (outputs - self.output_mean) / self.output_unit

    def physical(self, outputs: Tensor) -> Tensor:
        """The inverse of `measured`."""
        return outputs * self.output_unit + self.output_mean

    def level(self, outputs: Tensor) -> Tensor:
        """Outputs in this unit as outputs of unit variance over all runs."""
        return outputs * (self.output_unit / self.output_std)

    def centred(self, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Drawn and observed windows as deviations from where the generator expects them.

        The centre is the mean of the first half of the members and is held constant; the other half is what is compared. So at
        the plant's own law drawn and observed deviations have the same law; from a mean that they are part of, members would
        deviate less than observations do, and a generator that is made to match would exaggerate the spread.

        Args:
            members: (member, batch, point, output_dim), at least 2.

        Returns:
            The drawn half (member / 2, batch, point, output_dim), the observation and the centre (batch, point, output_dim).
        """
        half = len(members) // 2
        centre = members[:half].detach().mean(dim=0)
        return members[half:] - centre, self.observed - centre, centre


class Term:
    """One term of an objective.

    Attributes:
        members: draws of the generator that it needs.
        begin, end: shares of the training between which it counts.
    """

    members: int = 2
    begin: float = 0.0
    end: float = 1.0

    def bind(self, shapes: Shapes) -> None:
        """Make what depends on the sizes; called once, before the first value.

        Raises:
            TrainingError: the term does not fit the generator.
        """
        return None

    def value(self, draw: Draw) -> Tensor:
        """What the term costs, by window (batch,) or of the whole batch ()."""
        raise NotImplementedError

    def parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that the generator's optimiser trains along."""
        return ()

    def signals(self) -> dict[str, float]:
        """Figures of the last value, by name."""
        return {}

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        return None

    def between(self, begin: float, end: float = 1.0) -> "Term":
        """The term, counted between two shares of the training alone."""
        if not 0.0 <= begin < end <= 1.0:
            raise ValueError(f"a term counts between two shares of the training, 0 <= begin < end <= 1; got {begin:g} and {end:g}")
        self.begin, self.end = begin, end
        return self

    def __rmul__(self, weight: float) -> "TermSum":
        return TermSum([(float(weight), self)])

    def __add__(self, other: "Term | TermSum") -> "TermSum":
        return TermSum([(1.0, self)]) + other


class TermSum:
    """Terms with their weights."""

    def __init__(self, terms: Iterable[tuple[float, Term]]) -> None:
        self.terms = list(terms)

    def __add__(self, other: "Term | TermSum") -> "TermSum":
        return TermSum([*self.terms, *(other.terms if isinstance(other, TermSum) else [(1.0, other)])])

    def __iter__(self) -> Iterator[tuple[float, Term]]:
        return iter(self.terms)


def average(values: Tensor, weights: Tensor) -> Tensor:
    """The mean over windows (batch,) with their weights; a value of the whole batch () stays."""
    return torch.mean(values * weights) if values.dim() else values


def flat_windows(outputs: Tensor) -> Tensor:
    """Windows (..., point, output_dim) as vectors (..., point * output_dim), scaled so that their length does not matter."""
    return outputs.flatten(-2).div((outputs.shape[-1] * outputs.shape[-2]) ** 0.5)
