"""Linear maps: linear, addmm and the matrix products, with constants or between tensors."""

from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import Constant, Reduction
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.shape import concatenate, permute, reshape_axes
from surrogate_fmu.fmu.native.lowering.tensor import Traced, constant_of


@rule("linear")
def linear(scope: Scope, x: Any, weight: Any, bias: Any = None) -> Traced:
    """x (..., in), weight (out, in), bias (out) -> (..., out)."""
    if isinstance(x, Traced) and isinstance(weight, Tensor) and (bias is None or isinstance(bias, Tensor)):
        scope.row_axis(x, -1)
        addend = None if bias is None else scope.constant(bias)
        return x.with_value(scope.builder.linear(x.value, scope.constant(weight.t()), addend))
    product = matmul(scope, x, transposed(scope, weight))
    return product if bias is None else scope.elementwise(Function.ADD, product, bias)


@rule("addmm", "baddbmm")
def _addmm(scope: Scope, addend: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Traced:
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return scope.elementwise(Function.ADD, (a @ b) * alpha, _times(scope, addend, beta))
    addend = _times(scope, addend, beta)
    if isinstance(a, Traced) and isinstance(b, Tensor) and alpha == 1 and b.dim() == 2 and a.axis(-1) is not None:
        batched = isinstance(addend, Traced) and addend.shape == [*a.shape[:-1], b.shape[1]] and addend.batch_axis == a.batch_axis
        if batched or (isinstance(addend, Tensor) and addend.shape == (b.shape[1],)):
            value = addend.value if isinstance(addend, Traced) else scope.constant(addend)
            return a.with_value(scope.builder.linear(a.value, scope.constant(b), value))
    return scope.elementwise(Function.ADD, _times(scope, matmul(scope, a, b), alpha), addend)


@rule("matmul", "mm", "bmm", "mv", "__matmul__")
def matmul(scope: Scope, a: Any, b: Any) -> Traced:
    """torch.matmul, whichever side depends on the inputs."""
    rank_a, rank_b = (t.rank if isinstance(t, Traced) else t.dim() for t in (a, b))
    if rank_a == 1 and isinstance(a, Tensor):
        return _squeezed(scope, matmul(scope, a[None], b), -2 if rank_b > 1 else -1)
    if rank_b == 1 and isinstance(b, Tensor):
        return _squeezed(scope, matmul(scope, a, b[:, None]), -1)
    if rank_a == 1 or rank_b == 1:
        scope.refuse("multiplies along the batch, so that its rows would influence each other")
    if isinstance(a, Traced) and isinstance(b, Tensor):
        return _by_constant(scope, a, b)
    if isinstance(b, Traced) and isinstance(a, Tensor):
        return permute_last(scope, _by_constant(scope, permute_last(scope, b), a.transpose(-1, -2)))
    # Both depend on the inputs: products of rows and columns, added up.
    if a.axis(-1) is None or b.axis(-2) is None:
        scope.refuse("multiplies along the batch, so that its rows would influence each other")
    left = reshape_axes(scope, a, [*a.shape, 1])
    right = reshape_axes(scope, b, [*b.shape[:-2], 1, *b.shape[-2:]])
    product = scope.elementwise(Function.MUL, left, right)
    axis = scope.row_axis(product, -2)
    return product.with_value(
        scope.builder.reduce(Reduction.SUM, product.value, [axis]), product.batch_axis - (axis < product.batch_axis)
    )


def transposed(scope: Scope, tensor: Any) -> Any:
    """The last two axes exchanged."""
    return tensor.transpose(-1, -2) if isinstance(tensor, Tensor) else permute_last(scope, tensor)


def permute_last(scope: Scope, tensor: Traced) -> Traced:
    """The last two axes of a tensor exchanged."""
    order = list(range(tensor.rank))
    order[-2:] = order[-1], order[-2]
    return permute(scope, tensor, order)


def _by_constant(scope: Scope, a: Traced, b: Tensor) -> Traced:
    while b.dim() > 2 and b.shape[0] == 1:
        b = b[0]
    if b.dim() > 2:
        return _by_constants(scope, a, b)
    if a.axis(-1) is None:
        scope.refuse("multiplies along the batch, so that its rows would influence each other")
    return a.with_value(scope.builder.linear(a.value, scope.constant(b), None))


def _by_constants(scope: Scope, a: Traced, b: Tensor) -> Traced:
    """a (..., batch axes, m, k) by b (n, k, p), one product for each of the n."""
    if b.dim() > 3:
        scope.refuse(f"multiplies by a constant of shape {tuple(b.shape)}; more than one leading axis is not supported")
    if a.rank == 2:
        pieces = [matmul(scope, a, b[i]) for i in range(b.shape[0])]
        return concatenate(scope, [reshape_axes(scope, piece, [1, *piece.shape]) for piece in pieces], 0)
    if a.batch_axis == a.rank - 3:
        scope.refuse("pairs the batch with a constant's axis")
    axis = a.rank - 3
    count = b.shape[0]
    pieces = []
    for i in range(count):
        row_axis = scope.row_axis(a, axis)
        start = i if a.shape[axis] == count else 0
        part = a.with_value(scope.builder.slice(a.value, row_axis, start, 1))
        pieces.append(_by_constant(scope, part, b[i]))
    return concatenate(scope, pieces, axis)


def _times(scope: Scope, tensor: Any, factor: float) -> Any:
    if factor == 1:
        return tensor
    return scope.elementwise(Function.MUL, tensor, factor) if isinstance(tensor, Traced) else tensor * factor


def _squeezed(scope: Scope, tensor: Traced, dim: int) -> Traced:
    shape = tensor.shape
    del shape[dim]
    return reshape_axes(scope, tensor, shape)


@rule("outer")
def _outer(scope: Scope, a: Any, b: Any) -> Traced:
    return scope.refuse("is a product over the batch")


@rule("embedding")
def _embedding(scope: Scope, table: Any, index: Traced, *_: Any) -> Traced:
    rows: Constant = constant_of(table) if isinstance(table, Tensor) else scope.fixed(table, "table")
    return index.with_value(scope.builder.lookup(index.value, rows), dtype=torch.float32)
