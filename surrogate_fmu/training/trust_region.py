"""Updates inside a trust region (Schulman et al., ICML 2015), of the outputs.

A step of a game may move the generator far, because the critic's slope says nothing of how far it holds. What is bounded here is
the root mean square change of windows drawn with the same latents, in units of the conditional spread.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from surrogate_fmu.training.rollout import WindowRoller

_TRIES = 3  # a step's effect is not quite proportional to its length


class TrustRegion:
    """Shortens updates that change outputs by more than a bound.

    Args:
        bound: largest change of an update, in units of the conditional spread; 0 bounds nothing.
        unit: (output_dim,), the conditional spread.

    Attributes:
        kept: share of the last update that was kept.
    """

    def __init__(self, bound: float, unit: Tensor) -> None:
        self._bound = bound
        self._unit = unit
        self.kept = 1.0

    @contextmanager
    def around(self, roller: WindowRoller, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        """Whatever changes the parameters inside changes what the roller draws by no more than the bound."""
        if self._bound == 0.0:
            yield
            return
        trained = list(parameters)
        before = [parameter.detach().clone() for parameter in trained]
        latents = roller.draw(1)
        points = torch.arange(1, latents.shape[2] + 1)
        with torch.no_grad():
            drawn = roller.roll(latents, points)
        yield
        self.kept = 1.0
        with torch.no_grad():
            for _ in range(_TRIES):
                change = float(((roller.roll(latents, points) - drawn) / self._unit).square().mean().sqrt())
                if change <= self._bound:
                    return
                share = self._bound / change
                self.kept *= share
                for parameter, old in zip(trained, before, strict=True):
                    parameter.lerp_(old, 1.0 - share)
