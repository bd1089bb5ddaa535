"""Linear maps as kernel calls over rows, or over tiles of windows."""

from math import prod

from surrogate_fmu.fmu.native.emit.access import Access, merged_axes, row_major
from surrogate_fmu.fmu.native.emit.context import Context
from surrogate_fmu.fmu.native.emit.loops import Operand, loop_nest, parameters, pointer
from surrogate_fmu.fmu.native.emit.weights import BLOCK, NAME
from surrogate_fmu.fmu.native.graph import Constant, Linear, Rows, Shape

_TILE = 16384  # numbers: windows are gathered in pieces that stay in the cache


def emit_linear(context: Context, node: Linear) -> None:
    """A kernel call into the result's place, or beside it and a copy."""
    lead = node.output.shape[:-1]
    inputs = node.input.shape[-1]
    order = [*range(len(node.output.shape))]
    target = context.place(node.output, order)
    if target.strides[-1] != 1 and node.output.shape[-1] != 1:
        # The whole that it is part of runs another way: calculate beside it, then copy.
        wanted = target
        beside = Access(context.storage.scratch(node.output.size, node.output.rows).base, 0, row_major(node.output.shape))
        _product(context, node, lead, inputs, beside)
        context.copy(node.output.shape, node.output.rows, beside, wanted)
    else:
        _product(context, node, lead, inputs, target)


def _product(context: Context, node: Linear, lead: Shape, inputs: int, target: Access) -> None:
    rows = node.output.rows
    if node.input in context.packed:
        _product_of_windows(context, node, lead, inputs, target)
        return
    source = context.read(node.input)
    if source.strides[-1] != 1 and inputs != 1:
        copied = Access(context.storage.scratch(node.input.size, node.input.rows).base, 0, row_major(node.input.shape))
        context.copy(node.input.shape, node.input.rows, source, copied)
        source = copied
    addend = _addend(context, node, target)
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
    _kernel_call(context, node, outer, count, steps, [pointer(a) for a in accesses], inputs)


def _addend(context: Context, node: Linear, target: Access) -> Access | None:
    """Access to the addend as the kernel takes it: a bias, or a value whose last axis is contiguous."""
    if node.addend is None:
        return None
    access = context.read(node.addend)
    if isinstance(node.addend, Constant):
        return Access(access.base, access.offset, (*[0] * (len(target.strides) - 1), 1))
    if access.strides[-1] == 1 or node.output.shape[-1] == 1:
        return access
    copied = Access(context.storage.scratch(node.output.size, node.addend.rows).base, 0, row_major(node.output.shape))
    context.copy(node.output.shape, node.addend.rows, access, copied)
    return copied


def _kernel_call(
    context: Context,
    node: Linear,
    outer: list[tuple[str, list[int]]],
    count: str,
    steps: list[int],
    pointers: list[str],
    inputs: int,
) -> None:
    lines = []
    for depth, (size, _) in enumerate(outer):
        lines.append("    " * depth + f"for (ptrdiff_t i{depth} = 0; i{depth} < {size}; i{depth}++)")
    moved = [p + "".join(f" + i{depth} * {s[k]}" for depth, (_, s) in enumerate(outer) if s[k]) for k, p in enumerate(pointers)]
    lines.append("    " * len(outer) + _kernel(context, node, moved, steps, count, inputs))
    context.calls.extend(lines)


def _kernel(context: Context, node: Linear, pointers: list[str], steps: list[int], count: str, inputs: int) -> str:
    """The call of the kernel that suits the sizes; all of them multiply (in, out) or its transpose from panels."""
    weight, transposed = node.weight, node.transposed
    if not transposed and _is_narrow(*weight.shape):
        weight, transposed = context.weights.transposed(weight), True
    rows, columns = weight.shape
    x, y = f"{pointers[0]}, {steps[0]}", f"{pointers[1]}, {steps[1]}"
    if node.input in context.sparse and node.addend is None and not transposed:
        return f"sf_linear_sparse({y}, {x}, {NAME} + {context.weights.panels(weight)}, {count}, {rows}, {columns});"
    addend, addend_step = (pointers[2], steps[2]) if len(pointers) > 2 else ("NULL", 0)
    name = "sf_linear_transposed" if transposed else "sf_linear"
    return f"{name}({y}, {x}, {NAME} + {context.weights.panels(weight)}, {addend}, {addend_step}, {count}, {rows}, {columns});"


def _product_of_windows(context: Context, node: Linear, lead: Shape, inputs: int, target: Access) -> None:
    """Rows of windows are gathered into a tile and multiplied there, tile by tile."""
    source = context.storage.touch(context.packed[node.input])
    shape = context.packed_shapes[node.input]
    addend = _addend(context, node, target)
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
    tile = context.storage.scratch(count * inputs, Rows.ONE).base
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
    name = context.library.loop(parameters(operands, Rows.ONE), nest, inline=False)
    for depth, (size, _) in enumerate(outer):
        context.calls.append("    " * depth + f"for (ptrdiff_t i{depth} = 0; i{depth} < {size}; i{depth}++) {{")
    moved = [
        pointer(access) + "".join(f" + i{depth} * {s[k]}" for depth, (_, s) in enumerate(outer) if s[k])
        for k, access in enumerate(accesses)
    ]
    indent = "    " * len(outer)
    context.calls.append(f"{indent}{name}({moved[0]}, {tile.name});")
    context.calls.append(indent + _kernel(context, node, [tile.name, *moved[1:]], steps, str(count), inputs))
    context.calls.extend("    " * depth + "}" for depth in reversed(range(len(outer))))


def _is_narrow(inputs: int, outputs: int) -> bool:
    """Whether few outputs of many inputs are faster as products along the inputs, each of which ends in adding up a block."""
    return 1.5 * outputs * (inputs / BLOCK + 4) < inputs * -(-outputs // BLOCK)
