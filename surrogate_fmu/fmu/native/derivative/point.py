"""What of a derivative depends on the point alone, apart from what depends on the direction."""

from collections.abc import Sequence

from surrogate_fmu.fmu.native.builder import Builder
from surrogate_fmu.fmu.native.graph import Constant, Graph, Node, Reshape, Rows, Value, View


def split_at_point(graph: Graph, count: int, value_count: int = 0) -> tuple[Graph, Graph]:
    """A derivative in two parts, so that further directions at one point cost the second alone.

    Args:
        graph: a function of a point, one row, and of directions, many rows.
        count: how many of its inputs, the first ones, are the point.
        value_count: how many of its outputs, the first ones, are values at the point.

    Returns:
        A graph of the point's inputs -> the values, and (size,), the numbers that directions meet; and a graph of those
        numbers and the directions -> the other outputs. Together they give the bits that `graph` gives.
    """
    crossing = _crossing(graph)
    return _of_point(graph, count, value_count, crossing), _of_directions(graph, count, value_count, crossing)


def _crossing(graph: Graph) -> list[Value]:
    """The values of the point that directions meet, or what is below them where they repeat it."""
    views: dict[Value, View | Reshape] = {node.output: node for node in graph.nodes if isinstance(node, View | Reshape)}
    found: dict[Value, None] = {}
    for node in graph.nodes:
        for value in node.inputs if node.output.rows is Rows.MANY else ():
            below = value
            while below in views and below.rows is Rows.ONE and below.size >= views[below].input.size:
                below = views[below].input
            if below.rows is Rows.ONE and not isinstance(below, Constant):
                found[below] = None
    return list(found)


def _of_point(graph: Graph, count: int, value_count: int, crossing: Sequence[Value]) -> Graph:
    builder = Builder()
    inputs = {value: Value(value.shape, Rows.MANY) for value in graph.inputs[:count]}
    values = dict(inputs)
    for node in graph.nodes:
        if node.output.rows is Rows.ONE:
            values[node.output] = _replayed(builder, node, values)
    parts = [builder.reshape(values[value], (value.size,)) for value in crossing]
    point = builder.concatenate(parts, 0) if parts else builder.zeros((0,))
    outputs = [value if isinstance(value, Constant) else values[value] for value in graph.outputs[:value_count]]
    return builder.finish(list(inputs.values()), [*outputs, point])


def _of_directions(graph: Graph, count: int, value_count: int, crossing: Sequence[Value]) -> Graph:
    builder = Builder()
    point = Value((sum(value.size for value in crossing),), Rows.ONE)
    directions = {value: Value(value.shape, Rows.MANY) for value in graph.inputs[count:]}
    values = dict(directions)
    start = 0
    for value in crossing:
        values[value] = builder.reshape(builder.slice(point, 0, start, value.size), value.shape)
        start += value.size
    for node in graph.nodes:
        known = all(value in values or isinstance(value, Constant) for value in node.inputs)
        if known and node.output not in values:
            values[node.output] = _replayed(builder, node, values)
    outputs = [value if isinstance(value, Constant) else values[value] for value in graph.outputs[value_count:]]
    return builder.finish([point, *directions.values()], outputs)


def _replayed(builder: Builder, node: Node, values: dict[Value, Value]) -> Value:
    return builder.replay(node, [value if isinstance(value, Constant) else values[value] for value in node.inputs])
