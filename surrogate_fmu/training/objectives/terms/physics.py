"""A differentiable physics module inside a critic: it judges windows by what known equations say of them, too."""

from collections.abc import Callable

import torch
from torch import Tensor

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.objectives.terms.residual import Values
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes

_BOUND = 10.0  # standard deviations that the critic sees of a channel, so that a first wild draw does not blind it


class PhysicsChannels:
    """What a function of outputs and inputs says of every step, as channels of the critic, in units of what observations give.

    Args:
        function: called with outputs by name (batch, point + 1), the start included, and inputs and parameters by name
            (batch, point), in physical units; gives (batch, point) or (batch, point, n): residuals of equations, derived
            quantities such as an energy or a power. It must be differentiable.
        shapes: names.

    Attributes:
        count: channels n.
        scale: (n,), root mean square over the observations that were seen first; empty before.

    Raises:
        TrainingError: the function gives something else.
    """

    def __init__(self, function: Callable[[Values, Values], Tensor], shapes: Shapes) -> None:
        self._function = function
        self._shapes = shapes
        self.count = self._call(torch.ones(2, 5, len(shapes.outputs)), torch.ones(2, 4, len(shapes.conditions))).shape[2]
        self.scale = torch.zeros(0)

    def measure(self, draw: Draw) -> None:
        """Take the unit from the observations, once."""
        if not len(self.scale):
            found = self._said(draw, draw.observed)
            self.scale = found.detach().square().mean(dim=(0, 1)).sqrt().clamp_min(1e-12)

    def __call__(self, draw: Draw, windows: Tensor) -> Tensor:
        """Windows (copies x batch, point, output_dim) in the unit of the draw -> (copies x batch, point, n)."""
        said: Tensor = self._said(draw, windows) / self.scale
        return _BOUND * torch.tanh(said / _BOUND)

    def _said(self, draw: Draw, windows: Tensor) -> Tensor:
        count = len(windows) // len(draw.observed)
        start = draw.start.repeat(count, 1)[:, None]
        condition = (draw.condition * draw.condition_std + draw.condition_mean).repeat(count, 1, 1)
        return self._call(draw.physical(torch.cat([start, windows], dim=1)), condition)

    def _call(self, outputs: Tensor, conditions: Tensor) -> Tensor:
        said = self._function(
            dict(zip(self._shapes.outputs, outputs.unbind(2), strict=True)),
            dict(zip(self._shapes.conditions, conditions.unbind(2), strict=True)),
        )
        expected = conditions.shape[:2]
        if not isinstance(said, Tensor) or said.dim() not in (2, 3) or said.shape[:2] != expected:
            shape = tuple(said.shape) if isinstance(said, Tensor) else type(said).__name__
            name = getattr(self._function, "__name__", "physics")
            raise TrainingError(
                f"the critic's physics {name} gave {shape} for outputs {tuple(outputs.shape[:2])} with the start, expected a "
                f"tensor of {tuple(expected)} or ({expected[0]}, {expected[1]}, n): one row a window, one value a step"
            )
        return said if said.dim() == 3 else said.unsqueeze(2)
