"""What all critics share: a score of features, conditioned by concatenation or by projection."""

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """Scores windows of the trajectory under their conditions, without bound.

    By concatenation the body sees window and condition side by side. By projection (Miyato and Koyama, ICLR 2018) it sees the
    window alone, and the score is s(f) + <e(condition), f> with the features f: the condition says which features matter.

    Args:
        body: channels (batch, step, channel) -> features (batch, width).
        condition_dim: size of x.
        width: size of the features.
        projection: condition by projection.
    """

    def __init__(self, body: nn.Module, condition_dim: int, width: int, projection: bool) -> None:
        super().__init__()
        self.body = body
        self.score = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
        self.embedding = nn.Linear(condition_dim, width) if projection else None

    def features(self, deviation: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """The features (batch, width); arguments as `forward`."""
        seen = [deviation, level] if self.embedding is not None else [deviation, level, condition]
        found: Tensor = self.body(torch.cat(seen, dim=2))
        return found

    def forward(self, deviation: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """Score windows.

        Args:
            deviation: (batch, step, output_dim + extra_dim), outputs minus their centre in units of the conditional spread, and
                what else is seen of the window.
            level: (batch, step, output_dim), the centre scaled to unit variance.
            condition: (batch, step, condition_dim) scaled to unit variance.

        Returns:
            (batch,).
        """
        features = self.features(deviation, level, condition)
        score: Tensor = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(condition.mean(dim=1)) * features).sum(dim=1) / features.shape[1] ** 0.5
        return score
