"""Published parametrisations of the fast ring: the resolved equations are known, U of the unresolved scale is modelled.

    dX_k/dt = -X_(k-1) (X_(k-2) - X_(k+1)) - X_k + F - U_k,    steps of 0.005 MTU, second-order Runge-Kutta, U held

as in Gagne et al. (JAMES 12, 2020) and Parthipan et al. (GMD 16, 2023). U of recorded runs is what this integrator leaves, so that
it is free of the integrator's own error.
"""

import time
from typing import Protocol

import numpy as np
import torch
from lorenz96_truth import FINE, SUBSTEPS, Runs, plant
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import selu

Array = NDArray[np.floating]


class Closure(Protocol):
    """A model of U with memory."""

    def start(self, slow: Array, random: np.random.Generator) -> Array:
        """The memory (run, K) at the start of runs."""
        ...

    def draw(self, slow: Array, memory: Array, random: np.random.Generator) -> tuple[Array, Array]:
        """U (run, K) over the next step, and the memory after it."""
        ...


def resolved(slow: Array) -> Array:
    """X (..., K) after one step without U, midpoint method."""
    middle = slow + 0.5 * FINE * _tendency(slow)
    result: Array = slow + FINE * _tendency(middle)
    return result


def unresolved(runs: Runs) -> tuple[Array, Array]:
    """X and U (run, step, K) of recorded runs."""
    before = runs.fine[:, :-1].astype(np.float64)
    return before, (resolved(before) - runs.fine[:, 1:]) / FINE


def run(closure: Closure, slow: Array, steps: int, random: np.random.Generator) -> Array:
    """Runs (run, step + 1, K) at every STEP MTU from X (run, K)."""
    slow = slow.astype(np.float64)
    memory, path = closure.start(slow, random), [slow]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            for _ in range(SUBSTEPS):
                forcing, memory = closure.draw(slow, memory, random)
                slow = resolved(slow) - FINE * forcing
            path.append(slow)
    return np.stack(path, axis=1).astype(np.float32)


def _tendency(slow: Array) -> Array:
    around = np.concatenate([slow[..., -2:], slow, slow[..., :1]], axis=-1)
    result: Array = around[..., 1:-2] * (around[..., 3:] - around[..., :-3]) - slow + plant.FORCING
    return result


class Polynomial:
    """U = cubic polynomial of X + AR(1) noise (Wilks, QJRMS 131, 2005; Arnold et al., Phil. Trans. A 371, 2013).

    Args:
        runs: that it is fitted to.
        noise: without it, the deterministic parametrisation.
    """

    def __init__(self, runs: Runs, noise: bool = True) -> None:
        begin = time.process_time()
        slow, forcing = unresolved(runs)
        self.coefficients = np.polyfit(slow.ravel()[::7], forcing.ravel()[::7], 3)
        rest = forcing - np.polyval(self.coefficients, slow)
        self.sigma = float(rest.std()) if noise else 0.0
        self.phi = float((rest[:, 1:] * rest[:, :-1]).sum() / (rest[:, :-1] ** 2).sum())
        self.cpu_s = time.process_time() - begin

    def start(self, slow: Array, random: np.random.Generator) -> Array:
        return self.sigma * random.standard_normal(slow.shape)

    def draw(self, slow: Array, memory: Array, random: np.random.Generator) -> tuple[Array, Array]:
        kick = self.sigma * np.sqrt(1.0 - self.phi**2)
        return np.polyval(self.coefficients, slow) + memory, self.phi * memory + kick * random.standard_normal(slow.shape)


class _Dense(nn.Module):
    """Two hidden layers of 16 with SELU, and noise on what enters and on both of them."""

    def __init__(self, inputs: int, noise: float) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(inputs, 16), nn.Linear(16, 16), nn.Linear(16, 1)
        self.noise = noise

    def forward(self, inputs: Tensor, random: torch.Generator | None) -> Tensor:
        hidden = selu(self.first(self._noisy(inputs, random)))
        hidden = selu(self.second(self._noisy(hidden, random)))
        result: Tensor = self.last(self._noisy(hidden, random))
        return result

    def _noisy(self, tensor: Tensor, random: torch.Generator | None) -> Tensor:
        return tensor if random is None else tensor + self.noise * torch.randn(tensor.shape, generator=random)


