"""The evidence lower bound of a variational autoencoder over windows (Kingma and Welling, ICLR 2014), the generator as decoder.

    -ELBO = E_q(z|y,x) |y - G(x, z)|^2 / 2 s^2 + beta KL(q(z|y,x) | N(0, 1))

The noise s is fixed, and small: what a noise added to the outputs would explain, the generator must make from z instead, for a
session has no other noise. beta may be constant, rise once (annealed; Bowman et al., 2016) or again and again (cyclical; Fu et al.,
NAACL 2019), against a decoder that never learns to use z.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes, Term
from surrogate_fmu.training.rollout import stream

_SCHEDULES = ("constant", "annealed", "cyclical")


class Evidence(Term):
    """The bound, per scalar of the window.

    Args:
        beta: weight of the divergence.
        schedule: of beta: constant, annealed (rises over the first half), cyclical (four such rises).
        noise: s, in units of the conditional spread.
        width: hidden units of the encoder.
    """

    members = 1

    def __init__(self, beta: float = 1.0, schedule: str = "annealed", noise: float = 0.1, width: int = 48) -> None:
        if schedule not in _SCHEDULES:
            raise ValueError(f"schedule {schedule!r} of beta must be one of {', '.join(_SCHEDULES)}")
        if beta < 0.0 or noise <= 0.0 or width < 1:
            raise ValueError(f"beta {beta:g} cannot be negative, noise {noise:g} and width {width} must be above 0")
        self._beta, self._schedule, self._noise, self._width = beta, schedule, noise, width
        self._divergence = 0.0

    def bind(self, shapes: Shapes) -> None:
        """Make the encoder."""
        self._random = stream(shapes.seed + 13)
        self._dims = (shapes.run_latent_dim, shapes.step_latent_dim)
        if sum(self._dims) == 0:
            raise TrainingError("the evidence term needs latents to encode; set run_latent_dim or step_latent_dim above 0")
        self._encoder = WindowEncoder(2 * shapes.output_dim + shapes.condition_dim, *self._dims, self._width)

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        before = torch.cat([draw.start[:, None], draw.observed[:, :-1]], dim=1)
        mean, log_variance = self._encoder(torch.cat([draw.observed, draw.level(before), draw.condition], dim=2))
        latents = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=self._random)
        error = draw.roll(latents[None])[0] - draw.observed
        size = error.shape[1] * error.shape[2]
        fit = 0.5 * error.square().sum(dim=(1, 2)) / self._noise**2
        run, step = self._dims
        each = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
        divergence = each[:, 0, :run].sum(dim=1) + each[:, :, run:].sum(dim=(1, 2))
        self._divergence = float(divergence.detach().mean()) / max(1, run + step * error.shape[1])
        # in units where a fit to within s costs as much as a score of the same error
        bound: Tensor = self._noise * (fit + self.beta(draw.share) * divergence) / size
        return bound

    def beta(self, share: float) -> float:
        """The weight of the divergence at a share of the training."""
        rise = {"constant": 1.0, "annealed": 2.0 * share, "cyclical": 2.0 * (4.0 * share % 1.0)}[self._schedule]
        return self._beta * min(1.0, rise)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Of the encoder."""
        return self._encoder.parameters()

    def signals(self) -> dict[str, float]:
        """The divergence per latent [nat]; near 0 the latents say nothing (posterior collapse)."""
        return {"divergence": self._divergence}

    def state(self) -> dict[str, Any]:
        """Encoder and stream."""
        return {"encoder": self._encoder.state_dict(), "random": self._random.get_state()}

    def load(self, state: dict[str, Any]) -> None:
        """See `Term`."""
        self._encoder.load_state_dict(state["encoder"])
        self._random.set_state(state["random"])


class WindowEncoder(nn.Module):
    """Reads a window forth and back; mean and log-variance of the run latents, held along it, and of those of each step.

    Args:
        channel_dim: numbers per point.
        run_latent_dim, step_latent_dim: parts of z.
        width: hidden units.
    """

    def __init__(self, channel_dim: int, run_latent_dim: int, step_latent_dim: int, width: int) -> None:
        super().__init__()
        self._dims = (run_latent_dim, step_latent_dim)
        self.memory = nn.GRU(channel_dim, width, batch_first=True, bidirectional=True)
        # bare weights: with no latents of a kind they are empty, which nn.Linear warns of
        self.run = nn.Parameter(0.1 * torch.randn(2 * width, 2 * run_latent_dim) / width**0.5)
        self.step = nn.Parameter(0.1 * torch.randn(2 * width, 2 * step_latent_dim) / width**0.5)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, step, channel_dim) -> mean and log-variance (batch, step, latent_dim) each."""
        seen, _ = self.memory(window)
        run = (seen.mean(dim=1) @ self.run)[:, None].expand(-1, seen.shape[1], -1)
        (run_mean, run_log), (step_mean, step_log) = run.chunk(2, dim=2), (seen @ self.step).chunk(2, dim=2)
        return torch.cat([run_mean, step_mean], dim=2), torch.cat([run_log, step_log], dim=2)
