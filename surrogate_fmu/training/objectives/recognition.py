"""Recognising the individual of a recorded run, so that its difference from the others is signal and no noise to the fit."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from surrogate_fmu.training.config import PosteriorConfig, TrainingConfig
from surrogate_fmu.training.encoders.run import RunEncoder
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.generators.wiener import WienerGenerator
from surrogate_fmu.training.objectives.protocol import Batch
from surrogate_fmu.training.objectives.reconstruction import draw_posterior, negative_elbo
from surrogate_fmu.training.posterior import RunPosterior
from surrogate_fmu.training.rollout import WindowRoller, stream

_FORGETTING = 0.05  # of the known size of errors at each update
_FIRST_ERROR = 2.0  # in units of the conditional spread, before anything was fitted


class Recognition(Protocol):
    """A loss that asks the generator to follow the very runs that were recorded."""

    def loss(self, roller: WindowRoller, batch: Batch, unit: Tensor, expected: Tensor, points: Tensor) -> Tensor:
        """The loss (), per scalar of the window.

        Args:
            roller: rolls the generator under the batch's conditions.
            batch: the recorded windows.
            unit: (batch, 1, output_dim), in which errors of 1 matter alike.
            expected: (batch, step, output_dim), the mean over individuals under each window's schedule, as far as known.
            points: (point,), which points to look at, 1 to step.
        """
        ...

    def parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that the generator's optimiser trains along."""
        ...

    def after_update(self, generators: Sequence[Generator]) -> None:
        """Called with the generator and its average when the weights have changed."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        ...


class EncoderRecognition:
    """An encoder reads the run; with the generator as its decoder it is a variational autoencoder."""

    def __init__(self, config: TrainingConfig, generator: Generator, scales: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        self._condition_mean, self._condition_std, self._output_mean, self._output_std = scales
        self._random = stream(config.seed + 2)
        self._encoder = RunEncoder(
            generator.output_dim, len(self._condition_mean), generator.run_latent_dim, config.energy.encoder_width
        )

    def loss(self, roller: WindowRoller, batch: Batch, unit: Tensor, expected: Tensor, points: Tensor) -> Tensor:
        observed = batch.observed[:, 1:]
        level = (expected - self._output_mean) / self._output_std
        condition = (batch.conditions - self._condition_mean) / self._condition_std
        centre, log_variance = self._encoder((observed - expected) / unit, level, condition)
        followed = roller.roll(roller.follow(draw_posterior(centre, log_variance, self._random)), points)[0]
        return negative_elbo((followed - batch.observed[:, points]) / unit, centre, log_variance)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._encoder.parameters()

    def after_update(self, generators: Sequence[Generator]) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {"encoder": self._encoder.state_dict(), "random": self._random.get_state()}

    def load(self, state: dict[str, Any]) -> None:
        self._encoder.load_state_dict(state["encoder"])
        self._random.set_state(state["random"])


class PosteriorRecognition:
    """Least squares finds the individual; the generator then follows the run in mean absolute error.

    That is the CRPS of a sure forecast, so it can be added to the score of drawn members without a unit of its own.
    """

    def __init__(self, config: TrainingConfig, generator: WienerGenerator, run_count: int) -> None:
        self._config: PosteriorConfig = config.posterior
        self._generator = generator
        self._posterior = RunPosterior(config.posterior, run_count, generator.run_latent_dim)
        self._random = stream(config.seed + 2)
        self._squared_error = torch.full((generator.output_dim,), _FIRST_ERROR**2)

    def loss(self, roller: WindowRoller, batch: Batch, unit: Tensor, expected: Tensor, points: Tensor) -> Tensor:
        steps, generator = batch.conditions.shape[1], self._generator
        looked = 1 + torch.randperm(steps, generator=self._random)[: self._config.points].sort().values
        noise = unit * (self._squared_error.sqrt() + self._config.noise_floor)

        def residuals(individuals: Tensor) -> Tensor:
            followed = generator.reconstruct(batch.conditions, individuals, batch.observed, looked)
            error = followed.unflatten(0, (-1, len(batch.runs))) - batch.observed[:, looked]
            scaled: Tensor = (error / noise).flatten(0, 1).flatten(1)
            return scaled

        individuals = self._posterior.draw(batch.runs, residuals, self._random)
        followed = generator.reconstruct(batch.conditions, individuals, batch.observed, points)
        error: Tensor = (followed - batch.observed[:, points]) / unit
        squared = error.detach().square().mean(dim=(0, 1))
        self._squared_error = torch.lerp(self._squared_error, squared, _FORGETTING)
        return error.abs().mean()

    def parameters(self) -> Iterable[nn.Parameter]:
        return ()

    def after_update(self, generators: Sequence[Generator]) -> None:
        self._posterior.recentre([g for g in generators if isinstance(g, WienerGenerator)])

    def state(self) -> dict[str, Any]:
        random = self._random.get_state()
        return {"posterior": self._posterior.state(), "random": random, "squared_error": self._squared_error}

    def load(self, state: dict[str, Any]) -> None:
        self._posterior.load(state["posterior"])
        self._random.set_state(state["random"])
        self._squared_error = state["squared_error"]
