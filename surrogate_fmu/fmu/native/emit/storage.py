"""Where values lie: in results directly where they can, else in buffers of the work space that are used again."""

from collections.abc import Sequence
from dataclasses import dataclass

from surrogate_fmu.fmu.native.emit.access import Access, Base, base_row, row_major, strides_in_order
from surrogate_fmu.fmu.native.graph import Assemble, Graph, Node, Rows, Value, values_read

_ALIGNMENT = 16  # numbers: buffers start on cache lines


@dataclass(eq=False)
class Buffer:
    """A part of the work space, in use from its first step to its last."""

    base: Base
    size: int
    rows: Rows
    first: int
    last: int
    offset: int = -1


class Storage:
    """Hands out memory for the values of one graph.

    Args:
        graph: what is emitted.
        outputs: name of the pointer for each of the graph's outputs.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str]) -> None:
        self.buffers: dict[Base, Buffer] = {}
        self.access: dict[Value, Access] = {}
        self.step = 0
        self.filled: list[tuple[Assemble, Access]] = []
        self._results: dict[Value, Access] = {}
        for name, value in zip(outputs, graph.outputs, strict=True):
            if value.rows is Rows.MANY and value not in graph.inputs and value.size:
                self._results.setdefault(value, Access(Base(name, value.size), 0, row_major(value.shape)))
        self._wholes: dict[Value, tuple[Assemble, int]] = {}
        self.users: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for value in values_read(node):
                self.users.setdefault(value, []).append(node)
            if isinstance(node, Assemble):
                for i, part in enumerate(node.parts):
                    if part.value.rows is node.output.rows:
                        self._wholes.setdefault(part.value, (node, i))

    def place(self, value: Value, order: Sequence[int]) -> Access:
        """Memory for a value that a step is about to calculate, its axes preferably in this order."""
        if value in self._results:
            self.access[value] = self._results[value]
        elif value in self._wholes and value not in self.access:
            node, i = self._wholes[value]
            if node.output not in self.access:
                self.access[node.output] = self.place(node.output, order)
                if not node.is_covered:
                    self.filled.append((node, self.access[node.output]))
            part = node.parts[i]
            self.access[value] = self.access[node.output].part(part.starts, part.steps)
        else:
            base = self.scratch(value.size, value.rows).base
            self.access[value] = Access(base, 0, strides_in_order(value.shape, order))
        return self.touch(self.access[value])

    def whole_of(self, value: Value) -> Value | None:
        """The whole in which a value is calculated, if it is a part of one."""
        return self._wholes[value][0].output if value in self._wholes else None

    def scratch(self, size: int, rows: Rows) -> Buffer:
        """A buffer of `size` numbers per row."""
        base = Base(f"b{len(self.buffers)}", base_row(rows, size))
        buffer = Buffer(base, size, rows, self.step, self.step)
        self.buffers[base] = buffer
        return buffer

    def touch(self, access: Access) -> Access:
        """Note that the present step uses this memory."""
        buffer = self.buffers.get(access.base)
        if buffer is not None:
            buffer.last = max(buffer.last, self.step)
        return access

    def is_placed_in(self, value: Value, whole: Assemble, i: int) -> bool:
        """Whether a part was calculated where it belongs."""
        part = whole.parts[i]
        here = self.access.get(whole.output)
        return here is not None and self.access.get(value) == here.part(part.starts, part.steps)

    def plan(self) -> tuple[int, int]:
        """Give each buffer its place; returns the numbers needed once, and per row."""
        totals = []
        for rows in (Rows.ONE, Rows.MANY):
            placed: list[Buffer] = []
            for buffer in sorted((b for b in self.buffers.values() if b.rows is rows), key=lambda b: (b.first, -b.size)):
                busy = sorted((b.offset, b.size) for b in placed if b.first <= buffer.last and buffer.first <= b.last)
                offset = 0
                for start, size in busy:
                    if offset + buffer.size <= start:
                        break
                    offset = max(offset, -(-(start + size) // _ALIGNMENT) * _ALIGNMENT)
                buffer.offset = offset
                placed.append(buffer)
            totals.append(-(-max([b.offset + b.size for b in placed], default=0) // _ALIGNMENT) * _ALIGNMENT)
        return totals[0], totals[1]
