"""The evidence lower bound of a variational autoencoder over runs (Kingma and Welling, ICLR 2014).

    ELBO = E_q(z|run) log p(run | z, x) - KL(q(z|run) | N(0, 1))

The noise of p is the one that fits best, in closed form (sigma-VAE; Rybkin, Daniilidis, Levine, ICML 2021): the likelihood
becomes -1/2 log of the mean squared error, per output.
"""

import torch
from torch import Tensor

_TINY = 1e-6


def negative_elbo(error: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The bound per scalar of the window, with its sign turned.

    error (batch, step, output) in a unit that makes outputs comparable; mean, log_variance (batch, latent) -> ().
    """
    fit = 0.5 * (error.square().mean(dim=(0, 1)) + _TINY).log().mean()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1).mean()
    return fit + divergence / (error.shape[1] * error.shape[2])


def draw_posterior(mean: Tensor, log_variance: Tensor, random: torch.Generator) -> Tensor:
    """One latent per run, (batch, latent), differentiable in mean and log-variance."""
    return mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=random)
