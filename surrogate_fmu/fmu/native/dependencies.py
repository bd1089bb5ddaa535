"""Which inputs each output depends on, element by element: what FMI's model structure lists, so that a master sees no
algebraic loop where there is none.
"""

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.fmu.native.builder import viewed
from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import (
    Assemble,
    Constant,
    Gather,
    Graph,
    Linear,
    Lookup,
    Map,
    Node,
    Reduce,
    Reshape,
    Scatter,
    Value,
    View,
)

Marks = NDArray[np.bool_]
_TOGETHER = 64  # inputs that are followed at once: windows of images have many elements for each


def output_dependencies(graph: Graph) -> list[set[int]]:
    """For each element of the first output, y, the elements of the first input, x, that it depends on.

    Weights that are zero, and factors that are zero, carry nothing.
    """
    depends: list[set[int]] = [set() for _ in range(graph.outputs[0].size)]
    for first in range(0, graph.inputs[0].size, _TOGETHER):
        for i, mark in enumerate(_reached(graph, range(first, min(first + _TOGETHER, graph.inputs[0].size))).T):
            depends[i].update((np.flatnonzero(mark) + first).tolist())
    return depends


def _reached(graph: Graph, chosen: range) -> Marks:
    """(chosen elements of x, elements of y): whether the one reaches the other."""
    count, size = len(chosen), graph.inputs[0].size
    marks: dict[Value, Marks] = {value: np.zeros((count, *value.shape), bool) for value in graph.inputs}
    marks[graph.inputs[0]] = np.eye(size, dtype=bool)[chosen.start : chosen.stop].reshape(count, *graph.inputs[0].shape)

    def read(value: Value) -> Marks:
        if isinstance(value, Constant):
            return np.zeros((count, *value.shape), bool)
        return marks[value]

    zeros = _Zeros()
    for node in graph.nodes:
        zeros.visit(node)
        marks[node.output] = _marks(node, [read(value) for value in node.inputs], zeros)
    return read(graph.outputs[0]).reshape(count, -1)


class _Zeros:
    """Where a value is zero whatever the inputs are: constants and views of them."""

    def __init__(self) -> None:
        self._known: dict[Value, Marks] = {}

    def visit(self, node: Node) -> None:
        if isinstance(node, View):
            source = self.of(node.input)
            if source is not None:
                self._known[node.output] = viewed(source, node)

    def of(self, value: Value) -> Marks | None:
        return value.array == 0 if isinstance(value, Constant) else self._known.get(value)


def _marks(node: Node, inputs: list[Marks], zeros: _Zeros) -> Marks:
    if isinstance(node, Map):
        if node.function is Function.MUL:
            for i, j in ((0, 1), (1, 0)):
                nothing = zeros.of(node.inputs[i])
                if nothing is not None:
                    return inputs[j] & ~nothing
        return np.asarray(np.logical_or.reduce(inputs), bool)
    if isinstance(node, View):
        return np.asarray(viewed(inputs[0], node), bool)
    if isinstance(node, Reshape):
        return inputs[0].reshape(len(inputs[0]), *node.output.shape)
    if isinstance(node, Gather):
        return inputs[0].take(list(node.indices), node.axis + 1)
    if isinstance(node, Assemble):
        whole = np.zeros((len(inputs[0]), *node.output.shape), bool)
        for part, mark in zip(node.parts, inputs, strict=True):
            place = zip(part.starts, part.steps, part.value.shape, strict=True)
            whole[(slice(None), *(slice(a, a + step * n, step) for a, step, n in place))] = mark
        return whole
    if isinstance(node, Linear):
        weight = (node.weight.array.T if node.transposed else node.weight.array) != 0
        result: Marks = np.asarray((inputs[0].astype(np.float32) @ weight.astype(np.float32)) > 0)
        return result if node.addend is None or isinstance(node.addend, Constant) else result | inputs[1]
    if isinstance(node, Reduce):
        kept = len(node.output.shape) + 1
        return np.asarray(inputs[0].any(axis=tuple(range(kept, inputs[0].ndim))))
    if isinstance(node, Lookup):
        return np.repeat(inputs[0][..., None], node.table.shape[1], axis=-1)
    assert isinstance(node, Scatter) and isinstance(node.node, Gather), "derivatives are not asked for their dependencies"
    added = np.zeros((len(inputs[0]), *node.output.shape), bool)
    into, source = np.moveaxis(added, node.node.axis + 1, 0), np.moveaxis(inputs[0], node.node.axis + 1, 0)
    np.logical_or.at(into, list(node.node.indices), source)
    return added
