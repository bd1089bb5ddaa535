"""The intermediate form between TorchScript and C: pure array functions whose leading axis is the batch.

A value is an array per row, row-major; its shape leaves the batch out, which is symbolic. Rows say how many there are of it:
one for constants and for the point at which a derivative is taken, many for what has the batch, or tangents, as leading axis.
A value of one row meets values of many rows by repetition.

There are nine kinds of node, and every supported operation of TorchScript is made of them. That keeps differentiation
(`derivative/`) and emission (`emit/`) small: a convolution is a view of windows and a linear map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.fmu.native.functions import Function

Shape = tuple[int, ...]


class Rows(Enum):
    """How many rows a value has."""

    ONE = "one"
    MANY = "many"


@dataclass(frozen=True, eq=False)
class Value:
    """An array (rows, *shape) that an input or a node gives."""

    shape: Shape
    rows: Rows

    @property
    def size(self) -> int:
        """Elements of one row."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Constant(Value):
    """An array (*shape) that is the same for all rows."""

    array: NDArray[np.floating]


def constant(array: NDArray[np.floating] | float) -> Constant:
    """A constant of these numbers; the element type stays."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    return Constant(array.shape, Rows.ONE, array)


@dataclass(frozen=True, eq=False)
class Map:
    """output[i] = function(inputs[0][i], inputs[1][i], ...), all of one shape."""

    function: Function
    inputs: tuple[Value, ...]
    output: Value


@dataclass(frozen=True)
class Axis:
    """An axis of a view: index i moves `step` elements along axis `source` of what is viewed; source None repeats."""

    size: int
    source: int | None
    step: int = 1


@dataclass(frozen=True, eq=False)
class View:
    """output[i] = input[j] with j[a] = starts[a] + sum of step * i over the axes whose source is a.

    Slices, permutations, repetitions along new axes, reversals and windows (two axes with one source) are views.
    """

    input: Value
    starts: tuple[int, ...]
    axes: tuple[Axis, ...]
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The value that is viewed."""
        return (self.input,)


@dataclass(frozen=True, eq=False)
class Reshape:
    """The same elements in row-major order under another shape."""

    input: Value
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The value that is reshaped."""
        return (self.input,)


@dataclass(frozen=True, eq=False)
class Gather:
    """output[..., i, ...] = input[..., indices[i], ...] along one axis; indices are fixed."""

    input: Value
    axis: int
    indices: tuple[int, ...]
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The value that is read."""
        return (self.input,)


@dataclass(frozen=True)
class Part:
    """Where a part lies in the whole: element i at starts + steps * i."""

    value: Value
    starts: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Assemble:
    """Parts put side by side, disjoint; elements that none of them covers are `fill`. `add` lets parts overlap and sums them."""

    parts: tuple[Part, ...]
    fill: float
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The parts' values."""
        return tuple(part.value for part in self.parts)

    @property
    def is_covered(self) -> bool:
        """Whether the parts leave nothing to fill."""
        return sum(part.value.size for part in self.parts) == self.output.size


@dataclass(frozen=True, eq=False)
class Scatter:
    """The adjoint of a view or a gather, and sums by an index: output is zero but for output[where `node` reads for element i] +=
    input[i].
    """

    input: Value
    node: View | Gather
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The value that is distributed."""
        return (self.input,)


@dataclass(frozen=True, eq=False)
class Linear:
    """output[..., o] = addend + sum of input[..., i] * weight[i, o] over i; `transposed` uses weight[o, i] instead.

    The addend is nothing, a constant (out,), or a value of the output's shape.
    """

    input: Value
    weight: Constant
    addend: Value | None
    transposed: bool
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Input and addend."""
        return (self.input,) if self.addend is None else (self.input, self.addend)


class Reduction(Enum):
    """What a reduction calculates."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, eq=False)
class Reduce:
    """The last `count` axes reduced to one number."""

    reduction: Reduction
    input: Value
    count: int
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The value that is reduced."""
        return (self.input,)


@dataclass(frozen=True, eq=False)
class Lookup:
    """output[..., :] = table[index[...], :]; an index that is no row takes the nearest."""

    index: Value
    table: Constant
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The index."""
        return (self.index,)


Node = Map | View | Reshape | Gather | Assemble | Scatter | Linear | Reduce | Lookup


@dataclass(frozen=True)
class Graph:
    """A function from inputs to outputs: nodes in an order in which each can be calculated."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]

    def restricted(self, outputs: Sequence[int]) -> "Graph":
        """The graph of some of the outputs."""
        kept = [self.outputs[i] for i in outputs]
        return Graph(self.inputs, tuple(kept), needed_nodes(self.nodes, kept))

    def constants(self) -> Iterator[Constant]:
        """The constants in use, each once."""
        seen: set[Value] = set()
        for value in (*(v for node in self.nodes for v in values_read(node)), *self.outputs):
            if isinstance(value, Constant) and value not in seen:
                seen.add(value)
                yield value


def values_read(node: Node) -> tuple[Value, ...]:
    """Inputs and constants of a node."""
    if isinstance(node, Linear):
        return (*node.inputs, node.weight)
    if isinstance(node, Lookup):
        return (*node.inputs, node.table)
    return node.inputs


def needed_nodes(nodes: Sequence[Node], outputs: Sequence[Value]) -> tuple[Node, ...]:
    """The nodes without those that no output depends on."""
    needed: set[Value] = set(outputs)
    kept = []
    for node in reversed(nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
