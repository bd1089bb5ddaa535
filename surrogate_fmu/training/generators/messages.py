"""Messages between the nodes of a graph."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class MessageRound(nn.Module):
    """One round: every node hears from those that act on it, and changes.

        v_i' = v_i + silu(a(v_i) + C sum_j silu(r(v_i) + s(v_j)) / d)          with j over the neighbours of i

    A message knows both ends, as what flows between parts depends on both (interaction networks: Battaglia et al., NeurIPS 2016).
    Messages add up, since flows do; d is the mean number of neighbours over the graph, the same for all nodes.

    Args:
        width: features of a node.
        neighbours: for each node those that act on it, counted from 0.
    """

    receivers: Tensor
    senders: Tensor

    def __init__(self, width: int, neighbours: Sequence[Sequence[int]]) -> None:
        super().__init__()
        pairs = [(node, other) for node, some in enumerate(neighbours) for other in some]
        self.width, self.share = width, len(neighbours) / len(pairs)
        self.register_buffer("receivers", torch.tensor([node for node, _ in pairs]))
        self.register_buffer("senders", torch.tensor([other for _, other in pairs]))
        self.ends = nn.Linear(width, 3 * width)
        self.heard = nn.Linear(width, width, bias=False)

    def forward(self, nodes: Tensor) -> Tensor:
        """nodes (batch, node, width) -> the same after the round."""
        own, receiver, sender = self.ends(nodes).split([self.width, self.width, self.width], dim=2)
        messages = silu(receiver.index_select(1, self.receivers) + sender.index_select(1, self.senders))
        total = torch.zeros_like(own).index_add(1, self.receivers, messages) * self.share
        changed: Tensor = nodes + silu(own + self.heard(total))
        return changed
