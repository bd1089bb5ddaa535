"""Fair energy score and CRPS of an ensemble (Gneiting and Raftery, JASA 102, 2007; fair form: Ferro, QJRMS 140, 2014).

    ES(P, y) = E |Y - y| - 1/2 E |Y - Y'|

The fair estimator averages |Y_i - Y_j| over i != j only, so its expectation does not depend on the number of members and is
least where the members' law is the data's law. In one dimension it is the CRPS.
"""

import math

import torch
from torch import Tensor

_TINY = 1e-12  # under square roots: the gradient of a norm at zero


def fair_crps(members: Tensor, observed: Tensor) -> Tensor:
    """members (member, ...), observed (...) -> (...), element by element."""
    count = members.shape[0]
    skill = (members - observed).abs().mean(dim=0)
    # Sum over pairs from order statistics: sum_i (2 i - n - 1) y_(i), i = 1..n.
    ordered = members.sort(dim=0).values
    weights = (2.0 * torch.arange(1, count + 1, device=members.device, dtype=members.dtype) - count - 1).reshape(
        -1, *[1] * observed.dim()
    )
    spread = (weights * ordered).sum(dim=0) / (count * (count - 1))
    return skill - spread


def fair_energy_score(members: Tensor, observed: Tensor) -> Tensor:
    """members (member, batch, feature), observed (batch, feature) -> (batch,)."""
    count = members.shape[0]
    skill = ((members - observed).square().sum(dim=-1) + _TINY).sqrt().mean(dim=0)
    gaps = ((members[:, None] - members[None]).square().sum(dim=-1) + _TINY).sqrt()
    score: Tensor = skill - 0.5 * gaps.sum(dim=(0, 1)) / (count * (count - 1))
    return score


def path_score(members: Tensor, observed: Tensor, path_weight: float) -> Tensor:
    """Score of whole windows and of every output at every step, both per scalar.

    members (member, batch, step, output), observed (batch, step, output), scaled so that errors of 1 matter alike -> ().
    """
    single = fair_crps(members, observed).mean()
    if path_weight == 0.0:
        return single
    size = observed.shape[1] * observed.shape[2]
    path = fair_energy_score(members.flatten(2), observed.flatten(1)).mean() / math.sqrt(size)
    score: Tensor = (1.0 - path_weight) * single + path_weight * path
    return score