class Gan:
    """U_t drawn by a conditional GAN from X_t, U_(t-1) and white noise: the configuration "XU" of Gagne et al. (2020).

    After the paper: generator and discriminator of two hidden layers of 16 (SELU), noise in every layer, batch normalization of
    what the generator gives, binary cross-entropy, Adam with 1e-4 and beta_1 = 0.5, batches of 1024, weights decayed with 0.001.

    Args:
        runs: that it is trained on.
        seed: of weights, batches and noise.
        epochs: passes through all X_k of all runs.
        budget_s: CPU seconds after which training ends in any case.
        noise: standard deviation of the noise in the layers.
    """

    def __init__(self, runs: Runs, seed: int, epochs: int = 30, budget_s: float = 600.0, noise: float = 0.01) -> None:
        begin = time.process_time()
        slow, forcing = unresolved(runs)
        self._scales = [(float(part.mean()), float(part.std())) for part in (slow, forcing)]
        columns = [self._scaled(slow[:, 1:], 0), self._scaled(forcing[:, :-1], 1), self._scaled(forcing[:, 1:], 1)]
        data = torch.tensor(np.stack([column.ravel() for column in columns], axis=1), dtype=torch.float32)
        self._first = Polynomial(runs)
        self._random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._generator, self._critic, self._norm = _Dense(3, noise), _Dense(3, noise), nn.BatchNorm1d(1)
        self.updates = self._train(data, epochs, begin + budget_s)
        self._norm.eval()
        self.cpu_s = time.process_time() - begin

    def _train(self, data: Tensor, epochs: int, deadline: float) -> int:
        players = [[*self._generator.parameters(), *self._norm.parameters()], [*self._critic.parameters()]]
        generator, critic = (torch.optim.Adam(player, 1e-4, (0.5, 0.999)) for player in players)
        updates = 0
        for _ in range(epochs):
            for batch in torch.randperm(len(data), generator=self._random).split(1024):
                if time.process_time() > deadline:
                    return updates
                real, other = data[batch].chunk(2)
                with torch.no_grad():
                    fake = self._fake(other)
                said = [self._critic(rows, self._random) for rows in (real, fake)]
                loss = cross_entropy(said[0], torch.ones_like(said[0])) + cross_entropy(said[1], torch.zeros_like(said[1]))
                critic.zero_grad()
                (0.5 * loss + _decay(self._critic)).backward()
                critic.step()
                said = [self._critic(self._fake(data[batch]), self._random)]
                generator.zero_grad()
                (cross_entropy(said[0], torch.ones_like(said[0])) + _decay(self._generator)).backward()
                generator.step()
                updates += 1
        return updates

    def _fake(self, rows: Tensor) -> Tensor:
        return torch.cat([rows[:, :2], self._draw(rows[:, :2])], dim=1)

    def _draw(self, known: Tensor) -> Tensor:
        latent = torch.randn(len(known), 1, generator=self._random)
        result: Tensor = self._norm(self._generator(torch.cat([known, latent], dim=1), self._random))
        return result

    def start(self, slow: Array, random: np.random.Generator) -> Array:
        """U before the start is not known; the polynomial parametrisation draws it."""
        return self._first.draw(slow, self._first.start(slow, random), random)[0]

    def draw(self, slow: Array, memory: Array, random: np.random.Generator) -> tuple[Array, Array]:
        self._random.manual_seed(int(random.integers(2**62)))
        known = np.stack([self._scaled(slow, 0).ravel(), self._scaled(memory, 1).ravel()], axis=1)
        with torch.no_grad():
            drawn = self._draw(torch.tensor(known, dtype=torch.float32))
        mean, std = self._scales[1]
        forcing = drawn.numpy().astype(np.float64).reshape(slow.shape) * std + mean
        return forcing, forcing

    def _scaled(self, values: Array, which: int) -> Array:
        mean, std = self._scales[which]
        result: Array = (values - mean) / std
        return result


def _decay(network: _Dense) -> Tensor:
    return 0.001 * torch.stack([layer.weight.square().sum() for layer in (network.first, network.second, network.last)]).sum()
