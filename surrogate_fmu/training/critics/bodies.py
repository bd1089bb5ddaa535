"""Bodies of critics: channels (batch, step, channel) -> features (batch, width).

Steps are pooled by the mean: a maximum cannot see how much of a window is off.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import silu


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


class LongShortTerm(nn.Module):
    """An LSTM that reads the window forth and back."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        self.memory = nn.LSTM(channel_dim, width, batch_first=True, bidirectional=True)
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
        with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative, which gradient penalties need
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


class Grid(nn.Module):
    """Strided convolutions over time and channels (DCGAN in two dimensions): for outputs that are places in a row."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        self.layers = nn.Sequential(
            nn.Conv2d(1, narrow, 3, padding=1), nn.SiLU(),
            nn.Conv2d(narrow, 2 * narrow, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(2 * narrow, width, 3, stride=2, padding=1), nn.SiLU(),
        )  # fmt: skip

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        found: Tensor = self.layers(channels.unsqueeze(1)).mean(dim=(2, 3))
        return found


class Graph(nn.Module):
    """Channels as nodes that send messages to all others, as much as their learned embeddings say (Gilmer et al., ICML 2017).

    A node starts with what convolutions see of its channel over time.
    """

    _ROUNDS = 2

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        self.along = nn.Conv1d(1, width, 5, stride=2, padding=2)
        self.node = nn.Parameter(torch.randn(channel_dim, width) / width**0.5)
        self.message = nn.ModuleList(nn.Linear(width, width) for _ in range(self._ROUNDS))
        self.update = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(self._ROUNDS))

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        batch, steps, nodes = channels.shape
        seen = self.along(channels.transpose(1, 2).reshape(batch * nodes, 1, steps))
        state = silu(seen).mean(dim=2).reshape(batch, nodes, -1) + self.node
        edges = torch.softmax(self.node @ self.node.t(), dim=1)
        for message, update in zip(self.message, self.update, strict=True):
            received = edges.to(state.dtype) @ silu(message(state))
            state = state + silu(update(torch.cat([state, received], dim=2)))
        found: Tensor = state.mean(dim=1)
        return found


class Set(nn.Module):
    """Channels as the members of a set, of any number (Zaheer et al., "Deep Sets", NeurIPS 2017), each with its embedding."""

    def __init__(self, channel_dim: int, width: int) -> None:
        super().__init__()
        self.along = nn.Conv1d(1, width, 5, stride=2, padding=2)
        self.member = nn.Parameter(torch.randn(channel_dim, width) / width**0.5)
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.outer = nn.Linear(width, width)

    def forward(self, channels: Tensor) -> Tensor:
        """See the head of this file."""
        batch, steps, members = channels.shape
        seen = silu(self.along(channels.transpose(1, 2).reshape(batch * members, 1, steps))).mean(dim=2)
        found: Tensor = self.outer(self.inner(seen.reshape(batch, members, -1) + self.member).mean(dim=1))
        return found
