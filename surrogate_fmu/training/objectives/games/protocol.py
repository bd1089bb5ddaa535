"""What an adversarial game consists of: a loss of each player."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

Critic = Callable[[Tensor], Tensor]
"""windows (batch, step, feature) -> scores (batch,); conditions are held by the caller, row by row the same for real and fake."""


class Game(Protocol):
    """The losses of critic and generator. `real` and `fake` (batch, step, feature) stand under the same conditions, row by row."""

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises, (); `fake` carries no gradient to the generator."""
        ...

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """What the generator minimises, ()."""
        ...

    def constrain(self, critic: nn.Module) -> None:
        """Bring the critic's weights back to where the game allows them, after each of its steps."""
        ...


class Unconstrained:
    """A game that lets the critic's weights be."""

    def constrain(self, critic: nn.Module) -> None:
        """Nothing to do."""
        return None


def gradient_norms(critic: Critic, window: Tensor) -> Tensor:
    """Norm of the critic's gradient at each window, (batch,), with a graph for a second derivative."""
    window = window.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(window).sum(), window, create_graph=True)
    return (gradient.square().flatten(1).sum(dim=1) + 1e-12).sqrt()
