"""A critic that sees a window of the trajectory together with its condition."""

import torch
from torch import Tensor, nn


class WindowCritic(nn.Module):
    """Strided convolutions over time, mean pooling, a score without bound.

    Pooling is by the mean: a maximum cannot see how much of the window is off.

    Args:
        output_dim: outputs of the generator.
        condition_dim: size of x.
        width: channels.
    """

    def __init__(self, output_dim: int, condition_dim: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(2 * output_dim + condition_dim, width, 5, padding=2), nn.SiLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.SiLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.SiLU(),
        )  # fmt: skip
        self.score = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, deviation: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """Score windows.

        Args:
            deviation: (batch, step, output_dim), outputs minus the ensemble mean in units of the conditional spread.
            level: (batch, step, output_dim), the ensemble mean scaled to unit variance.
            condition: (batch, step, condition_dim) scaled to unit variance.

        Returns:
            (batch,).
        """
        channels = torch.cat([deviation, level, condition], dim=2).transpose(1, 2)
        score: Tensor = self.score(self.convolutions(channels).mean(dim=2)).squeeze(1)
        return score
