"""Movement of elements: shapes, axes, slices, parts and wholes."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import Gather, Value
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope, promoted
from surrogate_fmu.fmu.native.lowering.tensor import BATCH, UNKNOWN, Size, Traced, constant_of


def reshape_axes(scope: Scope, x: Traced, sizes: Sequence[Any]) -> Traced:
    """Other axes over the same elements; one size may be -1. The batch stays an axis of its own.

    Raises:
        LoweringError: the batch would be merged with another axis, or its size is fixed.
    """
    sizes = list(sizes)
    if UNKNOWN in sizes:
        scope.refuse(f"turns the shape {x.shape} into {sizes}, which merges the batch with another axis")
    if BATCH not in sizes:
        known = prod(size for size in sizes if size != -1)
        if -1 not in sizes or known != x.value.size:
            scope.refuse(f"turns the shape {x.shape} into {sizes}, which merges the batch with another axis or fixes its size")
        sizes[sizes.index(-1)] = BATCH
    elif -1 in sizes:
        known = prod(size for size in sizes if size != -1 and size is not BATCH)
        sizes[sizes.index(-1)] = x.value.size // known if known else 0
    axis = sizes.index(BATCH)
    rows = (*sizes[:axis], *sizes[axis + 1 :])
    if any(size is BATCH for size in rows) or prod(rows) != x.value.size:
        scope.refuse(f"turns the shape {x.shape} into {sizes}")
    if prod(sizes[:axis]) != prod(x.value.shape[: x.batch_axis]):
        scope.refuse(f"turns the shape {x.shape} into {sizes}, which mixes the rows of the batch")
    return x.with_value(scope.builder.reshape(x.value, tuple(int(size) for size in rows)), axis)


def permute(scope: Scope, x: Traced, dims: Sequence[int]) -> Traced:
    """Axis i of the result is axis dims[i], the batch among them."""
    dims = [dim + x.rank if dim < 0 else dim for dim in dims]
    order = [axis for axis in (x.axis(dim) for dim in dims) if axis is not None]
    return x.with_value(scope.builder.permute(x.value, order), dims.index(x.batch_axis))


def concatenate(scope: Scope, tensors: Sequence[Any], dim: int) -> Traced:
    """torch.cat; constants among the tensors are repeated over the batch."""
    tensors = [t for t in tensors if not (isinstance(t, Tensor) and t.dim() == 1 and t.numel() == 0)]
    first = next(t for t in tensors if isinstance(t, Traced))
    if any(isinstance(t, Traced) and (t.rank != first.rank or t.batch_axis != first.batch_axis) for t in tensors):
        scope.refuse(f"joins tensors {[list(t.shape) for t in tensors]} whose batch axes do not meet")
    axis = scope.row_axis(first, dim)
    values: list[Value] = []
    for tensor in tensors:
        if isinstance(tensor, Traced):
            values.append(tensor.value)
        elif tensor.shape[first.batch_axis] != 1:
            scope.refuse(f"joins a constant of {tensor.shape[first.batch_axis]} rows with the batch")
        else:
            values.append(scope.constant(tensor.squeeze(first.batch_axis)))
    return first.with_value(scope.builder.concatenate(values, axis), dtype=promoted(*tensors))


@rule("view", "reshape", "_unsafe_view", "view_as", "reshape_as")
def _reshape(scope: Scope, x: Traced, sizes: Any) -> Traced:
    if isinstance(sizes, Traced | Tensor):
        sizes = list(sizes.shape)
    if isinstance(x, Tensor):
        scope.refuse("gives a constant the shape of the batch; use expand")
    return reshape_axes(scope, x, sizes)


@rule("flatten")
def _flatten(scope: Scope, x: Traced, start: int = 0, end: int = -1) -> Traced:
    start, end = (dim + x.rank if dim < 0 else dim for dim in (start, end))
    sizes = x.shape
    merged = sizes[start : end + 1]
    size: Size = BATCH if BATCH in merged else prod(s for s in merged if isinstance(s, int))
    if BATCH in merged and any(s != 1 for s in merged if s is not BATCH):
        scope.refuse(f"merges the batch with other axes of {sizes}")
    return reshape_axes(scope, x, [*sizes[:start], size, *sizes[end + 1 :]])


@rule("unflatten")
def _unflatten(scope: Scope, x: Traced, dim: int, sizes: list[int]) -> Traced:
    dim = dim + x.rank if dim < 0 else dim
    total = x.shape[dim]
    if not isinstance(total, int):
        scope.refuse("divides the batch")
    known = prod(size for size in sizes if size != -1)
    sizes = [total // known if size == -1 else size for size in sizes]
    return reshape_axes(scope, x, [*x.shape[:dim], *sizes, *x.shape[dim + 1 :]])


@rule("unsqueeze")
def _unsqueeze(scope: Scope, x: Traced, dim: int) -> Traced:
    sizes: list[Any] = x.shape
    sizes.insert(dim + x.rank + 1 if dim < 0 else dim, 1)
    return reshape_axes(scope, x, sizes)


@rule("squeeze")
def _squeeze(scope: Scope, x: Traced, dims: Any = None) -> Traced:
    chosen = range(x.rank) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {dim + x.rank if dim < 0 else dim for dim in chosen}
    return reshape_axes(scope, x, [size for dim, size in enumerate(x.shape) if not (dim in gone and size == 1)])


@rule("permute")
def _permute(scope: Scope, x: Traced, dims: list[int]) -> Traced:
    return permute(scope, x, dims)


@rule("transpose", "swapaxes")
def _transpose(scope: Scope, x: Traced, a: int, b: int) -> Traced:
    order = list(range(x.rank))
    order[a], order[b] = order[b], order[a]
    return permute(scope, x, order)


@rule("t", "numpy_T")
def _t(scope: Scope, x: Traced) -> Traced:
    return permute(scope, x, list(reversed(range(x.rank))))


@rule("movedim")
def _movedim(scope: Scope, x: Traced, source: Any, target: Any) -> Traced:
    sources, targets = ([a] if isinstance(a, int) else a for a in (source, target))
    pairs = sorted((b % x.rank, a % x.rank) for a, b in zip(sources, targets, strict=True))
    order = [dim for dim in range(x.rank) if dim not in [a for _, a in pairs]]
    for place, dim in pairs:
        order.insert(place, dim)
    return permute(scope, x, order)


def _batched(scope: Scope, tensor: Tensor, axis: int, rank: int) -> Tensor:
    """A constant without the axis that becomes the batch."""
    own = tensor.dim() - rank + axis
    if own >= 0 and tensor.shape[own] != 1:
        scope.refuse(f"gives a constant of shape {tuple(tensor.shape)} the size of the batch along an axis that has another size")
    return tensor.squeeze(own) if own >= 0 else tensor


@rule("expand", "expand_as", "broadcast_to")
def _expand(scope: Scope, x: Any, sizes: Any, implicit: bool = False) -> Traced:
    sizes = list(sizes.shape) if isinstance(sizes, Traced | Tensor) else list(sizes)
    if isinstance(x, Tensor):
        axis = sizes.index(BATCH)
        row = _batched(scope, x, axis, len(sizes))
        shape = [int(size) for i, size in enumerate(sizes) if i != axis]
        own = [1] * (len(shape) - row.dim()) + list(row.shape)
        shape = [o if size == -1 else size for o, size in zip(own, shape, strict=True)]
        return Traced(scope.builder.expand(constant_of(row), tuple(shape)), axis, x.dtype)
    axis = len(sizes) - 1 - x.right
    if sizes[axis] is not BATCH and sizes[axis] != -1:
        scope.refuse(f"fixes the size of the batch at {sizes[axis]}")
    lead = len(sizes) - x.rank
    own_sizes = [1] * lead + x.shape
    rows = [own if size == -1 else size for own, size in zip(own_sizes, sizes, strict=True)]
    rows.pop(axis)
    tensor: Traced = x
    return tensor.with_value(scope.builder.expand(tensor.value, tuple(int(size) for size in rows)), axis)


@rule("repeat", "tile")
def _repeat(scope: Scope, x: Any, counts: list[Any]) -> Traced:
    counts = [1] * ((x.rank if isinstance(x, Traced) else x.dim()) - len(counts)) + list(counts)
    if isinstance(x, Tensor):
        axis = counts.index(BATCH)
        row = _batched(scope, x, axis, len(counts))
        return Traced(constant_of(row.repeat([n for i, n in enumerate(counts) if i != axis])), axis, x.dtype)
    axis = len(counts) - 1 - x.right
    if counts.pop(axis) != 1:
        scope.refuse("repeats the batch")
    value = scope.builder.reshape(x.value, (*[1] * (len(counts) - len(x.value.shape)), *x.value.shape))
    for a, count in enumerate(counts):
        value = scope.builder.concatenate([value] * count, a)
    tensor: Traced = x
    return tensor.with_value(value, axis)


@rule("slice", "narrow")
def _slice(scope: Scope, x: Any, *arguments: Any) -> Any:
    if isinstance(x, list | tuple):
        start, end, step = arguments
        return x[start:end:step]
    dim, start, end, step = (*arguments, 1) if scope.operation == "aten::slice" and len(arguments) < 4 else (*arguments, 1)[:4]
    if scope.operation == "aten::narrow":
        dim, start, end, step = arguments[0], arguments[1], arguments[1] + arguments[2], 1
    if x.axis(dim) is None:
        whole = start in (None, 0) and step == 1 and (end is None or end is BATCH or (isinstance(end, int) and end > 2**62))
        if not whole:
            scope.refuse("takes a part of the batch")
        return x
    axis = scope.row_axis(x, dim)
    indices = range(x.value.shape[axis])[slice(start, end, step)]
    return x.with_value(scope.builder.slice(x.value, axis, indices.start, len(indices), step))


@rule("select")
def select(scope: Scope, x: Traced, dim: int, index: Any) -> Traced:
    """One index of an axis, which goes."""
    axis = scope.row_axis(x, dim)
    index = scope.whole(index, "index")
    size = x.value.shape[axis]
    if not -size <= index < size:
        scope.refuse(f"takes index {index} of an axis of {size}")
    return x.with_value(scope.builder.select(x.value, axis, index % size), x.batch_axis - (axis < x.batch_axis))


@rule("index_select", "gather_rows")
def _index_select(scope: Scope, x: Traced, dim: int, index: Any) -> Traced:
    if isinstance(index, Traced):
        scope.refuse("takes elements by an index that depends on the inputs")
    axis = scope.row_axis(x, dim)
    size = x.value.shape[axis]
    return x.with_value(scope.builder.gather(x.value, axis, [int(i) % size for i in index.reshape(-1).tolist()]))


@rule("index_add")
def _index_add(scope: Scope, x: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Traced:
    if isinstance(index, Traced):
        scope.refuse("adds elements by an index that depends on the inputs")
    if not isinstance(x, Traced) or not isinstance(source, Traced):
        scope.refuse("adds elements of a constant by an index")
    axis = scope.row_axis(source, dim)
    size = x.value.shape[axis]
    read = Gather(x.value, axis, tuple(int(i) % size for i in index.reshape(-1).tolist()), source.value)
    total = source.with_value(scope.builder.scatter(source.value, read))
    return scope.elementwise(Function.ADD, x, total if alpha == 1 else scope.elementwise(Function.MUL, total, alpha))


@rule("index")
def _index(scope: Scope, x: Any, indices: list[Any]) -> Traced:
    chosen = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if isinstance(x, Tensor) and len(chosen) == 1 and chosen[0][0] == 0 and isinstance(chosen[0][1], Traced):
        index = chosen[0][1]
        values = scope.builder.lookup(index.value, constant_of(x.reshape(x.shape[0], -1)))
        return index.with_value(scope.builder.reshape(values, (*index.value.shape, *x.shape[1:])), dtype=x.dtype)
    if len(chosen) != 1 or not isinstance(x, Traced) or not isinstance(chosen[0][1], Tensor):
        scope.refuse("takes elements by more than one index, or by one that depends on the inputs")
    dim, index = chosen[0]
    index = index.nonzero().reshape(-1) if index.dtype is torch.bool else index
    if index.dim() != 1:
        scope.refuse("takes elements by an index of more than one axis")
    return _index_select(scope, x, dim, index)


@rule("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk")
def _split(scope: Scope, x: Traced, sizes: Any, dim: int = 0) -> list[Traced]:
    axis = scope.row_axis(x, dim)
    total = x.value.shape[axis]
    if "chunk" in scope.operation or scope.operation == "aten::tensor_split":
        if not isinstance(sizes, int) or (scope.operation == "aten::tensor_split" and total % sizes):
            scope.refuse("splits into unequal parts; use split")
        sizes = -(-total // sizes)
    if isinstance(sizes, int):
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    sizes = [scope.whole(size, "size") for size in sizes]
    if sum(sizes) != total:
        scope.refuse(f"splits an axis of {total} into {sizes}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [x.with_value(scope.builder.slice(x.value, axis, a, n)) for a, n in zip(starts, sizes, strict=True)]


@rule("unbind")
def _unbind(scope: Scope, x: Traced, dim: int = 0) -> list[Traced]:
    axis = scope.row_axis(x, dim)
    return [select(scope, x, dim, i) for i in range(x.value.shape[axis])]


@rule("cat", "concat", "concatenate")
def _cat(scope: Scope, tensors: list[Any], dim: int = 0) -> Traced:
    return concatenate(scope, tensors, dim)


@rule("stack")
def _stack(scope: Scope, tensors: list[Any], dim: int = 0) -> Traced:
    first = next(t for t in tensors if isinstance(t, Traced))
    dim = dim + first.rank + 1 if dim < 0 else dim
    grown: list[Any] = []
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            grown.append(tensor.unsqueeze(dim))
        else:
            grown.append(reshape_axes(scope, tensor, [*tensor.shape[:dim], 1, *tensor.shape[dim:]]))
    return concatenate(scope, grown, dim)


@rule("flip")
def _flip(scope: Scope, x: Traced, dims: list[int]) -> Traced:
    value = x.value
    for dim in dims:
        axis = scope.row_axis(x, dim)
        value = scope.builder.slice(value, axis, value.shape[axis] - 1, value.shape[axis], -1)
    return x.with_value(value)


@rule("roll")
def _roll(scope: Scope, x: Traced, shifts: list[int], dims: list[int]) -> Traced:
    if not dims:
        scope.refuse("rolls over all axes at once; name the axes")
    value = x.value
    for shift, dim in zip(shifts, dims, strict=True):
        axis = scope.row_axis(x, dim)
        size = value.shape[axis]
        if shift % size:
            parts = [(size - shift % size, shift % size), (0, size - shift % size)]
            value = scope.builder.concatenate([scope.builder.slice(value, axis, a, n) for a, n in parts], axis)
    return x.with_value(value)


@rule("constant_pad_nd", "pad", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def _pad(scope: Scope, x: Traced, pads: list[int], *arguments: Any) -> Traced:
    mode = "constant"
    fill: Any = 0.0
    if scope.operation == "aten::constant_pad_nd":
        fill = arguments[0]
    elif scope.operation == "aten::pad":
        mode, fill = arguments
    else:
        mode = "reflect" if "reflection" in scope.operation else "replicate"
    value = x.value
    rank = len(value.shape)
    before, after = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):
        low, high = pads[2 * i], pads[2 * i + 1]
        if not low and not high:
            continue
        axis = scope.row_axis(x, x.rank - 1 - i)
        before[axis], after[axis] = low, high
        if mode != "constant":
            size = value.shape[axis]
            value = scope.builder.gather(value, axis, [_padded_index(i, size, mode) for i in range(-low, size + high)])
    if mode == "constant":
        value = scope.builder.pad(value, before, after, float(fill or 0.0))
    return x.with_value(value)


def _padded_index(index: int, size: int, mode: str) -> int:
    if mode == "circular":
        return index % size
    if mode == "replicate":
        return min(max(index, 0), size - 1)
    return abs(index) if index < size else 2 * (size - 1) - index


@rule("zeros", "ones", "full", "empty", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_empty")
def _create(scope: Scope, *arguments: Any) -> Traced:
    name = scope.operation.removeprefix("aten::")
    like = name.endswith("_like")
    new = name.startswith("new_")
    sizes = arguments[0].shape if like else arguments[1] if new else arguments[0]
    fill = float(arguments[2 if new else 1]) if "full" in name else float("ones" in name)
    axis = list(sizes).index(BATCH)
    shape = tuple(scope.whole(size, "size") for i, size in enumerate(sizes) if i != axis)
    return Traced(scope.builder.expand(constant_of(torch.tensor(fill)), shape), axis, torch.float32)
