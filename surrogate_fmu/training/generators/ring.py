"""The ring generator: outputs are places on a ring that share one law, quadratic transport and a learned closure with memory."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from surrogate_fmu.dataset.scaling import Scaling, pool
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.generators.roles import find_roles, require
from surrogate_fmu.variables import Variable

_CLOSURE = 0.05  # standard deviations that the closure moves an output in a step, until the data have said


class RingGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (outputs y, last closure c, memory m), scaled alike for all places.

    With n the outputs of a place and of its neighbours within reach, one step of a place is

        f(y) = n' Q n + q n + d x + e                      transport: what a discretised equation on a ring does
        T(y)                                               y moved by f, by the classical Runge-Kutta method
        m'   = m + rate * (trunk(s, m) - m)                a leaky memory of what was seen, s = (n, T(y) - y, c, x)
        c'   = head(s, m', z)                              closure: what is hidden, and chance
        y'   = T(y) + scale * c'

    So all chance enters through c', which the outputs show: the memory reads nothing but outputs, and along recorded runs it is
    what it would be in a run of the generator. There transport starts from least squares and the closure from its one-step law
    (`surrogate_fmu.training.teacher`), before rollouts are scored. Every place has its own share of the step latents. Physical
    units at the interface, float32.

    Args:
        variables: inputs, parameters and outputs, these in the order of their places.
        config: sizes; `memory_dim` units per place.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the memory.
        coefficients: of balances, of which a ring has none.

    Raises:
        ConfigError: there are balances or run latents, an output has no start, or latents cannot be shared among the places.
    """

    networks = ("remember", "draw_closure")  # what mixed precision may change

    condition_mean: Tensor
    condition_std: Tensor
    output_mean: Tensor
    output_std: Tensor
    start_map: Tensor
    stepping: Tensor
    neighbours: Tensor
    closure_scale: Tensor
    moved_scale: Tensor

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
        self.run_latent_dim = 0
        self.latent_share = config.step_latent_dim // places
        self.memory_dim, self.driven, self.seen_dim = config.memory_dim, len(stepping), 2 * reach + 1
        self.hidden_dim = places * (2 + config.memory_dim)
        around = (np.arange(places)[:, None] + np.arange(-reach, reach + 1)) % places
        self.register_buffer("neighbours", torch.tensor(around.ravel()))
        self.register_buffer("stepping", torch.tensor(stepping, dtype=torch.int64))
        start_map = np.zeros((len(roles.condition), places))
        for place, name in enumerate(config.ring.starts):
            start_map[roles.condition.index(name), place] = 1.0
        mean, std = pool(scaling.output_mean, scaling.output_std)
        for key, value in (
            ("condition_mean", scaling.condition_mean[stepping]),
            ("condition_std", scaling.condition_std[stepping]),
            ("output_mean", mean),
            ("output_std", std),
            ("start_map", start_map),
            ("closure_scale", _CLOSURE),
            ("moved_scale", 1.0),
        ):
            self.register_buffer(key, torch.tensor(np.asarray(value), dtype=torch.float32))
        # f(y) = sum over columns of (n Q + q) * n, and the share of the inputs.
        self.quadratic = nn.Parameter(torch.zeros(self.seen_dim, self.seen_dim))
        self.linear = nn.Parameter(torch.zeros(self.seen_dim))
        self.drive = nn.Linear(self.driven, 1)
        nn.init.zeros_(self.drive.weight)
        nn.init.zeros_(self.drive.bias)
        width, state_dim = config.width, self.seen_dim + 2 + self.driven
        self.start = nn.Sequential(nn.Linear(self.seen_dim + self.driven, width), nn.SiLU(), nn.Linear(width, self.memory_dim))
        self.trunk = nn.Sequential(nn.Linear(state_dim + self.memory_dim, width), nn.SiLU(), nn.Linear(width, self.memory_dim))
        # First layer of the head in two parts: many draws share a state.
        self.head_state = nn.Linear(state_dim + self.memory_dim, width)
        self.head_latent = nn.Linear(self.latent_share, width, bias=False)
        self.head_inner = nn.Linear(width, width)
        self.head = nn.Linear(width, 1)
        constants = torch.logspace(math.log10(time_constants[0]), math.log10(time_constants[1]), self.memory_dim)
        self.rate_logit = nn.Parameter(torch.logit(1.0 - torch.exp(-1.0 / constants)))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        y = (x @ self.start_map - self.output_mean) / self.output_std
        memory = self.first_memory(y, self.scaled(x)).reshape(-1, self.places * self.memory_dim)
        return y * self.output_std + self.output_mean, torch.cat([y, torch.zeros_like(y), memory], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        y, closure = h[:, : self.places], h[:, self.places : 2 * self.places]
        memory = h[:, 2 * self.places :].reshape(-1, self.places, self.memory_dim)
        own = z.reshape(-1, self.places, self.latent_share)
        y, closure, memory = self.step(self.scaled(x), own, torch.sigmoid(self.rate_logit), y, closure, memory)
        hidden = torch.cat([y, closure, memory.reshape(-1, self.places * self.memory_dim)], dim=1)
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
        scaled, rate = self.scaled(x), torch.sigmoid(self.rate_logit)
        y = (x[:, 0] @ self.start_map - self.output_mean) / self.output_std
        closure, memory, path = torch.zeros_like(y), self.first_memory(y, scaled[:, 0]), [y]
        for known, own in zip(scaled.unbind(1), z.reshape(*z.shape[:2], self.places, -1).unbind(1), strict=True):
            y, closure, memory = self.step(known, own, rate, y, closure, memory)
            path.append(y)
        chosen = path if points is None else [path[point] for point in points.tolist()]
        return torch.stack(chosen, dim=1) * self.output_std + self.output_mean

    def step(
        self, scaled: Tensor, own: Tensor, rate: Tensor, y: Tensor, closure: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of y and closure (batch, place) and memory (batch, place, unit); `own` (batch, place, latent) are the draws."""
        ahead = self.transported(y, scaled)
        state = self.state(y, ahead, closure, scaled)
        memory = self.remember(state, memory, rate)
        closure = self.draw_closure(torch.cat([state, memory], dim=2), own)
        return ahead + self.closure_scale * closure, closure, memory

    def transported(self, y: Tensor, scaled: Tensor) -> Tensor:
        """y (batch, place) after a step of transport alone, under scaled inputs (batch, driven)."""
        drive = self.drive(scaled)
        first = self.tendency(y) + drive
        second = self.tendency(y + 0.5 * first) + drive
        third = self.tendency(y + 0.5 * second) + drive
        fourth = self.tendency(y + third) + drive
        ahead: Tensor = y + (first + 2.0 * (second + third) + fourth) / 6.0
        return ahead

    def tendency(self, y: Tensor) -> Tensor:
        """What neighbours do to y (batch, place) in a step."""
        seen = self.around(y)
        moved: Tensor = ((seen @ self.quadratic + self.linear) * seen).sum(dim=2)
        return moved

    def state(self, y: Tensor, ahead: Tensor, closure: Tensor, scaled: Tensor) -> Tensor:
        """What places see, (batch, place, state)."""
        moved = (ahead - y).unsqueeze(2) / self.moved_scale
        return torch.cat([self.around(y), moved, closure.unsqueeze(2), self.everywhere(scaled)], dim=2)

    def first_memory(self, y: Tensor, scaled: Tensor) -> Tensor:
        """The memory (batch, place, unit) of a run that begins."""
        return torch.tanh(self.start(torch.cat([self.around(y), self.everywhere(scaled)], dim=2)))

    def remember(self, state: Tensor, memory: Tensor, rate: Tensor) -> Tensor:
        """The memory (batch, place, unit) after it read a state."""
        remembered = torch.tanh(self.trunk(torch.cat([state, memory], dim=2)))
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            remembered = remembered.type_as(memory)  # in mixed precision
        return torch.lerp(memory, remembered, rate)

    def draw_closure(self, known: Tensor, own: Tensor) -> Tensor:
        """Closures (..., place) of states and memories (..., place, state + unit) and latents (..., place, latent)."""
        hidden = silu(self.head_state(known) + self.head_latent(own))
        drawn: Tensor = self.head(silu(self.head_inner(hidden))).squeeze(-1)
        return drawn

    def around(self, y: Tensor) -> Tensor:
        """What places see of y (batch, place): (batch, place, seen)."""
        return y.index_select(1, self.neighbours).reshape(-1, self.places, self.seen_dim)

    def everywhere(self, scaled: Tensor) -> Tensor:
        """Something of the whole ring (batch, feature) at every place, (batch, place, feature)."""
        return scaled.unsqueeze(1).expand(-1, self.places, -1)

    def scaled(self, x: Tensor) -> Tensor:
        """The part of x (..., condition_dim) that acts during a run, scaled."""
        return (x.index_select(-1, self.stepping) - self.condition_mean) / self.condition_std


def _check(config: GeneratorConfig, parameters: Sequence[str], places: int) -> None:
    ring = config.ring
    if config.balances:
        raise ConfigError("a ring has no balances; its transport is fitted to the data")
    if config.run_latent_dim:
        raise ConfigError(f"a ring has no individuals: set run_latent_dim to 0, not {config.run_latent_dim}")
    if len(ring.starts) != places:
        raise ConfigError(f"ring.starts names {len(ring.starts)} parameters, the ring has {places} outputs that need one each")
    for name in ring.starts:
        require(name, parameters, "parameter")
    if 2 * ring.reach + 1 > places:
        raise ConfigError(f"ring.reach {ring.reach} sees {2 * ring.reach + 1} places, the ring has {places}")
    if config.step_latent_dim % places:
        raise ConfigError(
            f"step_latent_dim {config.step_latent_dim} cannot be shared among {places} places; take a multiple of {places}"
        )
