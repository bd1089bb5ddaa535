"""Classifier games on the binary cross-entropy (Goodfellow et al., NeurIPS 2014; smoothing: Salimans et al., NeurIPS 2016).

    critic        min -E [a log s(D(real)) + (1 - a) log s(-D(real))] - E [b log s(D(fake)) + (1 - b) log s(-D(fake))]
    minimax       min  E log s(-D(fake))        vanishes where the critic is sure
    non-saturating  min -E log s(D(fake))

with s the logistic function; a = 1 and b = 0 without smoothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from surrogate_fmu.training.objectives.games.protocol import Critic, Unconstrained


@dataclass(frozen=True)
class CrossEntropy(Unconstrained):
    """The classifier as critic.

    Attributes:
        saturating: the generator's original loss, which the classifier's certainty makes flat.
        real_label: a; below 1 is one-sided label smoothing.
        fake_label: b; above 0 smooths the other side too.
        label_noise: share of the labels that are turned round at each step.
    """

    saturating: bool = False
    real_label: float = 1.0
    fake_label: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.fake_label < self.real_label <= 1.0:
            raise ValueError(f"labels must obey 0 <= fake_label < real_label <= 1, got {self.fake_label:g} and {self.real_label:g}")
        if not 0.0 <= self.label_noise < 0.5:
            raise ValueError(f"label_noise {self.label_noise:g} must be from 0 to below 0.5, where labels say nothing any more")

    def critic_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        return self._entropy(critic(real), self.real_label) + self._entropy(critic(fake), self.fake_label)

    def generator_loss(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """See `Game`."""
        score = critic(fake)
        return -softplus(score).mean() if self.saturating else softplus(-score).mean()

    def _entropy(self, score: Tensor, label: float) -> Tensor:
        target = torch.full_like(score, label)
        if self.label_noise:
            target = torch.where(torch.rand_like(score) < self.label_noise, 1.0 - target, target)
        return (target * softplus(-score) + (1.0 - target) * softplus(score)).mean()
