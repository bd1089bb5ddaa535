"""What the training loop needs of an objective."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from surrogate_fmu.training.generators import Generator

RollMembers = Callable[..., Tensor]
"""(number of members, points (point,) to return, run latents (batch, run_latent_dim) or None) -> trajectories (member, batch,
point, output) of the present generator, with gradients; given run latents are those of all members, without step latents."""


@dataclass(frozen=True)
class Batch:
    """Recorded windows.

    Attributes:
        runs: (batch,), which runs of the training data they are from.
        conditions: (batch, step, condition_dim).
        observed: (batch, step + 1, output_dim); point 0 is the start.
    """

    runs: Tensor
    conditions: Tensor
    observed: Tensor


class WindowObjective(Protocol):
    """A loss over windows; adversarial ones also train their critic inside `loss`."""

    def loss(self, roll_members: RollMembers, batch: Batch, share: float) -> Tensor:
        """The generator's loss ().

        Args:
            roll_members: draws members under the batch's conditions.
            batch: the recorded windows.
            share: of the training done, 0 to 1.
        """
        ...

    def parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that the generator's optimiser trains along."""
        ...

    def learning_rate(self, share: float) -> float:
        """The generator's learning rate before warm-up and decay, at this share of the training."""
        ...

    def after_update(self, generators: Sequence[Generator]) -> None:
        """Called with the generator and its average when the weights have changed."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        ...
