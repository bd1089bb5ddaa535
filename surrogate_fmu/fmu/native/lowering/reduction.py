"""Sums, means, extrema and softmax over axes of a row."""

from typing import Any

import torch

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import Reduction
from surrogate_fmu.fmu.native.lowering.elementwise import _extremum as extremum
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.shape import reshape_axes
from surrogate_fmu.fmu.native.lowering.tensor import Traced


def reduce_axes(scope: Scope, reduction: Reduction, x: Traced, dims: Any, keep: bool) -> tuple[Traced, int]:
    """The reduced tensor, and how many elements each of its numbers comes from."""
    if dims is None or dims == []:
        scope.refuse("reduces over all axes, the batch among them; name the axes")
    chosen = sorted({dim % x.rank for dim in ([dims] if isinstance(dims, int) else dims)})
    axes = [scope.row_axis(x, dim) for dim in chosen]
    count = 1
    for axis in axes:
        count *= x.value.shape[axis]
    reduced = x.with_value(scope.builder.reduce(reduction, x.value, axes), x.batch_axis - sum(a < x.batch_axis for a in axes))
    if keep:
        reduced = reshape_axes(scope, reduced, [1 if dim in chosen else size for dim, size in enumerate(x.shape)])
    return reduced, count


@rule("sum")
def _sum(scope: Scope, x: Traced, dims: Any = None, keep: bool = False, dtype: Any = None) -> Traced:
    total, _ = reduce_axes(scope, Reduction.SUM, x, dims, keep)
    return total.with_value(total.value, dtype=torch.int64) if x.dtype is torch.bool else total


@rule("mean")
def mean(scope: Scope, x: Traced, dims: Any = None, keep: bool = False, dtype: Any = None) -> Traced:
    """The mean over axes."""
    total, count = reduce_axes(scope, Reduction.SUM, x, dims, keep)
    return scope.elementwise(Function.DIV, total, float(count))


@rule("var", "std")
def _var(scope: Scope, x: Traced, dims: Any = None, correction: Any = 1, keep: bool = False) -> Traced:
    if correction is None:
        correction = 1
    centred = scope.elementwise(Function.SUB, x, mean(scope, x, dims, True))
    total, count = reduce_axes(scope, Reduction.SUM, scope.elementwise(Function.MUL, centred, centred), dims, keep)
    variance = scope.elementwise(Function.DIV, total, float(count - correction))
    return scope.elementwise(Function.SQRT, variance) if scope.operation == "aten::std" else variance


@rule("amax", "amin")
def _amax(scope: Scope, x: Traced, dims: Any = None, keep: bool = False) -> Traced:
    return reduce_axes(scope, Reduction.MAX if scope.operation == "aten::amax" else Reduction.MIN, x, dims, keep)[0]


@rule("max", "min")
def _max(scope: Scope, x: Any, other: Any = None, keep: bool | None = None) -> Any:
    if isinstance(other, Traced | torch.Tensor):
        scope.operation = "aten::maximum" if scope.operation == "aten::max" else "aten::minimum"
        return extremum(scope, x, other)
    reduction = Reduction.MAX if scope.operation == "aten::max" else Reduction.MIN
    # The second result, the index, has no rule that takes it: using it is refused there.
    return reduce_axes(scope, reduction, x, other, bool(keep))[0], None


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(scope: Scope, x: Traced, dim: int, dtype: Any = None) -> Traced:
    """Softmax or its logarithm, the maximum taken off first."""
    highest, _ = reduce_axes(scope, Reduction.MAX, x, dim, True)
    shifted = scope.elementwise(Function.SUB, x, highest)
    powers = scope.elementwise(Function.EXP, shifted)
    total, _ = reduce_axes(scope, Reduction.SUM, powers, dim, True)
    if "log" in scope.operation:
        return scope.elementwise(Function.SUB, shifted, scope.elementwise(Function.LOG, total))
    return scope.elementwise(Function.DIV, powers, total)


@rule("logsumexp")
def _logsumexp(scope: Scope, x: Traced, dims: Any, keep: bool = False) -> Traced:
    highest, _ = reduce_axes(scope, Reduction.MAX, x, dims, True)
    total, _ = reduce_axes(
        scope, Reduction.SUM, scope.elementwise(Function.EXP, scope.elementwise(Function.SUB, x, highest)), dims, keep
    )
    low = reduce_axes(scope, Reduction.MAX, x, dims, keep)[0]
    return scope.elementwise(Function.ADD, scope.elementwise(Function.LOG, total), low)


@rule("norm", "linalg_vector_norm")
def _norm(scope: Scope, x: Traced, order: Any = 2, dims: Any = None, keep: bool = False, dtype: Any = None) -> Traced:
    if order not in (2, 2.0):
        scope.refuse(f"is the norm of order {order}; only 2 is supported")
    total, _ = reduce_axes(scope, Reduction.SUM, scope.elementwise(Function.MUL, x, x), dims, keep)
    return scope.elementwise(Function.SQRT, total)
