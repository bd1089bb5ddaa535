"""How a graph generator starts: the linear step and start that least squares finds, one for all nodes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.generators.graph import GraphGenerator
from surrogate_fmu.training.graph_config import GraphConfig

Array = NDArray[np.float64]
_SMALLEST = 1e-5  # of an output's standard deviation: what a network may always add
_POINTS = 100_000  # rows of least squares; more steps than that are thinned out
_ORDER = 2  # edges that the linear step reaches, at most


def fit_step(generator: GraphGenerator, runs: Trajectories, graph: GraphConfig, linear: bool) -> None:
    """Set the linear step and start of a generator, and the scales of what its network adds to them.

    Of a node's outputs a step is a linear map of its own outputs and inputs, of sums over its neighbours and over theirs, and of
    what acts on all; the map is that of all nodes (a polynomial graph filter: Sandryhaila and Moura, IEEE TSP 61, 2013). Nodes that
    are not alike have each its own map of what is as near.

    Args:
        generator: whose buffers are set.
        runs: to learn from.
        graph: of the generator.
        linear: False leaves the identity and the mean, and sets the scales alone.
    """
    layout = generator.layout
    mean, std = (part.double().cpu().numpy() for part in (generator.condition_mean, generator.condition_std))
    conditions = (runs.conditions() - mean) / std
    mean, std = (p.double().cpu().numpy().reshape(layout.outputs.shape) for p in (generator.output_mean, generator.output_std))
    outputs = (runs.outputs[..., layout.outputs] - mean) / std  # (run, point, node, output)
    before, after = (part.reshape(-1, *layout.outputs.shape) for part in (outputs[:, :-1], outputs[:, 1:]))
    stride = max(1, len(before) * len(mean) // _POINTS)
    before, after, acting = before[::stride], after[::stride], conditions.reshape(-1, conditions.shape[-1])[::stride]

    step = _Map(graph, layout.own, layout.shared, conditions.shape[-1], min(graph.rounds, _ORDER))
    start = _Map(graph, layout.own_at_start, layout.shared_at_start, conditions.shape[-1], 1)
    if linear:
        step.fit(acting, before, after)
        start.fit(conditions[:, 0], outputs[:, 0, :, :0], outputs[:, 0])
        values = {"linear_state": step.state, "linear_condition": step.condition, "linear_offset": step.offset}
        values |= {"start_condition": start.condition, "start_offset": start.offset}
        for name, value in values.items():
            getattr(generator, name).copy_(torch.tensor(value))
        scales = {"step_scale": after - step.apply(acting, before)}
        scales |= {"start_scale": outputs[:, 0] - start.apply(conditions[:, 0], outputs[:, 0, :, :0])}
    else:
        scales = {"step_scale": after - before, "start_scale": outputs[:, 0]}
    for name, left in scales.items():
        scale = np.sqrt(np.mean(left**2, axis=(0, 1)))
        getattr(generator, name).copy_(torch.tensor(np.maximum(scale, _SMALLEST)))


class _Map:
    """A linear map from condition and states of nodes to targets of nodes.

    Attributes:
        state: (node x state, node x target).
        condition: (condition, node x target).
        offset: (node x target,).
    """

    state: Array
    condition: Array
    offset: Array

    def __init__(
        self, graph: GraphConfig, own: NDArray[np.int64], shared: NDArray[np.int64], condition_dim: int, order: int
    ) -> None:
        self._own, self._shared, self._condition_dim, self._alike = own, shared, condition_dim, graph.alike
        self._hops = _hops(graph.neighbours, order)

    def fit(self, conditions: Array, states: Array, targets: Array) -> None:
        """Fit conditions (row, condition) and states (row, node, state) to targets (row, node, target)."""
        nodes, state_dim, target_dim = len(self._own), states.shape[2], targets.shape[2]
        own, shared = conditions[:, self._own], conditions[:, self._shared]
        state = np.zeros((nodes, state_dim, nodes, target_dim))
        condition = np.zeros((self._condition_dim, nodes, target_dim))
        offset = np.zeros((nodes, target_dim))
        seen = np.concatenate([states, own], axis=2)
        groups = [range(nodes)] if self._alike else [[node] for node in range(nodes)]
        for group in groups:
            # Nodes alike see sums over neighbourhoods, those that are not each node nearby by itself.
            near = self._hops if self._alike else _each(np.any(self._hops, axis=0)[group[0]], nodes, group[0])
            columns = [np.einsum("gj,rjf->rgf", hop[list(group)], seen) for hop in near]
            columns.append(np.broadcast_to(shared[:, None], (len(shared), len(group), shared.shape[1])))
            columns.append(np.ones((len(shared), len(group), 1)))
            matrix = np.concatenate(columns, axis=2)
            flat = matrix.reshape(-1, matrix.shape[2])
            solution, *_ = np.linalg.lstsq(flat, targets[:, list(group)].reshape(len(flat), -1), rcond=1e-9)
            for hop, part in zip(near, np.split(solution[: seen.shape[2] * len(near)], len(near)), strict=True):
                for node in group:
                    for other in np.flatnonzero(hop[node]):
                        state[other, :, node] += hop[node, other] * part[:state_dim]
                        np.add.at(condition, (self._own[other], node), hop[node, other] * part[state_dim:])
            rest = solution[seen.shape[2] * len(near) :]
            for node in group:
                condition[self._shared, node] += rest[:-1]
                offset[node] = rest[-1]
        self.state = state.reshape(nodes * state_dim, nodes * target_dim)
        self.condition = condition.reshape(self._condition_dim, nodes * target_dim)
        self.offset = offset.ravel()

    def apply(self, conditions: Array, states: Array) -> Array:
        """Targets (row, node, target) as the map has them."""
        flat = states.reshape(len(states), -1) @ self.state + conditions @ self.condition + self.offset
        return np.asarray(flat.reshape(len(states), len(self._own), -1), np.float64)


def _hops(neighbours: Sequence[Sequence[int]], order: int) -> Array:
    """What nodes hear of others at most `order` edges away, (kind, node, node): sums over neighbours, and their own times how many.

    Both are scaled by the mean number of neighbours; each kind is one word of up to `order` of the two.
    """
    count = len(neighbours)
    adjacency = np.zeros((count, count))
    for node, some in enumerate(neighbours):
        adjacency[node, list(some)] = 1.0
    adjacency *= count / adjacency.sum()
    letters = (adjacency, np.diag(adjacency.sum(axis=1)))
    words = level = [np.eye(count)]
    for _ in range(order):
        level = [letter @ word for letter in letters for word in level]
        words = words + level
    return np.stack(words)


def _each(near: NDArray[np.bool_], nodes: int, node: int) -> Array:
    """Every node nearby by itself, as hops (near, node, node) of one node."""
    places = np.flatnonzero(near)
    hops = np.zeros((len(places), nodes, nodes))
    hops[np.arange(len(places)), node, places] = 1.0
    return hops
