"""What the training loop needs of an objective."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

RollMembers = Callable[[int], Tensor]
"""Number of members -> trajectories (member, batch, step + 1, output) of the present generator, with gradients."""


class WindowObjective(Protocol):
    """A loss over windows; adversarial ones also train their critic inside `loss`."""

    def loss(self, roll_members: RollMembers, conditions: Tensor, observed: Tensor, share: float) -> Tensor:
        """The generator's loss ().

        Args:
            roll_members: draws members under the batch's conditions.
            conditions: (batch, step, condition_dim).
            observed: (batch, step + 1, output_dim).
            share: of the training done, 0 to 1.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        ...
