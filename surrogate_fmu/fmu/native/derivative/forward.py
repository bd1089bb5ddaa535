"""Forward mode: tangents of inputs to tangents of outputs."""

from collections.abc import Sequence

from surrogate_fmu.fmu.native.builder import Builder
from surrogate_fmu.fmu.native.derivative.partial import partials, shares
from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import (
    Assemble,
    Constant,
    Graph,
    Linear,
    Lookup,
    Map,
    Node,
    Part,
    Reduce,
    Reduction,
    Rows,
    Value,
)


def tangent_graph(graph: Graph, active: Sequence[int], with_values: bool = False) -> Graph:
    """The derivative of a graph in a direction.

    The point is one row; tangents are many, so that several directions share the point's values.

    Args:
        graph: the function.
        active: which of its inputs have tangents.
        with_values: give the outputs of `graph` too, before the tangents.

    Returns:
        A graph of (inputs, tangents of the active ones) -> tangents of the outputs.
    """
    builder = Builder()
    point = {value: Value(value.shape, Rows.ONE) for value in graph.inputs}
    seeds = {graph.inputs[i]: Value(graph.inputs[i].shape, Rows.MANY) for i in active}
    values: dict[Value, Value] = dict(point)
    tangents: dict[Value, Value] = dict(seeds)
    for node in graph.nodes:
        inputs = [value if isinstance(value, Constant) else values[value] for value in node.inputs]
        values[node.output] = builder.replay(node, inputs)
        directions = [tangents.get(value) for value in node.inputs]
        if any(direction is not None for direction in directions):
            tangent = _tangent(builder, node, inputs, values[node.output], directions)
            if tangent is not None:
                tangents[node.output] = tangent
    outputs = [tangents[value] if value in tangents else builder.zeros(value.shape) for value in graph.outputs]
    if with_values:
        outputs = [*(value if isinstance(value, Constant) else values[value] for value in graph.outputs), *outputs]
    return builder.finish([*point.values(), *seeds.values()], outputs)


def _tangent(
    builder: Builder, node: Node, inputs: Sequence[Value], output: Value, directions: Sequence[Value | None]
) -> Value | None:
    if isinstance(node, Map):
        return _of_map(builder, node, inputs, output, directions)
    if isinstance(node, Assemble):
        parts = [
            Part(builder.zeros(part.value.shape) if direction is None else direction, part.starts, part.steps)
            for part, direction in zip(node.parts, directions, strict=True)
        ]
        return builder.assemble(parts, node.output.shape)
    if isinstance(node, Linear):
        first, addend = directions[0], directions[1] if len(directions) > 1 else None
        if first is None:
            return addend
        return builder.linear(first, node.weight, addend, node.transposed)
    if isinstance(node, Lookup):
        return None
    (direction,) = directions
    assert direction is not None
    if isinstance(node, Reduce) and node.reduction is not Reduction.SUM:
        weighted = builder.map(Function.MUL, shares(builder, node, inputs[0], output), direction)
        kept = len(node.output.shape)
        return builder.reduce(Reduction.SUM, weighted, range(kept, kept + node.count))
    return builder.replay(node, [direction])


def _of_map(
    builder: Builder, node: Map, inputs: Sequence[Value], output: Value, directions: Sequence[Value | None]
) -> Value | None:
    if node.function is Function.WHERE:
        then, other = (0.0 if direction is None else direction for direction in directions[1:])
        if directions[1] is None and directions[2] is None:
            return None
        return builder.map(Function.WHERE, inputs[0], then, other)
    total: Value | None = None
    for factor, direction in zip(partials(builder, node, inputs, output), directions, strict=True):
        if factor is None or direction is None:
            continue
        term = builder.map(Function.MUL, factor, direction)
        total = term if total is None else builder.map(Function.ADD, total, term)
    return total
