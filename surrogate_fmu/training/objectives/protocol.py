"""What the training loop needs of an objective."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.rollout import WindowRoller


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

    def loss(self, roller: WindowRoller, batch: Batch, share: float) -> Tensor:
        """The generator's loss ().

        Args:
            roller: draws members under the batch's conditions.
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

    def signals(self) -> dict[str, float]:
        """What the last loss was made of, by name, for logs and the watch."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        ...
