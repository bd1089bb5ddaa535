"""Bodies of critics: channels (batch, step, channel) -> features (batch, width).

Steps are pooled by the mean: a maximum cannot see how much of a window is off.
"""

import math

import torch
from torch import Tensor, nn


class Convolutions(nn.Module):
    """Strided convolutions over time (DCGAN: Radford et al., ICLR 2016, in one dimension)."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channel_dim, width, 5, padding=2), nn.SiLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.SiLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.SiLU(),
        )  # fmt: skip

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        found: Tensor = self.layers(channels.transpose(1, 2)).mean(dim=2)
        return found


class Recurrent(nn.Module):
    """A GRU that reads the window forth and back."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        self.memory = nn.GRU(channel_dim, width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, width)

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        found: Tensor = self.out(self.memory(channels)[0].mean(dim=1))
        return found


class Attention(nn.Module):
    """A block of self-attention over the steps, each with its place along the window."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        heads = next(count for count in (4, 2, 1) if width % count == 0)
        self.into = nn.Linear(channel_dim + 2, width)
        self.block = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True)

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        place = torch.linspace(0.0, math.pi, channels.shape[1], device=channels.device)
        places = torch.stack([place.cos(), place.sin()], dim=1).expand(len(channels), -1, -1)
        found: Tensor = self.block(self.into(torch.cat([channels, places], dim=2))).mean(dim=1)
        return found


class StepByStep(nn.Module):
    """A perceptron for each step by itself and its change from the one before: for short windows, or as a baseline."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * channel_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        before = torch.cat([channels[:, :1], channels[:, :-1]], dim=1)
        found: Tensor = self.layers(torch.cat([channels, channels - before], dim=2)).mean(dim=1)
        return found
