"""Governing equations F(y; x) = 0 as a term, pointwise or weakly (physics-informed learning: Raissi et al., JCP 378, 2019)."""

from collections.abc import Callable

import torch
from torch import Tensor

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes, Term

Values = dict[str, Tensor]
_FORGETTING = 0.05  # of the residual's known scale at each value


class Residual(Term):
    """The mean squared residual of equations that every trajectory obeys, in units of what it is for the observations' spread.

    Args:
        function: called with outputs by name (batch, point + 1), the start included, and inputs and parameters by name
            (batch, point), in physical units; gives residuals (batch, n) or (batch,). It must be differentiable.
        weak: average the residual over the window before it is squared: an equation that holds on the mean only.
        scale: of the residual; 0 measures it, as the root mean square of the first draws.
        members: draws per window.
    """

    def __init__(
        self, function: Callable[[Values, Values], Tensor], weak: bool = False, scale: float = 0.0, members: int = 2
    ) -> None:
        if scale < 0.0:
            raise ValueError(f"scale {scale:g} of a residual cannot be negative")
        self._function = function
        self._weak = weak
        self._scale = torch.tensor(scale)
        self._measured = scale == 0.0
        self.members = members
        self._last = 0.0

    def bind(self, shapes: Shapes) -> None:
        """Learn the names."""
        self._shapes = shapes

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        count, batch = draw.members.shape[:2]
        start = draw.start.expand(count, -1, -1)[:, :, None]
        outputs = draw.physical(torch.cat([start, draw.members], dim=2)).flatten(0, 1)
        condition = (draw.condition * draw.condition_std + draw.condition_mean).repeat(count, 1, 1)
        residual = self._function(
            dict(zip(self._shapes.outputs, outputs.unbind(2), strict=True)),
            dict(zip(self._shapes.conditions, condition.unbind(2), strict=True)),
        )
        self._check(residual, count * batch)
        residual = residual.reshape(count, batch, -1)
        if self._weak:
            residual = residual.mean(dim=2, keepdim=True)
        squared = residual.square()
        self._last = float(squared.mean().detach().sqrt())
        if self._measured:
            found = squared.mean().detach().sqrt()
            self._scale = found if self._scale == 0.0 else torch.lerp(self._scale, torch.maximum(self._scale, found), _FORGETTING)
        return (squared / self._scale.clamp_min(1e-12).square()).mean(dim=(0, 2))

    def _check(self, residual: Tensor, rows: int) -> None:
        name = getattr(self._function, "__name__", "residual")
        if not isinstance(residual, Tensor) or residual.dim() not in (1, 2) or len(residual) != rows:
            shape = tuple(residual.shape) if isinstance(residual, Tensor) else type(residual).__name__
            raise TrainingError(
                f"the residual {name} gave {shape}, expected a tensor of ({rows},) or ({rows}, n): one row a window"
            )
        if not residual.requires_grad:
            raise TrainingError(
                f"the residual {name} does not depend on the outputs in a way that can be differentiated; use torch operations on "
                "the tensors it is given, without .detach(), .numpy() or comparisons"
            )

    def signals(self) -> dict[str, float]:
        """Root mean square of the residual, in its own unit."""
        return {"residual": self._last}

    def state(self) -> dict[str, Tensor]:
        """The scale."""
        return {"scale": self._scale}

    def load(self, state: dict[str, Tensor]) -> None:
        """See `Term`."""
        self._scale = state["scale"]
