"""Operations on sizes, numbers and lists of them, where the batch size may be among them."""

from typing import Any

import torch

from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.tensor import BATCH, UNKNOWN, BatchSize, Traced


def batch_arithmetic(kind: str, a: Any, b: Any) -> Any:
    """Arithmetic with the batch size, of which only what leaves it alone is known."""
    if kind == "add" and isinstance(a, list):
        return a + b
    neutral = {"add": 0, "sub": 0, "mul": 1, "div": 1, "floordiv": 1}.get(kind)
    if a is BATCH and b == neutral:
        return a
    if b is BATCH and a == neutral and kind in ("add", "mul"):
        return b
    return UNKNOWN


@rule("floordiv", "remainder")
def _whole_division(scope: Scope, a: Any, b: Any) -> Any:
    return batch_arithmetic(scope.operation.removeprefix("aten::"), a, b)


@rule("size")
def _size(scope: Scope, tensor: Traced, dim: int | None = None) -> Any:
    return tensor.shape if dim is None else tensor.shape[dim]


@rule("sym_size")
def _sym_size(scope: Scope, tensor: Traced, dim: int) -> Any:
    return tensor.shape[dim]


@rule("dim")
def _dim(scope: Scope, tensor: Traced) -> int:
    return tensor.rank


@rule("len")
def _len(scope: Scope, items: Any) -> Any:
    return items.shape[0] if isinstance(items, Traced | torch.Tensor) else len(items)


@rule("__getitem__")
def _item(scope: Scope, items: Any, index: Any) -> Any:
    return items[index]


@rule("append")
def _append(scope: Scope, items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


@rule("__contains__")
def _contains(scope: Scope, items: Any, item: Any) -> bool:
    return any(other is item or other == item for other in items)


@rule("__range_length")
def _range_length(scope: Scope, low: Any, high: Any, step: Any) -> Any:
    if any(isinstance(bound, BatchSize) for bound in (low, high, step)):
        scope.refuse("loops over the batch")
    return len(range(low, high, step))


@rule("format")
def _format(scope: Scope, text: str, *arguments: Any) -> str:
    return text.format(*arguments)


@rule("warn")
def _warn(scope: Scope, *arguments: Any) -> None:
    return None


@rule("Int", "ScalarImplicit", "IntImplicit", "item", "__int__")
def _int(scope: Scope, number: Any) -> Any:
    if isinstance(number, Traced):
        scope.refuse("turns a tensor that depends on the inputs into a number")
    return number


@rule("is_floating_point")
def _is_floating_point(scope: Scope, tensor: Traced) -> bool:
    return tensor.dtype.is_floating_point


@rule("is_grad_enabled", "is_autocast_enabled", "is_autocast_cpu_enabled", "requires_grad")
def _no(scope: Scope, *arguments: Any) -> bool:
    return False


def is_same(scope: Scope, a: Any, b: Any) -> Any:
    """Whether two sizes, or lists of them, are equal; UNKNOWN where that depends on the batch size."""
    if isinstance(a, list | tuple):
        if not isinstance(b, list | tuple) or len(a) != len(b):
            return False
        answers = [is_same(scope, x, y) for x, y in zip(a, b, strict=True)]
        return False if False in answers else next((x for x in answers if isinstance(x, BatchSize)), True)
    if a is BATCH and b is BATCH:
        return True
    for size, other in ((a, b), (b, a)):
        if isinstance(size, BatchSize):
            # A size is at least 0, so it is neither a text nor negative nor None.
            could_be = isinstance(other, BatchSize) or (isinstance(other, int) and not isinstance(other, bool) and other >= 0)
            return UNKNOWN if could_be else False
    return bool(a == b)


def compare_batch(kind: str, a: Any, b: Any) -> Any:
    """An order comparison with the batch size, which is at least 1."""
    low = {("gt", 0): True, ("ge", 1): True, ("ge", 0): True, ("lt", 1): False, ("lt", 0): False, ("le", 0): False}
    mirrored = {"gt": "lt", "lt": "gt", "ge": "le", "le": "ge"}
    if a is BATCH and b is BATCH:
        return kind in ("ge", "le")
    if UNKNOWN in (a, b):
        return UNKNOWN
    key = (kind, b) if a is BATCH else (mirrored[kind], a)
    return low.get(key, UNKNOWN)
