"""One graph as C: its steps as loops and kernel calls over memory that `Storage` hands out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from surrogate_fmu.fmu.native.emit.access import Access, Base, merged_axes, order_of, row_major
from surrogate_fmu.fmu.native.emit.expressions import expression, literal
from surrogate_fmu.fmu.native.emit.library import LoopLibrary
from surrogate_fmu.fmu.native.emit.loops import Operand, arguments, loop_nest, parameters, pointer
from surrogate_fmu.fmu.native.emit.schedule import schedule
from surrogate_fmu.fmu.native.emit.storage import Storage
from surrogate_fmu.fmu.native.emit.weights import BLOCK, NAME, WeightPool
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
    Reduction,
    Reshape,
    Rows,
    Scatter,
    Shape,
    Value,
    View,
)

_LARGE = 256  # elements: a loop over as many is no slower as a function of its own, and quicker to compile
_TILE = 16384  # numbers: windows are gathered in pieces that stay in the cache


@dataclass(frozen=True)
class EmittedFunction:
    """A function over some rows.

    Attributes:
        text: C definitions; the last is `static void <name>_rows(inputs, outputs, real *one, real *many, ptrdiff_t rows)`.
        once: numbers of work space behind `one`.
        per_row: numbers of work space behind `many`, per row.
    """

    text: str
    once: int
    per_row: int


class FunctionEmitter:
    """Emits one graph.

    Args:
        name: prefix of everything that is defined.
        graph: what is calculated.
        inputs: pointer names of the graph's inputs.
        outputs: pointer names of the graph's outputs.
        weights: collects the constants.
        library: collects the loops.
    """

    def __init__(
        self, name: str, graph: Graph, inputs: Sequence[str], outputs: Sequence[str], weights: WeightPool, library: LoopLibrary
    ) -> None:
        self.name, self.graph, self.inputs, self.outputs = name, graph, inputs, outputs
        self.weights, self.library = weights, library
        self.storage = Storage(graph, outputs)
        self.calls: list[str] = []
        self.packed: dict[Value, Access] = {}
        self._packed_shapes: dict[Value, Shape] = {}
        self._views = {node.output: node for node in graph.nodes if isinstance(node, View)}
        self._channels_last = {view.input for view in self._views.values() if _is_window(view)}
        self._weight_base = Base(NAME, 0)

    def emit(self) -> EmittedFunction:
        """The C text and its need of work space."""
        for name, value in zip(self.inputs, self.graph.inputs, strict=True):
            row = value.size if value.rows is Rows.MANY else 0
            self.storage.access[value] = Access(Base(name, row), 0, row_major(value.shape))
        steps = schedule(self.graph)
        for number, step in enumerate(steps):
            self.storage.step = number
            first = step.nodes[0]
            if first.output.size == 0:
                self.storage.access[first.output] = Access(self._weight_base, 0, (0,) * len(first.output.shape))
            elif isinstance(first, Map):
                self._maps([node for node in step.nodes if isinstance(node, Map)])
            else:
                self._node(first)
        self.storage.step = len(steps)
        for name, value in zip(self.outputs, self.graph.outputs, strict=True):
            result = Access(Base(name, value.size), 0, row_major(value.shape))
            source = self._read(value)
            if value.size and (source.base.name, source.offset, source.strides) != (name, 0, result.strides):
                self._copy(value.shape, Rows.MANY, source, result)
        once, per_row = self.storage.plan()
        return EmittedFunction(self._definition(), once, per_row)

    def _definition(self) -> str:
        listed = [f"const real *{name}" for name in self.inputs] + [f"real *{name}" for name in self.outputs]
        lines = [f"static void {self.name}_rows({', '.join([*listed, 'real *one', 'real *many', 'ptrdiff_t rows'])})", "{"]
        for buffer in self.storage.buffers.values():
            start = f"many + {buffer.offset} * rows" if buffer.rows is Rows.MANY else f"one + {buffer.offset}"
            lines.append(f"    real *const {buffer.base.name} = {start};")
        used = " ".join(self.calls)
        words = set(used.replace("(", " ").replace(",", " ").replace(")", " ").split())
        for name in (*self.inputs, *self.outputs, "one", "many", "rows"):
            unused = name not in words
            if name in ("one", "many"):
                unused = not any(b.rows is (Rows.ONE if name == "one" else Rows.MANY) for b in self.storage.buffers.values())
            if name == "rows":
                unused = unused and not any(b.rows is Rows.MANY for b in self.storage.buffers.values())
            if unused:
                lines.append(f"    (void)({name});")
        lines += [f"    {call}" for call in self.calls]
        return "\n".join([*lines, "}", ""])

    def _read(self, value: Value) -> Access:
        if isinstance(value, Constant) and value not in self.storage.access:
            self.storage.access[value] = Access(self._weight_base, self.weights.plain(value), row_major(value.shape))
        elif value in self._views and value not in self.storage.access:
            view = self._views[value]
            self.storage.access[value] = self._read(view.input).viewed(view.starts, view.axes)
        return self.storage.touch(self.storage.access[value])

    def _place(self, value: Value, order: Sequence[int]) -> Access:
        if value in self._channels_last:
            order = (1, 2, 0)
        access = self.storage.place(value, order)
        # A whole with gaps is filled before its first part comes.
        for whole, place in self.storage.filled:
            target = Operand("y", place, written=True)
            self._loop(whole.output.shape, whole.output.rows, [target], [f"{{y}} = {literal(whole.fill)};"])
        self.storage.filled.clear()
        return access

    def _loop(
        self,
        shape: Shape,
        rows: Rows,
        operands: Sequence[Operand],
        body: Sequence[str],
        order: Sequence[int] | None = None,
    ) -> None:
        written = next(o for o in operands if o.written)
        order = order_of(shape, written.access.strides) if order is None else order
        nest = loop_nest(shape, rows, operands, order, body)
        name = self.library.loop(parameters(operands, rows), nest, inline=prod(shape) < _LARGE)
        self.calls.append(f"{name}({arguments(operands, rows)});")

    def _copy(self, shape: Shape, rows: Rows, source: Access, target: Access) -> None:
        operands = [Operand("x", source), Operand("y", target, written=True)]
        self._loop(shape, rows, operands, ["{y} = {x};"])

    def _maps(self, nodes: list[Map]) -> None:
        """Elementwise nodes over the same elements as one loop; what no other step reads stays in a register."""
        inside = {node.output for node in nodes}
        shape, rows = nodes[0].output.shape, nodes[0].output.rows
        operands: list[Operand] = []
        names: dict[Value, str] = {}
        loaded: dict[tuple[Base, int, tuple[int, ...]], str] = {}
        body: list[str] = []
        for node in nodes:
            for value in node.inputs:
                if value in names or value in inside:
                    continue
                scalar = self._scalar(value)
                if scalar is not None:
                    names[value] = scalar
                    continue
                access = self._read(value)
                key = (access.base, access.offset, access.strides)
                if key not in loaded:
                    loaded[key] = f"x{len(operands)}"
                    operands.append(Operand(loaded[key], access))
                names[value] = "{" + loaded[key] + "}"
        order = self._loop_order(shape, operands)
        for i, node in enumerate(nodes):
            names[node.output] = f"t{i}"
            body.append(f"const real t{i} = {expression(node.function, [names[v] for v in node.inputs])};")
        stored = set(self.graph.outputs)
        members = {id(node) for node in nodes}
        for i, node in enumerate(nodes):
            if node.output in stored or any(id(user) not in members for user in self.storage.users.get(node.output, [])):
                target = Operand(f"y{i}", self._place(node.output, order), written=True)
                operands.append(target)
                body.append(f"{{y{i}}} = t{i};")
        if any(o.written for o in operands):
            self._loop(shape, rows, operands, body, order)

    def _scalar(self, value: Value) -> str | None:
        """A constant of one number as C."""
        node = self._views.get(value)
        source = node.input if node is not None else value
        if isinstance(source, Constant) and source.size == 1:
            return literal(float(source.array.astype(self.weights.dtype).reshape(-1)[0]))
        return None

    def _loop_order(self, shape: Shape, operands: Sequence[Operand]) -> list[int]:
        """The order of the operand that moves along most elements."""
        best: Sequence[int] = row_major(shape)
        most = 0
        for operand in operands:
            moves = prod(n for n, stride in zip(shape, operand.access.strides, strict=True) if stride)
            if moves > most and self.storage.buffers.get(operand.access.base) is not None:
                most, best = moves, operand.access.strides
        return order_of(shape, best)

    def _node(self, node: Node) -> None:
        if isinstance(node, Reshape):
            self._reshape(node)
        elif isinstance(node, Gather):
            self._gather(node)
        elif isinstance(node, Assemble):
            self._assemble(node)
        elif isinstance(node, Scatter):
            self._scatter(node)
        elif isinstance(node, Linear):
            self._linear(node)
        elif isinstance(node, Reduce):
            self._reduce(node)
        elif isinstance(node, Lookup):
            self._lookup(node)

    def _reshape(self, node: Reshape) -> None:
        source = self._read(node.input)
        access = source.reshaped(node.input.shape, node.output.shape)
        users = self.storage.users.get(node.output, [])
        lead = len(node.output.shape) - 1
        if access is not None:
            self.storage.access[node.output] = access
        elif (
            users
            and all(isinstance(user, Linear) and user.input is node.output for user in users)
            and node.output not in self.graph.outputs
            and node.input.shape[:lead] == node.output.shape[:-1]
        ):
            # Windows that only linear maps read are gathered piece by piece, there.
            self.packed[node.output] = source
            self._packed_shapes[node.output] = node.input.shape
        else:
            target = self._place(node.output, range(len(node.output.shape)))
            under = target.reshaped(node.output.shape, node.input.shape)
            if under is None:
                # The place has gaps: a copy in between.
                scratch = self.storage.scratch(node.output.size, node.output.rows).base
                self._copy(node.input.shape, node.output.rows, source, Access(scratch, 0, row_major(node.input.shape)))
                self._copy(node.output.shape, node.output.rows, Access(scratch, 0, row_major(node.output.shape)), target)
            else:
                self._copy(node.input.shape, node.output.rows, source, under)

    def _gather(self, node: Gather) -> None:
        source = self._read(node.input)
        target = self._place(node.output, order_of(node.input.shape, source.strides))
        table = self.library.table(node.indices)
        # One loop over the gathered axis, outermost, with the index looked up; within it, plain loops.
        rest = [a for a in order_of(node.output.shape, target.strides) if a != node.axis]
        shape = node.output.shape
        self._table_loop(shape, node.output.rows, table, node.axis, rest, source, target, "{y} = {x};", gathered=True)

    def _table_loop(
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

    def _assemble(self, node: Assemble) -> None:
        if node.output not in self.storage.access:
            largest = max(node.parts, key=lambda part: part.value.size).value
            source = self._read(largest)
            self._place(node.output, order_of(largest.shape, source.strides))
            if not node.is_covered:
                target = Operand("y", self.storage.access[node.output], written=True)
                self._loop(node.output.shape, node.output.rows, [target], [f"{{y}} = {literal(node.fill)};"])
        whole = self.storage.touch(self.storage.access[node.output])
        for i, part in enumerate(node.parts):
            if part.value.size and not self.storage.is_placed_in(part.value, node, i):
                place = whole.part(part.starts, part.steps)
                scalar = self._scalar(part.value)
                if scalar is not None:
                    self._loop(part.value.shape, node.output.rows, [Operand("y", place, written=True)], [f"{{y}} = {scalar};"])
                else:
                    self._copy(part.value.shape, node.output.rows, self._read(part.value), place)

    def _scatter(self, node: Scatter) -> None:
        source = self._read(node.input)
        target = self._place(node.output, range(len(node.output.shape)))
        rows = node.output.rows
        self._loop(node.output.shape, rows, [Operand("y", target, written=True)], ["{y} = (real)0;"])
        if isinstance(node.node, View):
            through = target.viewed(node.node.starts, node.node.axes)
            operands = [Operand("x", source), Operand("y", through, written=True)]
            self._loop(node.input.shape, rows, operands, ["{y} += {x};"], order_of(node.input.shape, source.strides))
        else:
            axis = node.node.axis
            table = self.library.table(node.node.indices)
            rest = [a for a in order_of(node.input.shape, source.strides) if a != axis]
            self._table_loop(node.input.shape, rows, table, axis, rest, source, target, "{y} += {x};", gathered=False)

    def _reduce(self, node: Reduce) -> None:
        source = self._read(node.input)
        kept = len(node.output.shape)
        shape, reduced = node.output.shape, node.input.shape[kept:]
        target = self._place(node.output, order_of(shape, source.strides[:kept]))
        rows = node.output.rows
        run = merged_axes(reduced, [source.strides[kept:]], range(len(reduced)))
        outer = Access(source.base, source.offset, source.strides[:kept])
        if len(run) <= 1 and (not run or run[0][1][0] == 1 or not shape):
            size, step = (run[0][0], run[0][1][0]) if run else (1, 1)
            operands = [Operand("x", outer), Operand("y", target, written=True)]
            self._loop(shape, rows, operands, [f"{{y}} = sf_{node.reduction.value}(&{{x}}, {size}, {step});"])
            return
        start = {Reduction.SUM: 0.0, Reduction.MAX: float("-inf"), Reduction.MIN: float("inf")}[node.reduction]
        self._loop(shape, rows, [Operand("y", target, written=True)], [f"{{y}} = {literal(start)};"])
        combine = {
            Reduction.SUM: "{y} += {x};",
            Reduction.MAX: "{y} = sf_maximum({y}, {x});",
            Reduction.MIN: "{y} = sf_minimum({y}, {x});",
        }
        whole = Access(target.base, target.offset, (*target.strides, *[0] * len(reduced)))
        order = [*range(kept, kept + len(reduced)), *order_of(shape, target.strides)]
        operands = [Operand("x", source), Operand("y", whole, written=True)]
        self._loop(node.input.shape, rows, operands, [combine[node.reduction]], order)

    def _lookup(self, node: Lookup) -> None:
        index = self._read(node.index)
        target = self._place(node.output, range(len(node.output.shape)))
        count, width = node.table.shape
        table = self._read(node.table)
        spread = Access(index.base, index.offset, (*index.strides, 0))
        column = Access(table.base, table.offset, (*[0] * len(index.strides), 1))
        operands = [Operand("index", spread), Operand("table", column), Operand("y", target, written=True)]
        body = [f"{{y}} = (&{{table}})[sf_table_row({{index}}, {count}) * {width}];"]
        self._loop(node.output.shape, node.output.rows, operands, body)

    def _linear(self, node: Linear) -> None:
        lead = node.output.shape[:-1]
        inputs = node.input.shape[-1]
        order = [*range(len(node.output.shape))]
        target = self._place(node.output, order)
        if target.strides[-1] != 1 and node.output.shape[-1] != 1:
            # The whole that it is part of runs another way: calculate beside it, then copy.
            wanted = target
            beside = Access(self.storage.scratch(node.output.size, node.output.rows).base, 0, row_major(node.output.shape))
            self._product(node, lead, inputs, beside)
            self._copy(node.output.shape, node.output.rows, beside, wanted)
        else:
            self._product(node, lead, inputs, target)

    def _product(self, node: Linear, lead: Shape, inputs: int, target: Access) -> None:
        rows = node.output.rows
        if node.input in self.packed:
            self._product_of_windows(node, lead, inputs, target)
            return
        source = self._read(node.input)
        if source.strides[-1] != 1 and inputs != 1:
            copied = Access(self.storage.scratch(node.input.size, node.input.rows).base, 0, row_major(node.input.shape))
            self._copy(node.input.shape, node.input.rows, source, copied)
            source = copied
        addend = self._addend(node, target)
        accesses = [source, target, addend] if addend is not None else [source, target]
        strides = [access.strides[:-1] for access in accesses]
        loops: list[tuple[str, list[int]]] = [(str(n), s) for n, s in merged_axes(lead, strides, range(len(lead)))]
        if rows is Rows.MANY:
            row_strides = [access.base.row for access in accesses]
            if not loops:
                loops = [("rows", row_strides)]
            elif len(loops) == 1 and all(r == int(loops[0][0]) * s for r, s in zip(row_strides, loops[0][1], strict=True)):
                loops = [(f"rows * {loops[0][0]}", loops[0][1])]
            else:
                loops.insert(0, ("rows", row_strides))
        if not loops:
            loops = [("1", [0] * len(accesses))]
        *outer, (count, steps) = loops
        self._kernel_call(node, outer, count, steps, [pointer(a) for a in accesses], inputs)

    def _addend(self, node: Linear, target: Access) -> Access | None:
        """Access to the addend as the kernel takes it: a bias, or a value whose last axis is contiguous."""
        if node.addend is None:
            return None
        access = self._read(node.addend)
        if isinstance(node.addend, Constant):
            return Access(access.base, access.offset, (*[0] * (len(target.strides) - 1), 1))
        if access.strides[-1] == 1 or node.output.shape[-1] == 1:
            return access
        copied = Access(self.storage.scratch(node.output.size, node.addend.rows).base, 0, row_major(node.output.shape))
        self._copy(node.output.shape, node.addend.rows, access, copied)
        return copied

    def _kernel_call(
        self, node: Linear, outer: list[tuple[str, list[int]]], count: str, steps: list[int], pointers: list[str], inputs: int
    ) -> None:
        lines = []
        for depth, (size, _) in enumerate(outer):
            lines.append("    " * depth + f"for (ptrdiff_t i{depth} = 0; i{depth} < {size}; i{depth}++)")
        moved = [p + "".join(f" + i{depth} * {s[k]}" for depth, (_, s) in enumerate(outer) if s[k]) for k, p in enumerate(pointers)]
        lines.append("    " * len(outer) + self._kernel(node, moved, steps, count, inputs))
        self.calls.extend(lines)

    def _kernel(self, node: Linear, pointers: list[str], steps: list[int], count: str, inputs: int) -> str:
        """The call of the kernel that suits the sizes; all of them multiply (in, out) or its transpose from panels."""
        weight, transposed = node.weight, node.transposed
        if not transposed and _is_narrow(*weight.shape):
            weight, transposed = self.weights.transposed(weight), True
        addend, addend_step = (pointers[2], steps[2]) if len(pointers) > 2 else ("NULL", 0)
        name = "sf_linear_transposed" if transposed else "sf_linear"
        rows, columns = weight.shape
        x, y = f"{pointers[0]}, {steps[0]}", f"{pointers[1]}, {steps[1]}"
        return f"{name}({y}, {x}, {NAME} + {self.weights.panels(weight)}, {addend}, {addend_step}, {count}, {rows}, {columns});"

    def _product_of_windows(self, node: Linear, lead: Shape, inputs: int, target: Access) -> None:
        """Rows of windows are gathered into a tile and multiplied there, tile by tile."""
        source = self.storage.touch(self.packed[node.input])
        shape = self._packed_shapes[node.input]
        addend = self._addend(node, target)
        accesses = [source, target] if addend is None else [source, target, addend]
        # As many of the last axes as a tile holds, as long as the results lie in even steps.
        inner = len(lead)
        while inner > 0 and prod(lead[inner - 1 :]) * inputs <= _TILE:
            results = [a.strides[inner - 1 : len(lead)] for a in accesses[1:]]
            if len(merged_axes(lead[inner - 1 :], results, range(len(lead) - inner + 1))) > 1:
                break
            inner -= 1
        inner = min(inner, len(lead) - 1) if lead else 0
        count = prod(lead[inner:])
        tile = self.storage.scratch(count * inputs, Rows.ONE).base
        outer = [(str(lead[a]), [access.strides[a] for access in accesses]) for a in range(inner)]
        if node.output.rows is Rows.MANY:
            outer.insert(0, ("rows", [access.base.row for access in accesses]))
        run = merged_axes(lead[inner:], [a.strides[inner : len(lead)] for a in accesses[1:]], range(len(lead) - inner))
        steps = [inputs, *(run[0][1] if run else [0] * (len(accesses) - 1))]
        window = shape[inner:]
        operands = [
            Operand("x", Access(source.base, source.offset, source.strides[inner:])),
            Operand("y", Access(tile, 0, row_major(window)), written=True),
        ]
        nest = loop_nest(window, Rows.ONE, operands, range(len(window)), ["{y} = {x};"])
        name = self.library.loop(parameters(operands, Rows.ONE), nest, inline=False)
        for depth, (size, _) in enumerate(outer):
            self.calls.append("    " * depth + f"for (ptrdiff_t i{depth} = 0; i{depth} < {size}; i{depth}++) {{")
        moved = [
            pointer(access) + "".join(f" + i{depth} * {s[k]}" for depth, (_, s) in enumerate(outer) if s[k])
            for k, access in enumerate(accesses)
        ]
        indent = "    " * len(outer)
        self.calls.append(f"{indent}{name}({moved[0]}, {tile.name});")
        self.calls.append(indent + self._kernel(node, [tile.name, *moved[1:]], steps, str(count), inputs))
        self.calls.extend("    " * depth + "}" for depth in reversed(range(len(outer))))


def _is_narrow(inputs: int, outputs: int) -> bool:
    """Whether few outputs of many inputs are faster as products along the inputs, each of which ends in adding up a block."""
    return 1.5 * outputs * (inputs / BLOCK + 4) < inputs * -(-outputs // BLOCK)


def _is_window(view: View) -> bool:
    """Whether a view shows windows (rows, columns, kernel rows, kernel columns, channels) of more than one pixel."""
    sources = [axis.source for axis in view.axes]
    return sources == [1, 2, 1, 2, 0] and view.axes[2].size * view.axes[3].size > 1
