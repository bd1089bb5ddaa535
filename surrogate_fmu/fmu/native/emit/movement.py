"""Nodes that move elements: most are ways to read or places to write, the rest copies."""

from surrogate_fmu.fmu.native.emit.access import Access, order_of, row_major
from surrogate_fmu.fmu.native.emit.context import Context
from surrogate_fmu.fmu.native.emit.expressions import literal
from surrogate_fmu.fmu.native.emit.loops import Operand
from surrogate_fmu.fmu.native.graph import Assemble, Gather, Linear, Lookup, Reshape, Scatter, View


def emit_reshape(context: Context, node: Reshape) -> None:
    """Another way to read, windows for linear maps, or a copy."""
    source = context.read(node.input)
    access = source.reshaped(node.input.shape, node.output.shape)
    users = context.storage.users.get(node.output, [])
    lead = len(node.output.shape) - 1
    if access is not None:
        context.storage.access[node.output] = access
    elif (
        users
        and all(isinstance(user, Linear) and user.input is node.output for user in users)
        and node.output not in context.graph.outputs
        and node.input.shape[:lead] == node.output.shape[:-1]
    ):
        # Windows that only linear maps read are gathered piece by piece, there.
        context.packed[node.output] = source
        context.packed_shapes[node.output] = node.input.shape
    else:
        target = context.place(node.output, range(len(node.output.shape)))
        under = target.reshaped(node.output.shape, node.input.shape)
        if under is None:
            # The place has gaps: a copy in between.
            scratch = context.storage.scratch(node.output.size, node.output.rows).base
            context.copy(node.input.shape, node.output.rows, source, Access(scratch, 0, row_major(node.input.shape)))
            context.copy(node.output.shape, node.output.rows, Access(scratch, 0, row_major(node.output.shape)), target)
        else:
            context.copy(node.input.shape, node.output.rows, source, under)


def emit_gather(context: Context, node: Gather) -> None:
    """A copy through a table of indices."""
    source = context.read(node.input)
    target = context.place(node.output, order_of(node.input.shape, source.strides))
    table = context.library.table(node.indices)
    # One loop over the gathered axis, outermost, with the index looked up; within it, plain loops.
    rest = [a for a in order_of(node.output.shape, target.strides) if a != node.axis]
    shape = node.output.shape
    context.table_loop(shape, node.output.rows, table, node.axis, rest, source, target, "{y} = {x};", gathered=True)


def emit_assemble(context: Context, node: Assemble) -> None:
    """Copies of the parts that were not calculated in their place."""
    if node.output not in context.storage.access:
        largest = max(node.parts, key=lambda part: part.value.size).value
        source = context.read(largest)
        context.place(node.output, order_of(largest.shape, source.strides))
        if not node.is_covered:
            target = Operand("y", context.storage.access[node.output], written=True)
            context.loop(node.output.shape, node.output.rows, [target], [f"{{y}} = {literal(node.fill)};"])
    whole = context.storage.touch(context.storage.access[node.output])
    for i, part in enumerate(node.parts):
        if part.value.size and not context.storage.is_placed_in(part.value, node, i):
            place = whole.part(part.starts, part.steps)
            scalar = context.scalar(part.value)
            if scalar is not None:
                context.loop(part.value.shape, node.output.rows, [Operand("y", place, written=True)], [f"{{y}} = {scalar};"])
            else:
                context.copy(part.value.shape, node.output.rows, context.read(part.value), place)


def emit_scatter(context: Context, node: Scatter) -> None:
    """Zeros, then sums into where a view or a gather reads."""
    source = context.read(node.input)
    target = context.place(node.output, range(len(node.output.shape)))
    rows = node.output.rows
    context.loop(node.output.shape, rows, [Operand("y", target, written=True)], ["{y} = (real)0;"])
    if isinstance(node.node, View):
        through = target.viewed(node.node.starts, node.node.axes)
        operands = [Operand("x", source), Operand("y", through, written=True)]
        context.loop(node.input.shape, rows, operands, ["{y} += {x};"], order_of(node.input.shape, source.strides))
    else:
        axis = node.node.axis
        table = context.library.table(node.node.indices)
        rest = [a for a in order_of(node.input.shape, source.strides) if a != axis]
        context.table_loop(node.input.shape, rows, table, axis, rest, source, target, "{y} += {x};", gathered=False)


def emit_lookup(context: Context, node: Lookup) -> None:
    """Copies of rows of a table."""
    index = context.read(node.index)
    target = context.place(node.output, range(len(node.output.shape)))
    count, width = node.table.shape
    table = context.read(node.table)
    spread = Access(index.base, index.offset, (*index.strides, 0))
    column = Access(table.base, table.offset, (*[0] * len(index.strides), 1))
    operands = [Operand("index", spread), Operand("table", column), Operand("y", target, written=True)]
    body = [f"{{y}} = (&{{table}})[sf_table_row({{index}}, {count}) * {width}];"]
    context.loop(node.output.shape, node.output.rows, operands, body)
