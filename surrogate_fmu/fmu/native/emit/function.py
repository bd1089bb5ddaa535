"""One graph as C: its steps as loops and kernel calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from surrogate_fmu.fmu.native.emit.access import Access, Base, row_major
from surrogate_fmu.fmu.native.emit.context import Context
from surrogate_fmu.fmu.native.emit.library import LoopLibrary
from surrogate_fmu.fmu.native.emit.maps import emit_maps
from surrogate_fmu.fmu.native.emit.movement import emit_assemble, emit_gather, emit_lookup, emit_reshape, emit_scatter
from surrogate_fmu.fmu.native.emit.product import emit_linear
from surrogate_fmu.fmu.native.emit.reduction import emit_reduce
from surrogate_fmu.fmu.native.emit.schedule import schedule
from surrogate_fmu.fmu.native.emit.weights import WeightPool
from surrogate_fmu.fmu.native.graph import Assemble, Gather, Graph, Linear, Lookup, Map, Node, Reduce, Reshape, Rows, Scatter


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
        self._context = Context(graph, outputs, weights, library)

    def emit(self) -> EmittedFunction:
        """The C text and its need of work space."""
        for name, value in zip(self.inputs, self.graph.inputs, strict=True):
            row = value.size if value.rows is Rows.MANY else 0
            self._context.storage.access[value] = Access(Base(name, row), 0, row_major(value.shape))
        steps = schedule(self.graph)
        for number, step in enumerate(steps):
            self._context.storage.step = number
            first = step.nodes[0]
            if first.output.size == 0:
                self._context.storage.access[first.output] = Access(self._context.weight_base, 0, (0,) * len(first.output.shape))
            elif isinstance(first, Map):
                emit_maps(self._context, [node for node in step.nodes if isinstance(node, Map)])
            else:
                self._node(first)
        self._context.storage.step = len(steps)
        for name, value in zip(self.outputs, self.graph.outputs, strict=True):
            result = Access(Base(name, value.size), 0, row_major(value.shape))
            source = self._context.read(value)
            if value.size and (source.base.name, source.offset, source.strides) != (name, 0, result.strides):
                self._context.copy(value.shape, Rows.MANY, source, result)
        once, per_row = self._context.storage.plan()
        return EmittedFunction(self._definition(), once, per_row)

    def _definition(self) -> str:
        listed = [f"const real *{name}" for name in self.inputs] + [f"real *{name}" for name in self.outputs]
        lines = [f"static void {self.name}_rows({', '.join([*listed, 'real *one', 'real *many', 'ptrdiff_t rows'])})", "{"]
        for buffer in self._context.storage.buffers.values():
            start = f"many + {buffer.offset} * rows" if buffer.rows is Rows.MANY else f"one + {buffer.offset}"
            lines.append(f"    real *const {buffer.base.name} = {start};")
        used = " ".join(self._context.calls)
        words = set(used.replace("(", " ").replace(",", " ").replace(")", " ").split())
        for name in (*self.inputs, *self.outputs, "one", "many", "rows"):
            unused = name not in words
            if name in ("one", "many"):
                unused = not any(
                    b.rows is (Rows.ONE if name == "one" else Rows.MANY) for b in self._context.storage.buffers.values()
                )
            if name == "rows":
                unused = unused and not any(b.rows is Rows.MANY for b in self._context.storage.buffers.values())
            if unused:
                lines.append(f"    (void)({name});")
        lines += [f"    {call}" for call in self._context.calls]
        return "\n".join([*lines, "}", ""])

    def _node(self, node: Node) -> None:
        match node:
            case Reshape():
                emit_reshape(self._context, node)
            case Gather():
                emit_gather(self._context, node)
            case Assemble():
                emit_assemble(self._context, node)
            case Scatter():
                emit_scatter(self._context, node)
            case Linear():
                emit_linear(self._context, node)
            case Reduce():
                emit_reduce(self._context, node)
            case Lookup():
                emit_lookup(self._context, node)
