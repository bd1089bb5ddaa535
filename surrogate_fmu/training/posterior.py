"""Which individual a recorded run shows: the posterior of its run latents, by Gauss-Newton.

The generator says what an individual z would have done; the prior is the standard normal; errors count as Gaussian. Linearised
at the last mean, the posterior is Gaussian (Laplace's approximation) and found by least squares in a few latents:

    precision = J' W J + 1,   mean = z + precision^-1 (J' W (observed - f(z)) - z),   J = df/dz by differences

Drawing z from it and fitting the generator to the run is expectation maximisation with a drawn expectation step (Wei and Tanner,
JASA 85, 1990). Where noise is small, it finds the scale of latents slowly; so mean and covariance of all individuals are led
back to 0 and 1, and the generator is told (parameter expansion; Liu, Rubin and Wu, Biometrika 85, 1998). So latents drawn from
the normal give the recorded individuals' law up to the second moment, whatever the score sees of it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from surrogate_fmu.training.config import PosteriorConfig

_DIFFERENCE = 0.1  # in latents: small against their spread of 1, large against float32
_STEP_MAX = 1.5
_REACH = 4.0  # no individual is farther out
_EIGENVALUES = (0.25, 4.0)
_RECENTRING_INTERVAL = 10  # updates


class Recentrable(Protocol):
    """A generator that can say the same with other run latents."""

    def recentre_latents(self, mean: Tensor, factor: Tensor) -> None:
        """Take z' in place of z = mean + factor z'."""
        ...


class RunPosterior:
    """Means and covariances of the run latents of all training runs, refined whenever a run is visited.

    Args:
        config: points and noise.
        run_count: training runs.
        run_latent_dim: size of the run latents.
    """

    def __init__(self, config: PosteriorConfig, run_count: int, run_latent_dim: int) -> None:
        self._config = config
        self.mean = torch.zeros(run_count, run_latent_dim)
        self.covariance = torch.eye(run_latent_dim).repeat(run_count, 1, 1)
        self._visits = 0

    def draw(self, runs: Tensor, residuals: Callable[[Tensor], Tensor], random: torch.Generator) -> Tensor:
        """Refine the posterior of these runs by one Gauss-Newton step and draw from it.

        Args:
            runs: (batch,).
            residuals: (copies x batch, run_latent_dim) -> (copies x batch, feature), what the individuals z give minus what
                was observed, in standard deviations of the noise.
            random: of the draw.

        Returns:
            (batch, run_latent_dim), without gradient.
        """
        centre = self.mean[runs]
        count, size = centre.shape
        identity = torch.eye(size)
        with torch.no_grad():
            shifted = torch.cat([centre[None], centre + _DIFFERENCE * identity[:, None]])
            values = residuals(shifted.flatten(0, 1)).reshape(size + 1, count, -1)
            jacobian = ((values[1:] - values[0]) / _DIFFERENCE).permute(1, 2, 0)
            weight = self._config.effective_points / self._config.points
            precision = weight * jacobian.mT @ jacobian + identity
            slope = weight * jacobian.mT @ values[0].unsqueeze(2) + centre.unsqueeze(2)
            root = torch.linalg.cholesky(precision)
            step = -torch.cholesky_solve(slope, root).squeeze(2)
            mean = (centre + step.clamp(-_STEP_MAX, _STEP_MAX)).clamp(-_REACH, _REACH)
            self.mean[runs], self.covariance[runs] = mean, torch.cholesky_inverse(root)
            noise = torch.randn(count, size, 1, generator=random)
            drawn: Tensor = mean + torch.linalg.solve_triangular(root.mT, noise, upper=True).squeeze(2)
            return drawn

    def recentre(self, generators: Sequence[Recentrable]) -> None:
        """Lead mean and covariance of the individuals towards 0 and 1, now and then; the generators keep what they say."""
        self._visits += 1
        if self._visits % _RECENTRING_INTERVAL or self._config.recentring == 0.0:
            return
        share = self._config.recentring
        mean = share * self.mean.mean(dim=0)
        deviation = self.mean - self.mean.mean(dim=0)
        spread = deviation.mT @ deviation / len(deviation) + self.covariance.mean(dim=0)
        values, vectors = torch.linalg.eigh(spread)
        values = values.clamp(*_EIGENVALUES)
        factor, inverse = (vectors @ torch.diag(values ** (0.5 * power)) @ vectors.mT for power in (share, -share))
        for generator in generators:
            generator.recentre_latents(mean, factor)
        self.mean = (self.mean - mean) @ inverse
        self.covariance = inverse @ self.covariance @ inverse

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        return {"mean": self.mean, "covariance": self.covariance, "visits": self._visits}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.mean, self.covariance, self._visits = state["mean"], state["covariance"], state["visits"]
