"""Building graphs: every method appends at most one node, or none where the result is known or the same."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from surrogate_fmu.fmu.native.functions import FOLDABLE, Function
from surrogate_fmu.fmu.native.graph import (
    Assemble,
    Axis,
    Constant,
    Gather,
    Graph,
    Linear,
    Lookup,
    Map,
    Node,
    Part,
    Reduce,
    Reduction,
    Reshape,
    Rows,
    Scatter,
    Shape,
    Value,
    View,
    constant,
    needed_nodes,
)


class Builder:
    """A graph under construction. Axes count from 0 over a value's shape, so without the batch."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._views: dict[Value, View] = {}
        self._reshapes: dict[Value, Reshape] = {}

    def finish(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> Graph:
        """The graph of what the outputs need."""
        return Graph(tuple(inputs), tuple(outputs), needed_nodes(self.nodes, outputs))

    def moved(self, value: Value) -> View | Reshape | None:
        """The view or reshape that a value is, if it is one."""
        return self._views.get(value) or self._reshapes.get(value)

    def origin(self, value: Value) -> Value:
        """What a view shows, or the value itself."""
        view = self._views.get(value)
        return value if view is None else view.input

    def zeros(self, shape: Shape) -> Value:
        """Zeros of this shape."""
        return self.expand(constant(np.zeros((), np.float32)), shape)

    def replay(self, node: Node, inputs: Sequence[Value]) -> Value:
        """The same operation on other inputs of the same shapes."""
        match node:
            case Map():
                return self.map(node.function, *inputs)
            case View():
                return self.view(inputs[0], node.starts, node.axes)
            case Reshape():
                return self.reshape(inputs[0], node.output.shape)
            case Gather():
                return self.gather(inputs[0], node.axis, node.indices)
            case Assemble():
                parts = [Part(value, part.starts, part.steps) for value, part in zip(inputs, node.parts, strict=True)]
                return self.assemble(parts, node.output.shape, node.fill)
            case Scatter():
                return self.scatter(inputs[0], node.node)
            case Linear():
                return self.linear(inputs[0], node.weight, inputs[1] if len(inputs) > 1 else None, node.transposed)
            case Reduce():
                kept = len(node.output.shape)
                return self.reduce(node.reduction, inputs[0], range(kept, kept + node.count))
            case Lookup():
                return self.lookup(inputs[0], node.table)

    def map(self, function: Function, *inputs: Value | float) -> Value:
        """An elementwise function; shapes are broadcast as numpy does, numbers become constants."""
        values = [v if isinstance(v, Value) else constant(np.float64(v)) for v in inputs]
        if function in FOLDABLE and all(isinstance(v, Constant) for v in values):
            # In double, so that constants of float64 code are not rounded to the module's own type on the way.
            return constant(
                np.asarray(FOLDABLE[function](*(v.array.astype(np.float64) for v in values if isinstance(v, Constant))))
            )
        same = self._same(function, values)
        if same is not None:
            return same
        shape = np.broadcast_shapes(*(v.shape for v in values))
        values = [self.expand(v, shape) for v in values]
        return self._add(Map(function, tuple(values), Value(shape, _rows(values))))

    def _same(self, function: Function, values: Sequence[Value]) -> Value | None:
        """The operand that x + 0, x - 0, x * 1 and x / 1 leave as it is."""
        neutral = {Function.ADD: 0.0, Function.SUB: 0.0, Function.MUL: 1.0, Function.DIV: 1.0}.get(function)
        if neutral is None:
            return None
        first, second = values
        candidates = [(first, second)] + ([(second, first)] if function in (Function.ADD, Function.MUL) else [])
        for kept, other in candidates:
            fits = np.broadcast_shapes(kept.shape, other.shape) == kept.shape
            if isinstance(other, Constant) and fits and bool((other.array == neutral).all()):
                return kept
        return None

    def view(self, value: Value, starts: Sequence[int], axes: Sequence[Axis]) -> Value:
        """A view; a view of a view becomes one view of what lies below."""
        below = self._views.get(value)
        if below is not None:
            starts, axes = _composed(below, starts, axes)
            value = below.input
        shape = tuple(axis.size for axis in axes)
        same = all(axis.source == i and axis.step == 1 for i, axis in enumerate(axes))
        if same and not any(starts) and shape == value.shape:
            return value
        node = View(value, tuple(starts), tuple(axes), Value(shape, value.rows))
        if isinstance(value, Constant) and all(axis.source is not None for axis in axes):
            return constant(viewed(value.array, node))
        self._views[node.output] = node
        return self._add(node)

    def expand(self, value: Value, shape: Shape) -> Value:
        """Repeat along new leading axes and along axes of size 1."""
        if value.shape == shape:
            return value
        lead = len(shape) - len(value.shape)
        axes = [
            Axis(size, None if i < lead or (value.shape[i - lead] == 1 and size != 1) else i - lead) for i, size in enumerate(shape)
        ]
        return self.view(value, [0] * len(value.shape), axes)

    def permute(self, value: Value, order: Sequence[int]) -> Value:
        """Axis i of the result is axis order[i]."""
        return self.view(value, [0] * len(order), [Axis(value.shape[a], a) for a in order])

    def slice(self, value: Value, axis: int, start: int, size: int, step: int = 1) -> Value:
        """Elements start, start + step, ... along an axis."""
        starts = [start if a == axis else 0 for a in range(len(value.shape))]
        return self.view(value, starts, [Axis(size, a, step) if a == axis else Axis(n, a) for a, n in enumerate(value.shape)])

    def select(self, value: Value, axis: int, index: int) -> Value:
        """One index of an axis, which goes."""
        starts = [index if a == axis else 0 for a in range(len(value.shape))]
        return self.view(value, starts, [Axis(n, a) for a, n in enumerate(value.shape) if a != axis])

    def reshape(self, value: Value, shape: Shape) -> Value:
        """The same elements, row-major, under another shape."""
        assert prod(shape) == value.size, f"{value.shape} cannot become {shape}"
        if shape == value.shape:
            return value
        if isinstance(value, Constant):
            return constant(value.array.reshape(shape))
        # Axes of size 1 that come or go are views, which later views can be folded into.
        if tuple(n for n in shape if n != 1) == tuple(n for n in value.shape if n != 1):
            sources = iter([a for a, n in enumerate(value.shape) if n != 1])
            return self.view(value, [0] * len(value.shape), [Axis(n, None if n == 1 else next(sources)) for n in shape])
        node = Reshape(value, Value(shape, value.rows))
        self._reshapes[node.output] = node
        return self._add(node)

    def gather(self, value: Value, axis: int, indices: Sequence[int]) -> Value:
        """Elements of an axis by fixed indices; indices in even steps are a slice."""
        steps = {after - before for before, after in pairwise(indices)}
        if len(indices) and len(steps) <= 1:
            return self.slice(value, axis, indices[0], len(indices), steps.pop() if steps else 1)
        if isinstance(value, Constant):
            return constant(value.array.take(list(indices), axis))
        shape = (*value.shape[:axis], len(indices), *value.shape[axis + 1 :])
        return self._add(Gather(value, axis, tuple(indices), Value(shape, value.rows)))

    def assemble(self, parts: Sequence[Part], shape: Shape, fill: float = 0.0) -> Value:
        """Parts side by side in a whole of this shape."""
        if all(isinstance(part.value, Constant) for part in parts):
            whole = np.full(shape, fill, np.result_type(*(p.value.array.dtype for p in parts if isinstance(p.value, Constant))))
            for part in parts:
                assert isinstance(part.value, Constant)
                place = zip(part.starts, part.steps, part.value.shape, strict=True)
                whole[tuple(slice(start, start + step * size, step) for start, step, size in place)] = part.value.array
            return constant(whole)
        return self._add(Assemble(tuple(parts), fill, Value(shape, _rows([part.value for part in parts]))))

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """Values one after the other along an axis."""
        values = [value for value in values if value.size] or list(values[:1])
        if len(values) == 1:
            return values[0]
        start, parts = 0, []
        for value in values:
            starts = tuple(start if a == axis else 0 for a in range(len(value.shape)))
            parts.append(Part(value, starts, (1,) * len(value.shape)))
            start += value.shape[axis]
        first = values[0].shape
        return self.assemble(parts, (*first[:axis], start, *first[axis + 1 :]))

    def pad(self, value: Value, before: Sequence[int], after: Sequence[int], fill: float = 0.0) -> Value:
        """`before` and `after` elements of `fill` around each axis; negative numbers cut off."""
        for axis, (low, high) in enumerate(zip(before, after, strict=True)):
            if low < 0 or high < 0:
                value = self.slice(value, axis, max(-low, 0), value.shape[axis] + min(low, 0) + min(high, 0))
        low_pads, high_pads = [max(n, 0) for n in before], [max(n, 0) for n in after]
        if not any(low_pads) and not any(high_pads):
            return value
        shape = tuple(a + n + b for a, n, b in zip(low_pads, value.shape, high_pads, strict=True))
        return self.assemble([Part(value, tuple(low_pads), (1,) * len(shape))], shape, fill)

    def scatter(self, value: Value, node: View | Gather) -> Value:
        """The adjoint of a view or a gather."""
        if isinstance(node, View) and _is_disjoint(node):
            placed: dict[int, Axis] = {axis.source: axis for axis in node.axes if axis.source is not None}
            positions = [i for _, i in sorted((a.source, i) for i, a in enumerate(node.axes) if a.source is not None)]
            shape = tuple(placed[a].size if a in placed else 1 for a in range(len(node.input.shape)))
            single = [i for i, axis in enumerate(node.axes) if axis.source is None]
            part = self.reshape(self.permute(value, [*positions, *single]), shape)
            steps = tuple(placed[a].step if a in placed else 1 for a in range(len(node.input.shape)))
            return self.assemble([Part(part, node.starts, steps)], node.input.shape)
        return self._add(Scatter(value, node, Value(node.input.shape, value.rows)))

    def linear(self, value: Value, weight: Constant, addend: Value | None = None, transposed: bool = False) -> Value:
        """value (..., in) times weight (in, out), or its transpose, plus the addend."""
        width = weight.shape[0] if transposed else weight.shape[1]
        if weight.size == 0:
            nothing = self.zeros((*value.shape[:-1], width))
            return nothing if addend is None else self.map(Function.ADD, nothing, addend)
        if isinstance(value, Constant):
            product = constant(value.array @ (weight.array.T if transposed else weight.array))
            return product if addend is None else self.map(Function.ADD, product, addend)
        if isinstance(addend, Constant):
            if not addend.array.any():
                addend = None
            elif addend.shape != (width,):
                # Kernels take a bias per output; anything else varies over the rows within a row.
                return self.map(Function.ADD, self.linear(value, weight, None, transposed), addend)
        shape = (*value.shape[:-1], width)
        if addend is not None and not isinstance(addend, Constant):
            if addend.rows is not value.rows:
                return self.map(Function.ADD, self.linear(value, weight, None, transposed), addend)
            addend = self.expand(addend, shape)
        return self._add(Linear(value, weight, addend, transposed, Value(shape, value.rows)))

    def reduce(self, reduction: Reduction, value: Value, axes: Sequence[int]) -> Value:
        """Reduce over axes, which go; a maximum of nothing is not asked for."""
        kept = [a for a in range(len(value.shape)) if a not in axes]
        if all(value.shape[a] == 1 for a in axes):
            return self.reshape(value, tuple(value.shape[a] for a in kept))
        if value.size == 0 and reduction is Reduction.SUM:
            return self.zeros(tuple(value.shape[a] for a in kept))
        value = self.permute(value, [*kept, *axes])
        shape = tuple(value.shape[: len(kept)])
        if isinstance(value, Constant):
            functions: dict[Reduction, Callable[..., Any]] = {Reduction.SUM: np.sum, Reduction.MAX: np.max, Reduction.MIN: np.min}
            return constant(functions[reduction](value.array, axis=tuple(range(len(kept), len(value.shape)))))
        return self._add(Reduce(reduction, value, len(axes), Value(shape, value.rows)))

    def lookup(self, index: Value, table: Constant) -> Value:
        """Rows of a table (count, width) by the numbers of index (...), which are whole -> (..., width)."""
        return self._add(Lookup(index, table, Value((*index.shape, table.shape[1]), index.rows)))

    def _add(self, node: Node) -> Value:
        self.nodes.append(node)
        return node.output


def viewed(array: np.ndarray, view: View) -> np.ndarray:
    """What a view of an array (rows may lead) shows."""
    lead = array.ndim - len(view.starts)
    element = array.strides[lead:]
    offset = tuple(slice(None) for _ in range(lead)) + tuple(slice(start, None) for start in view.starts)
    strides = [0 if axis.source is None else axis.step * element[axis.source] for axis in view.axes]
    shape = (*array.shape[:lead], *(axis.size for axis in view.axes))
    if 0 in shape:
        return np.zeros(shape, array.dtype)
    return np.lib.stride_tricks.as_strided(array[offset], shape, (*array.strides[:lead], *strides), writeable=False)


def _composed(below: View, starts: Sequence[int], axes: Sequence[Axis]) -> tuple[list[int], list[Axis]]:
    total = list(below.starts)
    for start, axis in zip(starts, below.axes, strict=True):
        if axis.source is not None:
            total[axis.source] += start * axis.step
    composed = []
    for axis in axes:
        inner = None if axis.source is None else below.axes[axis.source]
        if inner is None or inner.source is None:
            composed.append(Axis(axis.size, None))
        else:
            composed.append(Axis(axis.size, inner.source, axis.step * inner.step))
    return total, composed


def _is_disjoint(view: View) -> bool:
    """Whether a view reads nothing twice, and forwards, so that its adjoint is putting a part into a whole."""
    sources = [axis.source for axis in view.axes if not (axis.source is None and axis.size == 1)]
    return None not in sources and len(set(sources)) == len(sources) and all(axis.step > 0 for axis in view.axes)


def _rows(values: Sequence[Value]) -> Rows:
    return Rows.MANY if any(value.rows is Rows.MANY for value in values) else Rows.ONE
