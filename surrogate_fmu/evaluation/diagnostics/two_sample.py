"""Are two samples of vectors of one law? Measures of different kinds, because each is blind to something.

Everywhere: first, second (sample, property), scaled alike; `floor` is what two samples of one law of that size give.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]
_STEPS, _WIDTH = 300, 32


def wasserstein1(first: Array, second: Array) -> Array:
    """The 1-Wasserstein distance of every property, (property,): the mean distance of quantiles."""
    levels = (np.arange(200) + 0.5) / 200
    distance: Array = np.abs(np.quantile(first, levels, axis=0) - np.quantile(second, levels, axis=0)).mean(axis=0)
    return distance


def kernel_discrepancy(first: Array, second: Array) -> float:
    """Unbiased squared maximum mean discrepancy, a mixture of Gaussian kernels (Gretton et al., JMLR 13, 2012); 0 for one law."""
    within, others, across = (_distances(a, b) for a, b in ((first, first), (second, second), (first, second)))
    scale = max(float(np.median(across)), 1e-12)

    def kernel(distance: Array) -> Array:
        values: Array = np.mean([np.exp(-0.5 * (distance / (scale * width)) ** 2) for width in (0.25, 0.5, 1.0, 2.0)], axis=0)
        return values

    def off_diagonal(values: Array) -> float:
        return float((values.sum() - np.trace(values)) / (len(values) * (len(values) - 1)))

    return off_diagonal(kernel(within)) + off_diagonal(kernel(others)) - 2.0 * float(kernel(across).mean())


def nearest_neighbour_accuracy(first: Array, second: Array) -> float:
    """Leave-one-out accuracy of the nearest neighbour (Lopez-Paz and Oquab, ICLR 2017): 0.5 for one law, 1 for laws apart.

    Below 0.5 each sample of one lies next to one of the other: copies.
    """
    both = np.concatenate([first, second])
    label = np.arange(len(both)) < len(first)
    distance = _distances(both, both)
    np.fill_diagonal(distance, np.inf)
    return float((label[distance.argmin(axis=1)] == label).mean())


def frechet_distance(first: Array, second: Array) -> float:
    """The 2-Wasserstein distance of the normal laws of equal means and covariances (Heusel et al., NeurIPS 2017), squared.

    Blind to all but mean and covariance: points that are repeated a thousand times can have both right.
    """
    means, covariances = zip(*((some.mean(axis=0), np.cov(some, rowvar=False)) for some in (first, second)), strict=True)
    one, other = (np.atleast_2d(covariance) for covariance in covariances)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # the trace of the root of one @ other, also where properties depend on each other and a covariance is singular
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0.0)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(one + other) - 2.0 * shared)


def precision_recall(first: Array, second: Array, neighbours: int = 3) -> tuple[float, float]:
    """Share of `second` inside the manifold of `first`, and the reverse (Kynkaanniemi et al., NeurIPS 2019).

    A manifold is the union of balls around the samples that reach to their k-th neighbour. Precision falls for samples that the
    first could not give, recall for what the second does not give any more: a collapse.
    """

    def covered(points: Array, manifold: Array) -> float:
        own = _distances(manifold, manifold)
        radius = np.sort(own, axis=1)[:, neighbours]
        return float((_distances(points, manifold) <= radius).any(axis=1).mean())

    return covered(second, first), covered(first, second)


def classifier_auc(first: Array, second: Array, seed: int = 0, width: int = _WIDTH) -> float:
    """Area under the curve of a small network that tells the two apart (C2ST; Lopez-Paz and Oquab, ICLR 2017); 0.5 for one law.

    Trained on one half and tested on the other, and the reverse.
    """
    data = torch.tensor(np.concatenate([first, second]), dtype=torch.float32)
    label = torch.cat([torch.ones(len(first)), torch.zeros(len(second))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.randperm(len(data))
        halves = (order[::2], order[1::2])
        score = torch.empty(len(data))
        for train, test in (halves, halves[::-1]):
            network = nn.Sequential(nn.Linear(data.shape[1], width), nn.SiLU(), nn.Linear(width, 1), nn.Flatten(0))
            optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-2)
            for _ in range(_STEPS):
                some = train[torch.randint(len(train), (min(256, len(train)),))]
                optimiser.zero_grad()
                loss = nn.functional.binary_cross_entropy_with_logits(network(data[some]), label[some])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            with torch.no_grad():
                score[test] = torch.sigmoid(network(data[test]))
    ranks = score.numpy().argsort().argsort() + 1.0
    positive = label.numpy() == 1.0
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(data) - count)))


def _distances(first: Array, second: Array) -> Array:
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2.0 * first @ second.T
    distances: Array = np.sqrt(np.maximum(squared, 0.0))
    return distances
