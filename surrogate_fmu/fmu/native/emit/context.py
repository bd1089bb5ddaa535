"""What the emission of one graph's nodes works with: memory, constants, loops, and the calls so far."""

from collections.abc import Sequence
from math import prod

from surrogate_fmu.fmu.native.emit.access import Access, Base, order_of, row_major
from surrogate_fmu.fmu.native.emit.expressions import literal
from surrogate_fmu.fmu.native.emit.library import LoopLibrary
from surrogate_fmu.fmu.native.emit.loops import Operand, arguments, loop_nest, parameters
from surrogate_fmu.fmu.native.emit.storage import Storage
from surrogate_fmu.fmu.native.emit.weights import NAME, WeightPool
from surrogate_fmu.fmu.native.graph import Constant, Graph, Linear, Reduce, Rows, Shape, Value, View

_LARGE = 256  # elements: a loop over as many is no slower as a function of its own, and quicker to compile


class Context:
    """The state of emitting one graph.

    Args:
        graph: what is calculated.
        outputs: pointer names of the graph's outputs.
        weights: collects the constants.
        library: collects the loops.

    Attributes:
        calls: lines of C so far.
        sparse: values that are mostly zeros.
        packed: windows that linear maps gather themselves, by the value that they make up; and their shapes.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str], weights: WeightPool, library: LoopLibrary) -> None:
        self.graph, self.weights, self.library = graph, weights, library
        self.storage = Storage(graph, outputs)
        self.calls: list[str] = []
        self.packed: dict[Value, Access] = {}
        self.packed_shapes: dict[Value, Shape] = {}
        self.views = {node.output: node for node in graph.nodes if isinstance(node, View)}
        self._channels_last = {view.input for view in self.views.values() if _is_window(view)}
        self.weight_base = Base(NAME, 0)
        self.sparse = _sparse_values(graph)

    def read(self, value: Value) -> Access:
        """Where a value lies; views and constants are found on first use."""
        if isinstance(value, Constant) and value not in self.storage.access:
            self.storage.access[value] = Access(self.weight_base, self.weights.plain(value), row_major(value.shape))
        elif value in self.views and value not in self.storage.access:
            view = self.views[value]
            self.storage.access[value] = self.read(view.input).viewed(view.starts, view.axes)
        return self.storage.touch(self.storage.access[value])

    def place(self, value: Value, order: Sequence[int]) -> Access:
        """Memory for a value that is about to be calculated, axes preferably in this order."""
        if value in self._channels_last or self.storage.whole_of(value) in self._channels_last:
            order = (1, 2, 0)
        access = self.storage.place(value, order)
        # A whole with gaps is filled before its first part comes.
        for whole, place in self.storage.filled:
            target = Operand("y", place, written=True)
            self.loop(whole.output.shape, whole.output.rows, [target], [f"{{y}} = {literal(whole.fill)};"])
        self.storage.filled.clear()
        return access

    def loop(
        self,
        shape: Shape,
        rows: Rows,
        operands: Sequence[Operand],
        body: Sequence[str],
        order: Sequence[int] | None = None,
    ) -> None:
        """A loop over all elements; axes run as the result lies unless an order is given."""
        written = next(o for o in operands if o.written)
        order = order_of(shape, written.access.strides) if order is None else order
        nest = loop_nest(shape, rows, operands, order, body)
        name = self.library.loop(parameters(operands, rows), nest, inline=prod(shape) < _LARGE)
        self.calls.append(f"{name}({arguments(operands, rows)});")

    def copy(self, shape: Shape, rows: Rows, source: Access, target: Access) -> None:
        """One loop that copies."""
        operands = [Operand("x", source), Operand("y", target, written=True)]
        self.loop(shape, rows, operands, ["{y} = {x};"])

    def scalar(self, value: Value) -> str | None:
        """A constant of one number as C."""
        node = self.views.get(value)
        source = node.input if node is not None else value
        if isinstance(source, Constant) and source.size == 1:
            return literal(float(source.array.astype(self.weights.dtype).reshape(-1)[0]))
        return None

    def table_loop(
        self,
        shape: Shape,
        rows: Rows,
        table: str,
        axis: int,
        rest: list[int],
        source: Access,
        target: Access,
        body: str,
        gathered: bool,
    ) -> None:
        """One loop over an axis, outermost, whose place in source or target comes from a table; within it, plain loops."""
        read = "x" if gathered else "y"
        stride = (source if gathered else target).strides[axis]
        other = (target if gathered else source).strides[axis]
        operands = [Operand("x", source), Operand("y", target, written=True)]
        flat = tuple(1 if a == axis else n for a, n in enumerate(shape))
        inner = [Operand("x_k", source), Operand("y_k", target, written=True)]
        lines = []
        lines.append(f"    for (ptrdiff_t k = 0; k < {shape[axis]}; k++) {{")
        moved = {read: f"{table}[k] * (ptrdiff_t){stride}", ("y" if gathered else "x"): f"k * {other}"}
        lines.append(f"        const real *x_k = x + {moved['x']};")
        lines.append(f"        real *y_k = y + {moved['y']};")
        text = body.replace("{x}", "{x_k}").replace("{y}", "{y_k}")
        lines += ["    " + line for line in loop_nest(flat, rows, inner, [axis, *rest], [text])]
        lines.append("    }")
        name = self.library.loop(parameters(operands, rows), lines, inline=False)
        self.calls.append(f"{name}({arguments(operands, rows)});")


def _sparse_values(graph: Graph) -> set[Value]:
    """Directions, and what is zero where they are: a direction is often along one axis."""
    if any(value.rows is not Rows.MANY for value in graph.inputs):
        found = {value for value in graph.inputs if value.rows is Rows.MANY}
        for node in graph.nodes:
            kept = not isinstance(node, Linear | Reduce)
            if kept and all(value in found for value in node.inputs if value.rows is Rows.MANY):
                found.add(node.output)
        return {value for value in found if value.rows is Rows.MANY}
    return set()


def _is_window(view: View) -> bool:
    """Whether a view shows windows (rows, columns, kernel rows, kernel columns, channels) of more than one pixel."""
    sources = [axis.source for axis in view.axes]
    return len(view.starts) == 3 and sources == [1, 2, 1, 2, 0] and view.axes[2].size * view.axes[3].size > 1
