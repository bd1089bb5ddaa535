"""Reverse mode: cotangents of outputs to cotangents of inputs."""

from collections.abc import Sequence

from surrogate_fmu.fmu.native.builder import Builder
from surrogate_fmu.fmu.native.derivative.partial import partials, shares
from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import (
    Assemble,
    Axis,
    Constant,
    Gather,
    Graph,
    Linear,
    Map,
    Node,
    Reduce,
    Reduction,
    Reshape,
    Rows,
    Scatter,
    Value,
    View,
)


def adjoint_graph(graph: Graph, active: Sequence[int]) -> Graph:
    """The transposed derivative of a graph.

    The point is one row; cotangents are many.

    Args:
        graph: the function.
        active: the inputs whose cotangents are asked for.

    Returns:
        A graph of (inputs, cotangents of the outputs) -> cotangents of the active inputs.
    """
    return _Adjoint(graph, active).graph


class _Adjoint:
    def __init__(self, graph: Graph, active: Sequence[int]) -> None:
        self.builder = Builder()
        point = {value: Value(value.shape, Rows.ONE) for value in graph.inputs}
        self.values: dict[Value, Value] = dict(point)
        moving = {graph.inputs[i] for i in active}
        for node in graph.nodes:
            inputs = [value if isinstance(value, Constant) else self.values[value] for value in node.inputs]
            self.values[node.output] = self.builder.replay(node, inputs)
            if any(value in moving for value in node.inputs):
                moving.add(node.output)
        self.moving = moving
        seeds = [Value(value.shape, Rows.MANY) for value in graph.outputs]
        self.cotangents: dict[Value, Value] = {}
        for value, seed in zip(graph.outputs, seeds, strict=True):
            self._collect(value, seed)
        for node in reversed(graph.nodes):
            if node.output in self.cotangents:
                self._distribute(node, self.cotangents.pop(node.output))
        results = [self.cotangents.get(graph.inputs[i]) or self.builder.zeros(graph.inputs[i].shape) for i in active]
        self.graph = self.builder.finish([*point.values(), *seeds], results)

    def _collect(self, value: Value, cotangent: Value | None) -> None:
        if cotangent is None or value not in self.moving:
            return
        before = self.cotangents.get(value)
        self.cotangents[value] = cotangent if before is None else self.builder.map(Function.ADD, before, cotangent)

    def _distribute(self, node: Node, cotangent: Value) -> None:
        builder = self.builder
        if isinstance(node, Map):
            self._distribute_map(node, cotangent)
        elif isinstance(node, View):
            if node.input in self.moving:
                self._collect(node.input, self._of_view(node, cotangent))
        elif isinstance(node, Reshape):
            self._collect(node.input, builder.reshape(cotangent, node.input.shape))
        elif isinstance(node, Gather):
            self._collect(node.input, builder.scatter(cotangent, node))
        elif isinstance(node, Scatter):
            self._collect(node.input, builder.replay(node.node, [cotangent]))
        elif isinstance(node, Assemble):
            for part in node.parts:
                axes = [Axis(size, a, step) for a, (size, step) in enumerate(zip(part.value.shape, part.steps, strict=True))]
                if part.value in self.moving:
                    self._collect(part.value, builder.view(cotangent, part.starts, axes))
        elif isinstance(node, Linear):
            if node.input in self.moving:
                self._collect(node.input, builder.linear(cotangent, node.weight, None, not node.transposed))
            if node.addend is not None:
                self._collect(node.addend, cotangent)
        elif isinstance(node, Reduce):
            over = builder.reshape(cotangent, (*cotangent.shape, *[1] * node.count))
            if node.reduction is Reduction.SUM:
                self._collect(node.input, builder.expand(over, node.input.shape))
            else:
                share = shares(builder, node, self.values[node.input], self.values[node.output])
                self._collect(node.input, builder.map(Function.MUL, share, over))

    def _distribute_map(self, node: Map, cotangent: Value) -> None:
        builder = self.builder
        inputs = [value if isinstance(value, Constant) else self.values[value] for value in node.inputs]
        if node.function is Function.WHERE:
            self._collect(node.inputs[1], builder.map(Function.WHERE, inputs[0], cotangent, 0.0))
            self._collect(node.inputs[2], builder.map(Function.WHERE, inputs[0], 0.0, cotangent))
            return
        for value, factor in zip(node.inputs, partials(builder, node, inputs, self.values[node.output]), strict=True):
            if factor is not None and value in self.moving:
                self._collect(value, builder.map(Function.MUL, factor, cotangent))

    def _of_view(self, node: View, cotangent: Value) -> Value:
        """Repetitions are summed, the rest goes where it came from."""
        repeated = [i for i, axis in enumerate(node.axes) if axis.source is None]
        axes = tuple(axis for axis in node.axes if axis.source is not None)
        summed = self.builder.reduce(Reduction.SUM, cotangent, repeated) if repeated else cotangent
        return self.builder.scatter(summed, View(node.input, node.starts, axes, Value(summed.shape, summed.rows)))
