"""An explicit density at the head of a generator: a mixture of Gaussians of which z draws, and which can be written down.

    p(y | x, h) = sum_k pi_k(x, h) N(y; mu_k(x, h), diag s_k(x, h)^2)

(Bishop, "Mixture Density Networks", 1994). A session draws as from every other generator: the first step latent chooses the
component, u = Phi(z_1) against the cumulated pi_k, the others are the noise. One component is a Gaussian.
"""

import math

import torch
from torch import Tensor

_LOG_SCALE = (-8.0, 4.0)


def parameter_count(components: int, outputs: int) -> int:
    """Numbers that a head gives for a mixture: means, logarithms of scales, logits of the weights."""
    return components * (2 * outputs + 1)


def noise_count(components: int, outputs: int) -> int:
    """Step latents that a draw takes."""
    return outputs + (1 if components > 1 else 0)


def draw_mixture(parameters: Tensor, noise: Tensor, components: int, outputs: int) -> Tensor:
    """A draw (batch, outputs).

    Args:
        parameters: (batch, parameter_count).
        noise: (batch, at least noise_count), standard normal.
        components, outputs: sizes.
    """
    size = components * outputs
    means = parameters[:, :size]
    scales = torch.exp(torch.clamp(parameters[:, size : 2 * size], -8.0, 4.0))
    if components == 1:
        return means + scales * noise[:, :outputs]
    weights = torch.softmax(parameters[:, 2 * size :], 1)
    place = 0.5 * (1.0 + torch.erf(noise[:, :1] * 0.7071067811865476))
    level = torch.zeros_like(means[:, :outputs])
    below = torch.zeros_like(place)
    free = torch.ones_like(place)  # until a component is chosen; the last takes what rounding leaves
    for k in range(components):
        below = below + weights[:, k : k + 1]
        chosen = free
        if k + 1 < components:
            chosen = free * (place < below).to(means.dtype)
        free = free - chosen
        first, last = k * outputs, (k + 1) * outputs
        level = level + chosen * (means[:, first:last] + scales[:, first:last] * noise[:, 1 : 1 + outputs])
    return level


def log_density(parameters: Tensor, values: Tensor, components: int) -> Tensor:
    """Logarithm of the mixture's density at values (batch, outputs): (batch,)."""
    outputs = values.shape[1]
    means, log_scales, logits = parameters.split([components * outputs, components * outputs, components], dim=1)  # type: ignore[no-untyped-call]
    log_scales = log_scales.clamp(*_LOG_SCALE).reshape(-1, components, outputs)
    deviation = (values[:, None] - means.reshape(-1, components, outputs)) * torch.exp(-log_scales)
    each = -0.5 * deviation.square() - log_scales - 0.5 * math.log(2.0 * math.pi)
    return torch.logsumexp(torch.log_softmax(logits, dim=1) + each.sum(dim=2), dim=1)
