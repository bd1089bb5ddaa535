"""The graph generator: nodes that share one law, hear from their neighbours and remember each for itself."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import silu

from surrogate_fmu.dataset.scaling import Scaling, pool
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.generators.layout import Layout, find_layout
from surrogate_fmu.training.generators.messages import MessageRound
from surrogate_fmu.variables import Variable


class GraphGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (outputs y, memory m), both node by node, scaled alike for all nodes.

    One step of a node i, with u_i = (its own inputs and parameters, those of no node, its share of z, the shared z):

        v = silu(W (u_i, y_i, m_i))                what the node is
        v = round(v, v of neighbours), ...         `MessageRound`, each with weights of its own
        m' = m + rate * (remember(v) - m)          a leaky memory, or a gated one, whose rate depends on v, too
        y' = L(y, u) + scale * change(v)           L is the identity, or the linear step that least squares finds

    All weights are those of all nodes, so that a permutation of nodes and edges permutes the outputs, and a node feels within one
    step what is at most `rounds` edges away. Where nodes are not alike each has an offset of its own in W. The first numbers of
    either part of z are shared, the others are those of the nodes, one after the other. Physical units at the interface, float32.

    Args:
        variables: inputs, parameters and outputs.
        config: sizes and graph; `memory_dim` units per node.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the memory.
        coefficients: of balances, of which a graph has none.

    Raises:
        ConfigError: the nodes do not fit the variables.
    """

    __constants__ = ("gated",)  # TorchScript leaves the other branch out
    networks = ("look",)  # what mixed precision may change

    condition_mean: Tensor
    condition_std: Tensor
    output_mean: Tensor
    output_std: Tensor
    known_places: Tensor
    start_places: Tensor
    back_to_order: Tensor
    start_map: Tensor
    started: Tensor
    linear_state: Tensor
    linear_condition: Tensor
    linear_offset: Tensor
    step_scale: Tensor
    start_condition: Tensor
    start_offset: Tensor
    start_scale: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        config: GeneratorConfig,
        scaling: Scaling,
        time_constants: tuple[float, float],
        coefficients: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        graph, layout = config.graph, find_layout(variables, config)
        self.layout = layout
        nodes, outputs = layout.outputs.shape
        self.node_count, self.own_output_dim, self.memory_dim = nodes, outputs, config.memory_dim
        self.output_dim, self.run_latent_dim, self.gated = nodes * outputs, config.run_latent_dim, config.gated
        self.hidden_dim = self.output_dim + nodes * config.memory_dim
        condition_dim, width = len(scaling.condition_mean), config.width
        run = _shares(condition_dim, config.run_latent_dim, graph.shared_run_latents, nodes)
        step = _shares(condition_dim + config.run_latent_dim, config.step_latent_dim, graph.shared_step_latents, nodes)
        known = np.concatenate([layout.own, _to_all(layout.shared, nodes), run, step], axis=1)
        at_start = np.concatenate([layout.own_at_start, _to_all(layout.shared_at_start, nodes), run], axis=1)
        self.known_dim, self.start_dim = known.shape[1], at_start.shape[1]
        self._scale(layout, scaling)
        for name, places in (
            ("known_places", known.ravel()),
            ("start_places", at_start.ravel()),
            ("back_to_order", np.argsort(layout.outputs.ravel())),
        ):
            self.register_buffer(name, torch.tensor(places, dtype=torch.int64))
        start_map = np.zeros((condition_dim, self.output_dim))
        for column, place in enumerate(layout.starts.ravel()):
            if place >= 0:
                start_map[place, column] = 1.0
        self._register(start_map=start_map, started=start_map.sum(axis=0))
        # Until the data have said more: outputs stay what they were, and start at their mean.
        self._register(linear_state=np.eye(self.output_dim), linear_condition=np.zeros((condition_dim, self.output_dim)))
        self._register(linear_offset=np.zeros(self.output_dim), step_scale=np.ones(outputs))
        self._register(start_condition=np.zeros((condition_dim, self.output_dim)), start_offset=np.zeros(self.output_dim))
        self._register(start_scale=np.ones(outputs))

        offsets = 1 if graph.alike else nodes
        # Bare parameters: with nothing to see they are empty, which nn.Linear warns of.
        self.known = nn.Parameter(_uniform(self.known_dim, width))
        self.known_offset = nn.Parameter(torch.zeros(offsets, width))
        self.state = nn.Linear(outputs + config.memory_dim, width)
        self.rounds = nn.ModuleList([MessageRound(width, graph.neighbours) for _ in range(graph.rounds)])
        self.change = nn.Linear(width, outputs)
        self.remember = nn.Linear(width, config.memory_dim)
        if self.gated:  # a minimal gated unit (Zhou et al., IJAC 13, 2016) that begins as a leaky one
            self.gate = nn.Linear(width, config.memory_dim)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)
        self.start_known = nn.Parameter(_uniform(self.start_dim, width))
        self.start_known_offset = nn.Parameter(torch.zeros(offsets, width))
        self.start_round = MessageRound(width, graph.neighbours)
        self.start = nn.Linear(width, outputs + config.memory_dim)
        constants = torch.logspace(math.log10(time_constants[0]), math.log10(time_constants[1]), config.memory_dim)
        self.rate_logit = nn.Parameter(torch.logit(1.0 - torch.exp(-1.0 / constants)))

    def _scale(self, layout: Layout, scaling: Scaling) -> None:
        """Take over scales, those of a role pooled over the nodes."""
        mean, std = scaling.condition_mean.copy(), scaling.condition_std.copy()
        for places in layout.own_at_start.T:
            mean[places], std[places] = pool(mean[places], std[places])
        self._register(condition_mean=mean, condition_std=std)
        mean, std = scaling.output_mean[layout.outputs], scaling.output_std[layout.outputs]
        for role in range(self.own_output_dim):
            mean[:, role], std[:, role] = pool(mean[:, role], std[:, role])
        self._register(output_mean=mean.ravel(), output_std=std.ravel())

    def _register(self, **constants: object) -> None:
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(np.asarray(value), dtype=torch.float32))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        y, memory = self.first(x, z)
        y, memory = y.reshape(-1, self.output_dim), memory.reshape(-1, self.node_count * self.memory_dim)
        return self.physical(y), torch.cat([y, memory], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        y = h[:, : self.output_dim].reshape(-1, self.node_count, self.own_output_dim)
        memory = h[:, self.output_dim :].reshape(-1, self.node_count, self.memory_dim)
        known, pushed = self.prepare(x, z)
        y, memory = self.step(known, pushed, torch.sigmoid(self.rate_logit), y, memory)
        y, memory = y.reshape(-1, self.output_dim), memory.reshape(-1, self.node_count * self.memory_dim)
        return self.physical(y), torch.cat([y, memory], dim=1)

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        """All steps of a window, one after the other.

        Args:
            x: (batch, step, condition_dim).
            z: (copies x batch, step, latent_dim), several individuals under each condition, one copy of the batch after the
                other.
            points: which points to return, 0 is the start; None returns all.
            near: of no use here; for generators that compute a window at once.

        Returns:
            (copies x batch, point, output_dim), physical units.
        """
        x = x.repeat(len(z) // len(x), 1, 1)
        y, memory = self.first(x[:, 0], z[:, 0])
        rate, path = torch.sigmoid(self.rate_logit), [y]
        for known, pushed in zip(*(part.unbind(1) for part in self.prepare(x, z)), strict=True):
            y, memory = self.step(known, pushed, rate, y, memory)
            path.append(y)
        chosen = path if points is None else [path[point] for point in points.tolist()]
        return self.physical(torch.stack(chosen, dim=1).flatten(2))

    def first(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (batch, node, output), scaled, and memory (batch, node, unit) of a run that begins."""
        scaled = self.scaled(x)
        seen = torch.cat([scaled, z], dim=1).index_select(1, self.start_places).reshape(-1, self.node_count, self.start_dim)
        nodes = self.start_round(silu(seen @ self.start_known + self.start_known_offset))
        free, memory = self.start(nodes).split([self.own_output_dim, self.memory_dim], dim=2)
        free = torch.addmm(self.start_offset, scaled, self.start_condition) + (free * self.start_scale).reshape(-1, self.output_dim)
        given = (x @ self.start_map - self.output_mean) / self.output_std
        y = given * self.started + free * (1.0 - self.started)
        return y.reshape(-1, self.node_count, self.own_output_dim), torch.tanh(memory)

    def prepare(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """What steps need of x (..., condition_dim) and z (..., latent_dim) alone.

        Returns:
            What nodes know of them, (..., node, width), and what moves them in the linear step, (..., node x output).
        """
        scaled = self.scaled(x)
        seen = torch.cat([scaled, z], dim=-1).index_select(-1, self.known_places)
        seen = seen.unflatten(-1, [self.node_count, self.known_dim])  # type: ignore[no-untyped-call]
        return seen @ self.known + self.known_offset, scaled @ self.linear_condition + self.linear_offset

    def step(self, known: Tensor, pushed: Tensor, rate: Tensor, y: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One step of y (batch, node, output) and memory (batch, node, unit); known and pushed from `prepare`."""
        memory, change = self.look(known, rate, y, memory)
        linear = torch.addmm(pushed, y.reshape(-1, self.output_dim), self.linear_state)
        return linear.reshape(-1, self.node_count, self.own_output_dim) + self.step_scale * change, memory

    def look(self, known: Tensor, rate: Tensor, y: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The new memory (batch, node, unit), and what outputs (batch, node, output) change beyond the linear step."""
        nodes = silu(known + self.state(torch.cat([y, memory], dim=2)))
        for messages in self.rounds:
            nodes = messages(nodes)
        remembered = torch.tanh(self.remember(nodes))
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            remembered = remembered.type_as(memory)  # in mixed precision
        if self.gated:
            rate = torch.sigmoid(self.rate_logit + self.gate(nodes))
        return torch.lerp(memory, remembered, rate), self.change(nodes)

    def scaled(self, x: Tensor) -> Tensor:
        """The condition (..., condition_dim), scaled."""
        return (x - self.condition_mean) / self.condition_std

    def physical(self, y: Tensor) -> Tensor:
        """Scaled outputs, node by node, in physical units and the variables' order (..., output_dim)."""
        return (y * self.output_std + self.output_mean).index_select(-1, self.back_to_order)


def _shares(first: int, count: int, shared: int, nodes: int) -> NDArray[np.int64]:
    """Places of latents that each node sees, (node, latent): those that all share, then its own."""
    own = np.arange(first + shared, first + count, dtype=np.int64).reshape(nodes, (count - shared) // nodes)
    return np.concatenate([_to_all(np.arange(first, first + shared, dtype=np.int64), nodes), own], axis=1)


def _to_all(places: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
    """The same places for every node, (node, place)."""
    return np.broadcast_to(places, (nodes, len(places)))


def _uniform(rows: int, columns: int) -> Tensor:
    """Weights of rows inputs as nn.Linear begins with them, (rows, columns)."""
    return (2.0 * torch.rand(rows, columns) - 1.0) / math.sqrt(max(1, rows))
