"""Which nodes share a loop: elementwise nodes over the same elements whose inputs are there when the loop starts."""

from dataclasses import dataclass, field

from surrogate_fmu.fmu.native.graph import Graph, Map, Node, Value, View


@dataclass
class Step:
    """One loop over elementwise nodes, or one node of another kind."""

    nodes: list[Node] = field(default_factory=list)


def schedule(graph: Graph) -> list[Step]:
    """The steps of a graph in order. Views are no steps: they say how others read."""
    steps: list[Step] = []
    # The step from which on a value can be read.
    ready: dict[Value, int] = dict.fromkeys(graph.inputs, -1)
    for node in graph.nodes:
        needed = max([ready.get(value, -1) for value in node.inputs], default=-1)
        if isinstance(node, View):
            # A loop cannot view what it calculates itself.
            ready[node.output] = needed + 1 if needed >= 0 else -1
            continue
        index = _step_to_join(steps, node, needed) if isinstance(node, Map) else None
        if index is None:
            steps.append(Step([node]))
            index = len(steps) - 1
        else:
            steps[index].nodes.append(node)
        ready[node.output] = index
    return steps


def _step_to_join(steps: list[Step], node: Map, needed: int) -> int | None:
    for index in range(max(needed, 0), len(steps)):
        first = steps[index].nodes[0]
        if isinstance(first, Map) and first.output.shape == node.output.shape and first.output.rows is node.output.rows:
            return index
    return None
