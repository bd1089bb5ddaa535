"""Where the variables of a graph's nodes are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.generators.roles import find_roles, require
from surrogate_fmu.variables import Variable

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Places of nodes' variables, role by role in the order of the first node.

    Attributes:
        outputs: (node, output), among the outputs.
        own: (node, own), of inputs and parameters of nodes that act during a run, among the condition.
        own_at_start: (node, own at start), of all that act on the start.
        shared, shared_at_start: likewise of inputs and parameters of no node, (shared,).
        starts: (node, output), parameters that outputs start at, among the condition; -1 where there is none.
    """

    outputs: Places
    own: Places
    own_at_start: Places
    shared: Places
    shared_at_start: Places
    starts: Places


def find_layout(variables: Sequence[Variable], config: GeneratorConfig) -> Layout:
    """The layout of variables under a configuration of the structure `graph`.

    Raises:
        ConfigError: a node names something that is no variable, a role is that of an output in one node and of an input in another,
            an output is in no node, or the starts do not lead from outputs to parameters.
    """
    roles, graph = find_roles(variables, config), config.graph
    kinds = dict.fromkeys(roles.inputs, "input") | dict.fromkeys(roles.parameters, "parameter")
    kinds |= dict.fromkeys(roles.outputs, "output")
    first = graph.nodes[0]
    for number, node in enumerate(graph.nodes, 1):
        for role, name in node.items():
            require(name, list(kinds), f"variable (node {number} has it)")
            if kinds[name] != kinds[first[role]]:
                raise ConfigError(
                    f"the role {role!r} is that of the {kinds[first[role]]} {first[role]!r} in node 1, and of the {kinds[name]} "
                    f"{name!r} in node {number}"
                )
    of_outputs = [role for role, name in first.items() if kinds[name] == "output"]
    of_conditions = [role for role in first if role not in of_outputs]
    placed = {name for node in graph.nodes for name in node.values()}
    for name in roles.outputs:
        if name not in placed:
            raise ConfigError(f"the output {name!r} is in no node of the graph; give it to one")
    for role, start in graph.starts.items():
        require(role, of_outputs, "role of outputs (graph.starts has it)")
        require(start, [r for r in of_conditions if kinds[first[r]] == "parameter"], "role of parameters (graph.starts has it)")

    condition = roles.condition
    stepping = {condition[place] for place in roles.stepping}
    begun = set(graph.starts.values())
    for role in of_conditions:
        acting = {node[role] in stepping for node in graph.nodes}
        if len(acting) > 1:
            raise ConfigError(f"initial_parameters names some of the role {role!r}, not all; name those of all nodes or of none")

    def of_nodes(chosen: Sequence[str], known: Sequence[str]) -> Places:
        places = [[known.index(node[role]) for role in chosen] for node in graph.nodes]
        return np.array(places, dtype=np.int64).reshape(len(graph.nodes), len(chosen))

    def of_none(known: Sequence[str]) -> Places:
        return np.array([place for place, name in enumerate(condition) if name in known], dtype=np.int64)

    starts = [[condition.index(node[graph.starts[r]]) if r in graph.starts else -1 for r in of_outputs] for node in graph.nodes]
    return Layout(
        outputs=of_nodes(of_outputs, roles.outputs),
        own=of_nodes([r for r in of_conditions if first[r] in stepping and r not in begun], condition),
        own_at_start=of_nodes(of_conditions, condition),
        shared=of_none([name for name in condition if name not in placed and name in stepping]),
        shared_at_start=of_none([name for name in condition if name not in placed]),
        starts=np.array(starts, dtype=np.int64),
    )
