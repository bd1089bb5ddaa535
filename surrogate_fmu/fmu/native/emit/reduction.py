"""Reductions: along contiguous numbers by a kernel, else as loops that add up whole arrays."""

from surrogate_fmu.fmu.native.emit.access import Access, merged_axes, order_of
from surrogate_fmu.fmu.native.emit.context import Context
from surrogate_fmu.fmu.native.emit.expressions import literal
from surrogate_fmu.fmu.native.emit.loops import Operand
from surrogate_fmu.fmu.native.graph import Reduce, Reduction


def emit_reduce(context: Context, node: Reduce) -> None:
    """Every result from its contiguous numbers, or all results at once, number after number."""
    source = context.read(node.input)
    kept = len(node.output.shape)
    shape, reduced = node.output.shape, node.input.shape[kept:]
    target = context.place(node.output, order_of(shape, source.strides[:kept]))
    rows = node.output.rows
    run = merged_axes(reduced, [source.strides[kept:]], range(len(reduced)))
    outer = Access(source.base, source.offset, source.strides[:kept])
    if len(run) <= 1 and (not run or run[0][1][0] == 1 or not shape):
        size, step = (run[0][0], run[0][1][0]) if run else (1, 1)
        operands = [Operand("x", outer), Operand("y", target, written=True)]
        context.loop(shape, rows, operands, [f"{{y}} = sf_{node.reduction.value}(&{{x}}, {size}, {step});"])
        return
    start = {Reduction.SUM: 0.0, Reduction.MAX: float("-inf"), Reduction.MIN: float("inf")}[node.reduction]
    context.loop(shape, rows, [Operand("y", target, written=True)], [f"{{y}} = {literal(start)};"])
    combine = {
        Reduction.SUM: "{y} += {x};",
        Reduction.MAX: "{y} = sf_maximum({y}, {x});",
        Reduction.MIN: "{y} = sf_minimum({y}, {x});",
    }
    whole = Access(target.base, target.offset, (*target.strides, *[0] * len(reduced)))
    order = [*range(kept, kept + len(reduced)), *order_of(shape, target.strides)]
    operands = [Operand("x", source), Operand("y", whole, written=True)]
    context.loop(node.input.shape, rows, operands, [combine[node.reduction]], order)
