"""Optimisers for games: what one player's step does depends on the other's, and plain descent may circle for ever.

On min over x, max over y of x y simultaneous steps spiral out, alternating ones circle, and both methods below converge.

    optimistic     w' = w - r (2 g_t - g_(t-1))                    Daskalakis et al., ICLR 2018
    extragradient  w+ = w - r g(w),  w' = w - r g(w+)              Korpelevich, 1976; Adam: Gidel et al., ICLR 2019
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.training.config import Optimiser

_BASE, _LAST = "base", "last"


class OptimisticAdam(torch.optim.Adam):
    """Adam that takes twice its step and takes the last one back."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step."""
        before = [parameter.clone() for group in self.param_groups for parameter in group["params"]]
        loss = super().step(closure)
        parameters = (parameter for group in self.param_groups for parameter in group["params"])
        for parameter, old in zip(parameters, before, strict=True):
            move = parameter - old
            last = self.state[parameter].get(_LAST)
            if last is not None:
                parameter.add_(move - last)
            self.state[parameter][_LAST] = move
        return loss  # type: ignore[no-any-return]


class ExtraAdam(torch.optim.Adam):
    """Adam steps in pairs: the first one looks ahead, the second one goes back to the start and steps by what was seen there.

    Both players of a game look ahead before either of them steps, when each uses this optimiser and they step in turn.
    """

    @property
    def looking_ahead(self) -> bool:
        """Whether the weights are a look ahead, and not where the training stands."""
        return any(_BASE in self.state[p] and self.state[p][_BASE] is not None for g in self.param_groups for p in g["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Look ahead, or step."""
        ahead = self.looking_ahead
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        bases = [self.state[parameter].get(_BASE) if ahead else parameter.clone() for parameter in parameters]
        if ahead:
            for parameter, base in zip(parameters, bases, strict=True):
                if base is not None:
                    parameter.copy_(base)
        loss = super().step(closure)
        for parameter, base in zip(parameters, bases, strict=True):
            if len(self.state[parameter]):
                self.state[parameter][_BASE] = None if ahead else base
        return loss  # type: ignore[no-any-return]


def make_optimiser(
    kind: Optimiser, parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """An optimiser of a player."""
    classes: dict[Optimiser, Any] = {
        Optimiser.ADAM: torch.optim.Adam,
        Optimiser.OPTIMISTIC: OptimisticAdam,
        Optimiser.EXTRAGRADIENT: ExtraAdam,
    }
    made: torch.optim.Adam = classes[kind](parameters, lr=learning_rate, betas=betas)
    return made


def stands(optimiser: torch.optim.Optimizer) -> bool:
    """Whether the weights are where the training stands, and not a look ahead."""
    return not (isinstance(optimiser, ExtraAdam) and optimiser.looking_ahead)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradient, None


def reverse_gradient(values: Tensor, strength: float = 1.0) -> Tensor:
    """The values as they are, with a gradient turned round (Ganin and Lempitsky, ICML 2015): one descent for both players."""
    reversed_values: Tensor = _Reversal.apply(values, strength)  # type: ignore[no-untyped-call]
    return reversed_values
