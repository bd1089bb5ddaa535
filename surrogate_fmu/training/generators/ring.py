"""The ring generator: outputs are places on a ring that share one law, quadratic transport and a learned closure with memory."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.generators.roles import find_roles, require
from surrogate_fmu.variables import Variable

_CLOSURE = 0.05  # standard deviations that the closure moves an output in a step, until the data have said
_FIT_ROUNDS = 4  # corrections of the transport; each removes all but a few percent of what is left
_FIT_POINTS = 10_000  # steps of the data that the transport is fitted to


class RingGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (outputs y, memory m of every place), scaled alike for all places.

    With n the outputs of a place and of its neighbours within reach, one step of a place is

        f(y) = n' Q n + q n + d x + e                      transport: what a discretised equation on a ring does
        m'   = m + rate * (trunk(n, f, m, x, z) - m)       a leaky memory with time constants from one step to the run
        y'   = y moved by f + closure(n, f, m', x, z)      the classical Runge-Kutta method, the closure held

    Transport starts from least squares (`fit_transport`), after which the closure has to say only what neighbours do not:
    what is hidden, and chance. Every place has its own share of the latents. Run latents say in which state what is hidden
    begins, so they shape the memory at the start and nothing later. Physical units at the interface, float32.

    Args:
        variables: inputs, parameters and outputs, these in the order of their places.
        config: sizes; `memory_dim` units per place.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the memory.
        coefficients: of balances, of which a ring has none.

    Raises:
        ConfigError: there are balances, an output has no start, or latents cannot be shared among the places.
    """

    condition_mean: Tensor
    condition_std: Tensor
    output_mean: Tensor
    output_std: Tensor
    start_map: Tensor
    stepping: Tensor
    neighbours: Tensor
    closure_scale: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        config: GeneratorConfig,
        scaling: Scaling,
        time_constants: tuple[float, float],
        coefficients: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        roles = find_roles(variables, config)
        places, reach = len(roles.outputs), config.ring.reach
        _check(config, roles.parameters, places)
        stepping = [place for place in roles.stepping if roles.condition[place] not in config.ring.starts]
        self.output_dim = self.places = places
        self.run_latent_dim = config.run_latent_dim
        self.memory_dim, self.driven, self.seen_dim = config.memory_dim, len(stepping), 2 * reach + 1
        self.hidden_dim = places * (1 + config.memory_dim)
        around = (np.arange(places)[:, None] + np.arange(-reach, reach + 1)) % places
        self.register_buffer("neighbours", torch.tensor(around.ravel()))
        self.register_buffer("stepping", torch.tensor(stepping, dtype=torch.int64))
        start_map = np.zeros((len(roles.condition), places))
        for place, name in enumerate(config.ring.starts):
            start_map[roles.condition.index(name), place] = 1.0
        mean = float(np.mean(scaling.output_mean))
        std = math.sqrt(float(np.mean(scaling.output_std**2 + (scaling.output_mean - mean) ** 2)))
        for key, value in (
            ("condition_mean", scaling.condition_mean[stepping]),
            ("condition_std", scaling.condition_std[stepping]),
            ("output_mean", mean),
            ("output_std", std),
            ("start_map", start_map),
            ("closure_scale", _CLOSURE),
        ):
            self.register_buffer(key, torch.tensor(np.asarray(value), dtype=torch.float32))
        # f(y) = sum over columns of (n Q + q) * n, and the share of the inputs.
        self.quadratic = nn.Parameter(torch.zeros(self.seen_dim, self.seen_dim))
        self.linear = nn.Parameter(torch.zeros(self.seen_dim))
        self.drive = nn.Linear(self.driven, 1)
        nn.init.zeros_(self.drive.weight)
        nn.init.zeros_(self.drive.bias)
        width, latent_dim = config.width, config.step_latent_dim // places
        # First layers of trunk and head in two parts: what is known of all steps, and the state.
        self.known = nn.Linear(self.driven + latent_dim, 2 * width)
        self.trunk_state = nn.Linear(self.seen_dim + 1 + self.memory_dim, width, bias=False)
        self.trunk = nn.Linear(width, self.memory_dim)
        self.head_state = nn.Linear(self.seen_dim + 1 + self.memory_dim, width, bias=False)
        self.head = nn.Linear(width, 1)
        start_dim = self.seen_dim + self.driven + config.run_latent_dim // places
        self.start = nn.Sequential(nn.Linear(start_dim, width), nn.SiLU(), nn.Linear(width, self.memory_dim))
        constants = torch.logspace(math.log10(time_constants[0]), math.log10(time_constants[1]), self.memory_dim)
        self.rate_logit = nn.Parameter(torch.logit(1.0 - torch.exp(-1.0 / constants)))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        y = (x @ self.start_map - self.output_mean) / self.output_std
        own = z[:, : self.run_latent_dim].reshape(-1, self.places, self.run_latent_dim // self.places)
        seen = torch.cat([self.around(y), self.everywhere(self.scaled(x)), own], dim=2)
        memory = torch.tanh(self.start(seen)).reshape(-1, self.places * self.memory_dim)
        return y * self.output_std + self.output_mean, torch.cat([y, memory], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        y, memory = h[:, : self.places], h[:, self.places :].reshape(-1, self.places, self.memory_dim)
        own = z[:, self.run_latent_dim :].reshape(-1, self.places, (z.shape[1] - self.run_latent_dim) // self.places)
        scaled = self.scaled(x)
        trunk, head = self.known(torch.cat([self.everywhere(scaled), own], dim=2)).chunk(2, dim=2)
        y, memory = self.step(trunk, head, self.drive(scaled), torch.sigmoid(self.rate_logit), y, memory)
        hidden = torch.cat([y, memory.reshape(-1, self.places * self.memory_dim)], dim=1)
        return y * self.output_std + self.output_mean, hidden

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        """All steps of a window, one after the other.

        Args:
            x: (batch, step, condition_dim).
            z: (copies x batch, step, latent_dim), several runs under each condition, one copy of the batch after the other.
            points: which points to return, 0 is the start; None returns all.
            near: of no use here; for generators that compute a window at once.

        Returns:
            (copies x batch, point, output_dim), physical units.
        """
        x = x.repeat(len(z) // len(x), 1, 1)
        _, h = self.initial(x[:, 0], z[:, 0])
        y, memory = h[:, : self.places], h[:, self.places :].unflatten(1, (self.places, self.memory_dim))
        scaled, rate = self.scaled(x), torch.sigmoid(self.rate_logit)
        own = z[..., self.run_latent_dim :].unflatten(2, (self.places, -1))
        known = self.known(torch.cat([scaled.unsqueeze(2).expand(-1, -1, self.places, -1), own], dim=3))
        path = [y]
        for first, drive in zip(known.unbind(1), self.drive(scaled).unbind(1), strict=True):
            trunk, head = first.chunk(2, dim=2)
            y, memory = self.step(trunk, head, drive, rate, y, memory)
            path.append(y)
        chosen = path if points is None else [path[point] for point in points.tolist()]
        return torch.stack(chosen, dim=1) * self.output_std + self.output_mean

    def step(
        self, trunk: Tensor, head: Tensor, drive: Tensor, rate: Tensor, y: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step of y (batch, place) and memory (batch, place, unit).

        `trunk` and `head` (batch, place, width) are what first layers know of the step, `drive` (batch, 1) moves all places.
        """
        seen = self.around(y)
        first = self.transport(seen) + drive
        state = torch.cat([seen, first.unsqueeze(2)], dim=2)
        hidden = silu(trunk + self.trunk_state(torch.cat([state, memory], dim=2)))
        memory = torch.lerp(memory, torch.tanh(self.trunk(hidden)), rate)
        hidden = silu(head + self.head_state(torch.cat([state, memory], dim=2)))
        held = drive + self.closure_scale * self.head(hidden).squeeze(2)
        return self.moved(y, first + held - drive, held), memory

    def moved(self, y: Tensor, first: Tensor, held: Tensor) -> Tensor:
        """y (batch, place) after a step; `first` is its tendency at the start, `held` what of it does not change."""
        second = self.transport(self.around(y + 0.5 * first)) + held
        third = self.transport(self.around(y + 0.5 * second)) + held
        fourth = self.transport(self.around(y + third)) + held
        return y + (first + 2.0 * (second + third) + fourth) / 6.0

    def transport(self, seen: Tensor) -> Tensor:
        """Tendency (batch, place) per step, of what places see (batch, place, seen)."""
        return ((seen @ self.quadratic + self.linear) * seen).sum(dim=2)

    def around(self, y: Tensor) -> Tensor:
        """What places see of y (batch, place): (batch, place, seen)."""
        return y.index_select(1, self.neighbours).reshape(-1, self.places, self.seen_dim)

    def everywhere(self, scaled: Tensor) -> Tensor:
        """Something of the whole ring (batch, feature) at every place, (batch, place, feature)."""
        return scaled.unsqueeze(1).expand(-1, self.places, -1)

    def scaled(self, x: Tensor) -> Tensor:
        """The part of x (..., condition_dim) that acts during a run, scaled."""
        return (x.index_select(-1, self.stepping) - self.condition_mean) / self.condition_std

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def fit_transport(self, runs: Trajectories) -> None:
        """Set transport to what follows recorded steps best in the mean of squares, and the closure's scale to what is left."""
        with torch.no_grad():
            kind = torch.float64
            outputs = (torch.tensor(runs.outputs, dtype=kind) - self.output_mean) / self.output_std
            stride = max(1, outputs[:, 1:, 0].numel() // _FIT_POINTS)
            before, after = (part.flatten(0, 1)[::stride] for part in (outputs[:, :-1], outputs[:, 1:]))
            x = torch.tensor(runs.conditions(), dtype=kind).flatten(0, 1)[::stride]
            solver = self.to(kind)
            scaled = self.scaled(x)
            upper = torch.triu_indices(self.seen_dim, self.seen_dim)

            def features(y: Tensor) -> Tensor:
                seen = self.around(y)
                known = torch.cat([scaled, torch.ones(len(scaled), 1, dtype=kind)], dim=1)
                return torch.cat([seen[..., upper[0]] * seen[..., upper[1]], seen, self.everywhere(known)], dim=2).flatten(0, 1)

            at_start, left = features(before), after - before
            for _ in range(_FIT_ROUNDS):
                held = self.drive(scaled)
                ahead = self.moved(before, self.transport(self.around(before)) + held, held.expand_as(before))
                left = after - ahead
                middle = 0.5 * (at_start + features(ahead))
                # An input that never changes leaves the matrix singular.
                change = torch.linalg.pinv(middle.t() @ middle, hermitian=True) @ (middle.t() @ left.flatten())
                quadratic, linear, drive, level = change.split([upper.shape[1], self.seen_dim, self.driven, 1])
                self.quadratic[upper[0], upper[1]] += quadratic
                self.linear += linear
                self.drive.weight += drive
                self.drive.bias += level
            solver.to(torch.float32)
            self.closure_scale.fill_(float(left.std()))


def _check(config: GeneratorConfig, parameters: Sequence[str], places: int) -> None:
    ring = config.ring
    if config.balances:
        raise ConfigError("a ring has no balances; its transport is fitted to the data")
    if len(ring.starts) != places:
        raise ConfigError(f"ring.starts names {len(ring.starts)} parameters, the ring has {places} outputs that need one each")
    for name in ring.starts:
        require(name, parameters, "parameter")
    if 2 * ring.reach + 1 > places:
        raise ConfigError(f"ring.reach {ring.reach} sees {2 * ring.reach + 1} places, the ring has {places}")
    for key in ("run_latent_dim", "step_latent_dim"):
        if getattr(config, key) % places:
            raise ConfigError(f"{key} {getattr(config, key)} cannot be shared among {places} places; take a multiple of {places}")
