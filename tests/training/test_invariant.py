"""A planted batch effect is forgotten, and what is to be told stays."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.encoders.invariant import InvariantConfig, InvariantEncoder, learn_invariant

ROWS, DOMAINS = 3000, 3


def rigs(seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """A state measured by three rigs: each adds an offset of its own, and heats one more channel."""
    rng = np.random.default_rng(seed)
    domain = rng.integers(DOMAINS, size=ROWS)
    state = rng.normal(size=(ROWS, 2))
    offset = np.array([[1.5, -1.0], [-0.5, 1.5], [-1.0, -0.5]])[domain]
    channel = 2.0 * domain[:, None] + 0.3 * rng.normal(size=(ROWS, 1))
    x = np.hstack([state + offset, channel, 0.1 * rng.normal(size=(ROWS, 1))])
    y = np.stack([np.tanh(state[:, 0]) + 0.5 * state[:, 1], state[:, 1] ** 2], axis=-1)
    return x, y + 0.1 * rng.normal(size=y.shape), domain


def told(model: InvariantEncoder, seed: int) -> float:
    """Share of new rows whose rig another classifier tells from the representation; a third is chance."""
    networks = torch.Generator().manual_seed(seed)
    fresh = [rigs(seed), rigs(seed + 1)]
    seen = [(model.encode(torch.tensor(x, dtype=torch.float32)).detach(), torch.tensor(d)) for x, _, d in fresh]
    scale = seen[0][0].std(dim=0) + 1e-6
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = nn.Sequential(nn.Linear(scale.numel(), 48), nn.SiLU(), nn.Linear(48, DOMAINS))
    optimiser = torch.optim.Adam(classifier.parameters(), 5e-3)
    features, labels = seen[0][0] / scale, seen[0][1]
    for _ in range(400):
        rows = torch.randint(ROWS, (256,), generator=networks)
        loss = nn.functional.cross_entropy(classifier(features[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float((classifier(seen[1][0] / scale).argmax(dim=1) == seen[1][1]).float().mean())


def explained(model: InvariantEncoder, seed: int) -> NDArray:
    """Share of the variance of y that is told, per output, on new rows."""
    x, y, _ = rigs(seed)
    error = y - model(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    return 1.0 - error.var(axis=0) / y.var(axis=0)


def test_a_planted_batch_effect_is_forgotten_and_the_target_stays() -> None:
    x, y, domain = rigs(1)
    plain = learn_invariant(x, y, domain, InvariantConfig(strength=0.0))
    forgetting = learn_invariant(x, y, domain, InvariantConfig(strength=1.0))
    assert told(plain, 5) > 0.8
    assert told(forgetting, 5) < 0.5
    assert (explained(plain, 9) > 0.9).all()
    assert (explained(forgetting, 9) > 0.9).all()


def test_data_that_cannot_be_used_are_refused() -> None:
    x, y, domain = rigs(1)
    with pytest.raises(TrainingError, match="x has 2999 rows, y 3000, domains 3000"):
        learn_invariant(x[1:], y, domain)
    with pytest.raises(TrainingError, match="not finite"):
        learn_invariant(np.where(x > 3.0, np.nan, x), y, domain)
    with pytest.raises(TrainingError, match=r"domains need two or more of 8 rows at least to be told apart; got \{0: 3000\}"):
        learn_invariant(x, y, np.zeros_like(domain))
    with pytest.raises(ValueError, match="strength not negative"):
        InvariantConfig(strength=-1.0)
