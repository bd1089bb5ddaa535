"""Which individual a run shows: exact where the generator is linear, and led back to the standard normal."""

import copy

import pytest
import torch
from torch import Tensor

from surrogate_fmu.training.config import PosteriorConfig
from surrogate_fmu.training.posterior import RunPosterior

POINTS, LATENTS, RUNS = 30, 3, 400
CONFIG = PosteriorConfig(points=POINTS, effective_points=POINTS)


def linear_world(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Runs y = A z + noise of standard deviation 1: A (point, latent), z (run, latent), y (run, point)."""
    random = torch.Generator().manual_seed(seed)
    matrix, latents = torch.randn(POINTS, LATENTS, generator=random), torch.randn(RUNS, LATENTS, generator=random)
    return matrix, latents, latents @ matrix.mT + torch.randn(RUNS, POINTS, generator=random)


def test_in_a_linear_world_the_posterior_is_that_of_bayes():
    matrix, _, observed = linear_world()
    observed = 0.3 * observed  # so that no step is clipped
    posterior = RunPosterior(CONFIG, RUNS, LATENTS)
    runs = torch.arange(0, RUNS, 2)

    def residuals(z: Tensor) -> Tensor:
        return z @ matrix.mT - observed[runs].repeat(len(z) // len(runs), 1)

    drawn = posterior.draw(runs, residuals, torch.Generator().manual_seed(1))
    precision = matrix.mT @ matrix + torch.eye(LATENTS)
    mean = observed[runs] @ matrix @ torch.linalg.inv(precision)
    assert torch.allclose(posterior.mean[runs], mean, atol=2e-4)
    assert torch.allclose(posterior.covariance[runs], torch.linalg.inv(precision).expand(len(runs), -1, -1), atol=1e-4)
    # Draws scatter about the mean with that covariance: 200 of them tell it to about a tenth.
    deviation = drawn - mean
    assert torch.allclose(deviation.mT @ deviation / len(runs), torch.linalg.inv(precision), atol=0.01)
    assert torch.equal(posterior.mean[1::2], torch.zeros(RUNS // 2, LATENTS))  # runs that were not visited


def test_runs_that_say_nothing_keep_the_prior():
    posterior = RunPosterior(CONFIG, 2000, LATENTS)
    drawn = posterior.draw(torch.arange(2000), lambda z: torch.zeros(len(z), POINTS), torch.Generator().manual_seed(1))
    assert torch.equal(posterior.mean, torch.zeros(2000, LATENTS))
    assert drawn.std().item() == pytest.approx(1.0, abs=0.05)


class _Told:
    """A generator that only notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor]] = []

    def recentre_latents(self, mean: Tensor, factor: Tensor) -> None:
        self.calls.append((mean, factor))


def test_individuals_are_led_to_mean_zero_and_covariance_one():
    posterior = RunPosterior(CONFIG, RUNS, LATENTS)
    random = torch.Generator().manual_seed(2)
    skew = torch.eye(LATENTS) + 0.4 * torch.randn(LATENTS, LATENTS, generator=random)
    individuals = torch.randn(RUNS, LATENTS, generator=random) @ skew + 0.5
    posterior.mean = individuals.clone()
    posterior.covariance = 0.1 * torch.eye(LATENTS).repeat(RUNS, 1, 1)
    told = _Told()
    for _ in range(400):
        posterior.recentre([told])
    deviation = posterior.mean - posterior.mean.mean(dim=0)
    covariance = deviation.mT @ deviation / RUNS + posterior.covariance.mean(dim=0)
    assert posterior.mean.mean(dim=0).abs().max().item() < 1e-3
    assert torch.allclose(covariance, torch.eye(LATENTS), atol=1e-2)
    # What the generator was told, put together, leads from the new latents to the old ones.
    back = posterior.mean
    for mean, factor in reversed(told.calls):
        back = back @ factor.mT + mean
    assert torch.allclose(back, individuals, atol=1e-3)


def test_a_checkpoint_restores_the_posterior():
    matrix, _, observed = linear_world()
    runs = torch.arange(RUNS)

    def residuals(z: Tensor) -> Tensor:
        return z @ matrix.mT - observed.repeat(len(z) // RUNS, 1)

    first, second = RunPosterior(CONFIG, RUNS, LATENTS), RunPosterior(CONFIG, RUNS, LATENTS)
    first.draw(runs, residuals, torch.Generator().manual_seed(1))
    second.load(copy.deepcopy(first.state()))
    draws = [each.draw(runs, residuals, torch.Generator().manual_seed(4)) for each in (first, second)]
    assert torch.equal(*draws)
