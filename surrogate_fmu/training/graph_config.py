"""Settings of the graph structure: which variables belong to which node, and which nodes act on each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class EdgeSet(StrEnum):
    """Edges that need no list."""

    ALL = "all"
    """Every node hears from every other one: a set."""


@dataclass(frozen=True)
class GraphConfig:
    """What only the graph structure has.

    Attributes:
        nodes: for each node the variable of each role, the same roles for all: {temperature = "T1", heating = "Q1"}. Outputs
            belong to one node each; inputs and parameters of no node act on all.
        edges: pairs of nodes that act on each other, numbered from 1 in the order of `nodes`; or "all".
        directed: let the first node of an edge act on the second, and not the other way round.
        starts: for roles of outputs the role of the parameter that they start at, which then acts on nothing later.
        rounds: messages that are passed on within a step: a node feels what is as many edges away.
        shared_run_latents, shared_step_latents: how many of run_latent_dim and step_latent_dim all nodes have in common; the rest
            is divided among them, so that each is its own individual with its own noise.
        alike: whether nodes differ in their variables alone; false learns what else sets each apart.
    """

    nodes: tuple[Mapping[str, str], ...] = ()
    edges: tuple[tuple[int, int], ...] | EdgeSet = ()
    directed: bool = False
    starts: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 2
    shared_run_latents: int = 0
    shared_step_latents: int = 0
    alike: bool = True

    def __post_init__(self) -> None:
        if self.rounds < 1 or min(self.shared_run_latents, self.shared_step_latents) < 0:
            raise ValueError(f"rounds {self.rounds} must be at least 1, and shared latents cannot be negative")
        if self.nodes:
            self._check_roles()
            self._check_edges()

    def _check_roles(self) -> None:
        if len(self.nodes) < 2:
            raise ValueError('a graph needs at least two nodes; for a single part set structure = "recurrent"')
        roles: dict[str, None] = {role: None for node in self.nodes for role in node}
        for number, node in enumerate(self.nodes, 1):
            for role in roles:
                if role not in node:
                    other = next(k for k, known in enumerate(self.nodes, 1) if role in known)
                    raise ValueError(f"node {number} has no {role!r}, which node {other} has; give all nodes the same roles")
        seen: dict[str, int] = {}
        for number, node in enumerate(self.nodes, 1):
            for name in node.values():
                if name in seen:
                    raise ValueError(
                        f"{name!r} is in node {seen[name]} and in node {number}; a variable belongs to one node, or to none where "
                        "it acts on all"
                    )
                seen[name] = number
        for pair in self.starts.items():
            for role in pair:
                if role not in roles:
                    raise ValueError(f"starts names {role!r}, which is no role of the nodes; there are {', '.join(roles)}")

    def _check_edges(self) -> None:
        if isinstance(self.edges, EdgeSet):
            if self.directed:
                raise ValueError('directed has no effect on edges = "all", which go both ways')
            return
        count, seen = len(self.nodes), set()
        for edge in self.edges:
            first, second = edge
            if not (1 <= first <= count and 1 <= second <= count):
                raise ValueError(f"the edge {list(edge)} leads to a node that is not there; nodes are numbered from 1 to {count}")
            if first == second:
                raise ValueError(f"the edge {list(edge)} joins a node with itself; a node sees itself without it")
            if edge in seen:
                raise ValueError(f"the edge {list(edge)} is there twice; name each pair once")
            seen |= {edge} if self.directed else {edge, (second, first)}
        for number in range(1, count + 1):
            if not any(number in edge for edge in self.edges):
                raise ValueError(
                    f"node {number} ({', '.join(self.nodes[number - 1].values())}) is in no edge; join it to those that act on it, "
                    "or make it a surrogate of its own"
                )

    @property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """For each node those that act on it, counted from 0."""
        count = len(self.nodes)
        if isinstance(self.edges, EdgeSet):
            return tuple(tuple(other for other in range(count) if other != node) for node in range(count))
        pairs = {(first - 1, second - 1) for first, second in self.edges}
        if not self.directed:
            pairs |= {(second, first) for first, second in pairs}
        return tuple(tuple(sorted(first for first, second in pairs if second == node)) for node in range(count))
