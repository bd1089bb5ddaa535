"""Distances between the drawn and the observed windows of a batch, each together with its condition.

They compare laws, not single windows: joint vectors (y, x) of one member per window against those of the observation. Since the
conditions are the same on both sides, what differs is the law of y given x.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes, Term, flat_windows
from surrogate_fmu.training.rollout import stream


class KernelDiscrepancy(Term):
    """Maximum mean discrepancy with a mixture of Gaussian kernels (Gretton et al., JMLR 13, 2012; mixture: Li et al., ICML 2015).

        MMD^2 = E k(a, a') + E k(b, b') - 2 E k(a, b),   k = mean over s of exp(-|a - b|^2 / 2 s^2)

    Args:
        widths: s, in units of the median distance of the observed vectors.
        members: draws per window, at least 2; half of them are compared.
    """

    def __init__(self, widths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0), members: int = 4) -> None:
        if not widths or min(widths) <= 0.0:
            raise ValueError(f"widths {list(widths)} of the kernels must be above 0")
        self._widths = widths
        self.members = members

    def value(self, draw: Draw) -> Tensor:
        """()."""
        drawn, observed, drawn_weights, weights = _joint(draw)
        scale = torch.cdist(observed, observed).detach().median().clamp_min(1e-6)

        def kernel(first: Tensor, second: Tensor) -> Tensor:
            squared = (torch.cdist(first, second) / scale).square()
            return torch.stack([(-0.5 * squared / s**2).exp() for s in self._widths]).mean(dim=0)

        return _expectation(kernel, drawn, observed, drawn_weights, weights)


class EnergyDistance(Term):
    """Energy distance on properties of windows (Szekely and Rizzo, 2013), or on random features drawn anew each time.

        ED = 2 E |a - b| - E |a - a'| - E |b - b'|

    Args:
        features: random nonlinear features of the joint vectors; 0 takes these as they are.
        members: draws per window, at least 2; half of them are compared.
    """

    def __init__(self, features: int = 0, members: int = 4) -> None:
        if features < 0:
            raise ValueError(f"features {features} cannot be negative")
        self._features = features
        self.members = members

    def bind(self, shapes: Shapes) -> None:
        """Seed the features."""
        self._random = stream(shapes.seed + 11)

    def value(self, draw: Draw) -> Tensor:
        """()."""
        drawn, observed, drawn_weights, weights = _joint(draw)
        if self._features:
            directions = torch.randn(drawn.shape[1], self._features, generator=self._random)
            phases = 2.0 * torch.pi * torch.rand(self._features, generator=self._random)
            drawn, observed = (torch.cos(some @ directions + phases) for some in (drawn, observed))
        return _expectation(lambda a, b: -_distances(a, b), drawn, observed, drawn_weights, weights)

    def state(self) -> dict[str, Tensor]:
        """The stream of the features."""
        return {"random": self._random.get_state()}

    def load(self, state: dict[str, Tensor]) -> None:
        """See `Term`."""
        self._random.set_state(state["random"])


class SlicedWasserstein(Term):
    """Mean squared 2-Wasserstein distance along random lines (Bonneel et al., JMIV 51, 2015), by sorting.

    Args:
        lines: drawn anew each time.
        members: draws per window, at least 2; half of them are compared.
    """

    def __init__(self, lines: int = 64, members: int = 2) -> None:
        if lines < 1:
            raise ValueError(f"lines {lines} must be at least 1")
        self._lines = lines
        self.members = members

    def bind(self, shapes: Shapes) -> None:
        """Seed the lines."""
        self._random = stream(shapes.seed + 12)

    def value(self, draw: Draw) -> Tensor:
        """()."""
        if not torch.allclose(draw.weights, torch.ones_like(draw.weights)):
            raise TrainingError("the sliced Wasserstein term knows no weights of windows; take energy-distance or mmd in its place")
        drawn, observed, *_ = _joint(draw)
        lines = torch.nn.functional.normalize(torch.randn(drawn.shape[1], self._lines, generator=self._random), dim=0)
        first = (drawn @ lines).sort(dim=0).values
        second = (observed.repeat(len(drawn) // len(observed), 1) @ lines).sort(dim=0).values
        return (first - second).square().mean() * drawn.shape[1]

    def state(self) -> dict[str, Tensor]:
        """The stream of the lines."""
        return {"random": self._random.get_state()}

    def load(self, state: dict[str, Tensor]) -> None:
        """See `Term`."""
        self._random.set_state(state["random"])


def _joint(draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vectors of drawn (member * batch, size) and observed (batch, size) windows with their conditions, and both weights."""
    drawn, observed, centre = draw.centred(draw.members)
    count = len(drawn)
    # where the window is stands beside its deviation, so that deviations are compared at like places
    place = torch.cat([flat_windows(draw.condition), flat_windows(draw.level(centre))], dim=1)
    drawn = torch.cat([flat_windows(drawn), place.expand(count, -1, -1)], dim=2)
    return drawn.flatten(0, 1), torch.cat([flat_windows(observed), place], dim=1), draw.weights.repeat(count), draw.weights


def _distances(first: Tensor, second: Tensor) -> Tensor:
    return ((first[:, None] - second[None]).square().sum(dim=2) + 1e-12).sqrt()


def _expectation(
    kernel: Callable[[Tensor, Tensor], Tensor], drawn: Tensor, observed: Tensor, drawn_weights: Tensor, weights: Tensor
) -> Tensor:
    """E k(a, a') + E k(b, b') - 2 E k(a, b) with weights, pairs of a vector with itself left out."""

    def mean(first: Tensor, second: Tensor, left: Tensor, right: Tensor, same: bool) -> Tensor:
        pairs = left[:, None] * right[None]
        if same:
            pairs = pairs - torch.diag(pairs.diagonal())
        return (kernel(first, second) * pairs).sum() / pairs.sum()

    within = mean(drawn, drawn, drawn_weights, drawn_weights, True) + mean(observed, observed, weights, weights, True)
    return within - 2.0 * mean(drawn, observed, drawn_weights, weights, False)
