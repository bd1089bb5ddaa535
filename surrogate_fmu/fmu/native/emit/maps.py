"""Elementwise nodes as fused loops."""

from collections.abc import Sequence
from math import prod

from surrogate_fmu.fmu.native.emit.access import Base, order_of, row_major
from surrogate_fmu.fmu.native.emit.context import Context
from surrogate_fmu.fmu.native.emit.expressions import expression
from surrogate_fmu.fmu.native.emit.loops import Operand
from surrogate_fmu.fmu.native.graph import Map, Shape, Value


def emit_maps(context: Context, nodes: list[Map]) -> None:
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
            scalar = context.scalar(value)
            if scalar is not None:
                names[value] = scalar
                continue
            access = context.read(value)
            key = (access.base, access.offset, access.strides)
            if key not in loaded:
                loaded[key] = f"x{len(operands)}"
                operands.append(Operand(loaded[key], access))
            names[value] = "{" + loaded[key] + "}"
    order = _loop_order(context, shape, operands)
    for i, node in enumerate(nodes):
        names[node.output] = f"t{i}"
        body.append(f"const real t{i} = {expression(node.function, [names[v] for v in node.inputs])};")
    stored = set(context.graph.outputs)
    members = {id(node) for node in nodes}
    for i, node in enumerate(nodes):
        if node.output in stored or any(id(user) not in members for user in context.storage.users.get(node.output, [])):
            target = Operand(f"y{i}", context.place(node.output, order), written=True)
            operands.append(target)
            body.append(f"{{y{i}}} = t{i};")
    if any(o.written for o in operands):
        context.loop(shape, rows, operands, body, order)


def _loop_order(context: Context, shape: Shape, operands: Sequence[Operand]) -> list[int]:
    """The order of the operand that moves along most elements."""
    best: Sequence[int] = row_major(shape)
    most = 0
    for operand in operands:
        moves = prod(n for n, stride in zip(shape, operand.access.strides, strict=True) if stride)
        if moves > most and context.storage.buffers.get(operand.access.base) is not None:
            most, best = moves, operand.access.strides
    return order_of(shape, best)
