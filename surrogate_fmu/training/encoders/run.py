"""An encoder that reads a run and says which individual it was."""

import torch
from torch import Tensor, nn


class RunEncoder(nn.Module):
    """Strided convolutions over time, mean pooling, mean and log-variance of the run latents.

    Args:
        output_dim: outputs of the generator.
        condition_dim: size of x.
        run_latent_dim: size of the run latents.
        width: channels.
    """

    def __init__(self, output_dim: int, condition_dim: int, run_latent_dim: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(2 * output_dim + condition_dim, width, 5, padding=2), nn.SiLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.SiLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.SiLU(),
        )  # fmt: skip
        self.statistics = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * run_latent_dim))

    def forward(self, deviation: Tensor, level: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Read runs.

        Args:
            deviation: (batch, step, output_dim), outputs minus the mean over individuals in units of their spread.
            level: (batch, step, output_dim), that mean scaled to unit variance.
            condition: (batch, step, condition_dim) scaled to unit variance.

        Returns:
            Mean and log-variance, (batch, run_latent_dim) each.
        """
        channels = torch.cat([deviation, level, condition], dim=2).transpose(1, 2)
        statistics = self.statistics(self.convolutions(channels).mean(dim=2))
        mean, log_variance = statistics.chunk(2, dim=1)
        return mean, log_variance
