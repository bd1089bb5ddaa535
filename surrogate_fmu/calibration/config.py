"""How a unit is calibrated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.manifest import Interval


class Method(StrEnum):
    """How the posterior is found; each gives an ensemble of members."""

    GRADIENT = "gradient"
    """The most probable unknowns by gradients through the generator, and a Gaussian around them (Laplace's approximation)."""
    ENKF = "enkf"
    """Ensemble Kalman inversion: no gradients; exact where outputs are linear in the unknowns."""
    PARTICLES = "particles"
    """A particle filter with moves: any shape of the posterior, at the price of many more runs."""


@dataclass(frozen=True)
class CalibrationConfig:
    """What is inferred, and how.

    Attributes:
        method: how the posterior is found.
        members: of the posterior ensemble.
        seed: of its draws.
        estimate: parameters that are inferred along with the latents, each with its range; they are uniform there before anything
            is measured. None is the range of the training data.
        noise: standard deviation of what separates a measured output from the generator's, by name, in the output's unit: noise
            of the sensor and error of the generator together.
        noise_share: the same for outputs without an entry, as a share of the output's spread between units in the window.

    Raises:
        ConfigError: a value cannot be used.
    """

    method: Method = Method.GRADIENT
    members: int = 512
    seed: int = 0
    estimate: Mapping[str, Interval | None] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    noise_share: float = 0.2

    def __post_init__(self) -> None:
        if self.members < 2:
            raise ConfigError(f"members {self.members} must be at least 2")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed {self.seed} must be from 0 to 2^63 - 1")
        if not (math.isfinite(self.noise_share) and self.noise_share > 0):
            raise ConfigError(f"noise_share {self.noise_share} must be above 0; 0.2 is a fifth of the spread between units")
        for name, value in self.noise.items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"the noise of {name!r} is {value}; it must be a standard deviation above 0")
        for name, interval in self.estimate.items():
            if interval is not None and not -math.inf < interval.min < interval.max < math.inf:
                raise ConfigError(f"the range of {name!r} is {interval.min} to {interval.max}; the lower end must be below")
