"""Arithmetic, comparisons and selections, element by element."""

from typing import Any

import torch

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.lowering.numbers import batch_arithmetic, compare_batch, is_same
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Operand, Scope
from surrogate_fmu.fmu.native.lowering.tensor import UNKNOWN, BatchSize, Traced


def _scaled(scope: Scope, operand: Operand, factor: float) -> Operand:
    if factor == 1:
        return operand
    if isinstance(operand, Traced):
        return scope.elementwise(Function.MUL, operand, factor)
    return operand * factor


@rule("add", "sub", "rsub")
def _add(scope: Scope, a: Any, b: Any, alpha: Any = 1) -> Any:
    kind = scope.operation.removeprefix("aten::")
    if kind == "rsub":
        a, b, kind = b, a, "sub"
        a, alpha = _scaled(scope, a, 1) if alpha == 1 else a, alpha
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return batch_arithmetic(kind, a, b)
    return scope.elementwise(Function.ADD if kind == "add" else Function.SUB, a, _scaled(scope, b, alpha))


@rule("mul")
def _mul(scope: Scope, a: Any, b: Any) -> Any:
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return batch_arithmetic("mul", a, b)
    return scope.elementwise(Function.MUL, a, b)


@rule("div", "true_divide")
def _div(scope: Scope, a: Any, b: Any, rounding: str | None = None) -> Any:
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return batch_arithmetic("div", a, b)
    quotient = scope.elementwise(Function.DIV, a, b, dtype=torch.float32)
    if rounding is None:
        return quotient
    return scope.elementwise(Function.FLOOR if rounding == "floor" else Function.TRUNC, quotient)


@rule("pow")
def _pow(scope: Scope, a: Any, b: Any) -> Traced:
    exponent = float(b) if isinstance(b, int | float) else float(b) if isinstance(b, torch.Tensor) and b.numel() == 1 else None
    if exponent == 0.5:
        return scope.elementwise(Function.SQRT, a)
    if exponent in (1, 2, 3, 4, -1, -2) and isinstance(a, Traced):
        power = a
        for _ in range(abs(int(exponent)) - 1):
            power = scope.elementwise(Function.MUL, power, a)
        return power if exponent > 0 else scope.elementwise(Function.DIV, 1.0, power)
    return scope.elementwise(Function.POW, a, b)


@rule("square")
def _square(scope: Scope, a: Traced) -> Traced:
    return scope.elementwise(Function.MUL, a, a)


@rule("reciprocal")
def _reciprocal(scope: Scope, a: Traced) -> Traced:
    return scope.elementwise(Function.DIV, 1.0, a)


@rule("rsqrt")
def _rsqrt(scope: Scope, a: Traced) -> Traced:
    return scope.elementwise(Function.DIV, 1.0, scope.elementwise(Function.SQRT, a))


_UNARY = {
    "neg": Function.NEG,
    "abs": Function.ABS,
    "sign": Function.SIGN,
    "exp": Function.EXP,
    "expm1": Function.EXPM1,
    "log": Function.LOG,
    "log1p": Function.LOG1P,
    "sqrt": Function.SQRT,
    "sin": Function.SIN,
    "cos": Function.COS,
    "tanh": Function.TANH,
    "sigmoid": Function.SIGMOID,
    "erf": Function.ERF,
    "floor": Function.FLOOR,
    "ceil": Function.CEIL,
    "trunc": Function.TRUNC,
    "round": Function.ROUND,
}


@rule(*_UNARY)
def _unary(scope: Scope, a: Traced) -> Traced:
    name = scope.operation.removeprefix("aten::")
    whole = name in ("neg", "abs", "sign", "floor", "ceil", "trunc", "round")
    return scope.elementwise(_UNARY[name], a, dtype=a.dtype if whole else torch.float32)


_ORDER = {
    "lt": (Function.LESS, False),
    "le": (Function.LESS_EQUAL, False),
    "gt": (Function.LESS, True),
    "ge": (Function.LESS_EQUAL, True),
}


@rule(*_ORDER)
def _order(scope: Scope, a: Any, b: Any) -> Any:
    name = scope.operation.removeprefix("aten::")
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return compare_batch(name, a, b)
    function, mirrored = _ORDER[name]
    return scope.elementwise(function, *((b, a) if mirrored else (a, b)), dtype=torch.bool)


@rule("eq", "ne")
def _equal(scope: Scope, a: Any, b: Any) -> Any:
    differ = scope.operation == "aten::ne"
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        same = is_same(scope, a, b)
        return same if same is UNKNOWN else same != differ
    return scope.elementwise(Function.NOT_EQUAL if differ else Function.EQUAL, a, b, dtype=torch.bool)


@rule("__is__", "__isnot__")
def _is(scope: Scope, a: Any, b: Any) -> bool:
    return (a is b) != (scope.operation == "aten::__isnot__")


@rule("__not__", "logical_not", "bitwise_not")
def _not(scope: Scope, a: Any) -> Any:
    if not isinstance(a, Traced):
        return a if isinstance(a, BatchSize) else not a
    if scope.operation == "aten::bitwise_not" and a.dtype is not torch.bool:
        scope.refuse("inverts the bits of whole numbers")
    return scope.elementwise(Function.NOT, a, dtype=torch.bool)


@rule("logical_and", "bitwise_and", "__and__", "logical_or", "bitwise_or", "__or__")
def _logical(scope: Scope, a: Any, b: Any) -> Any:
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return UNKNOWN
    if "logical" not in scope.operation and promoted_to_bool(a, b) is False:
        scope.refuse("combines the bits of whole numbers")
    return scope.elementwise(Function.AND if "and" in scope.operation else Function.OR, a, b, dtype=torch.bool)


def promoted_to_bool(*operands: Any) -> bool:
    """Whether all operands are truth values."""
    return all(isinstance(x, bool) or getattr(x, "dtype", None) is torch.bool for x in operands)


@rule("where")
def _where(scope: Scope, condition: Any, then: Any, other: Any) -> Traced:
    if isinstance(condition, torch.Tensor):
        condition = condition.to(torch.float32)
    return scope.elementwise(Function.WHERE, condition, then, other)


@rule("masked_fill")
def _masked_fill(scope: Scope, a: Any, mask: Any, value: Any) -> Traced:
    return _where(scope, mask, value, a)


@rule("maximum", "minimum")
def _extremum(scope: Scope, a: Any, b: Any) -> Traced:
    return scope.elementwise(Function.MAXIMUM if scope.operation == "aten::maximum" else Function.MINIMUM, a, b)


@rule("clamp", "clip", "hardtanh")
def clamp(scope: Scope, a: Any, low: Any = None, high: Any = None) -> Traced:
    """Bounded below and above; written as selections so that a bound that is met passes the derivative, as in TorchScript."""
    if low is not None:
        a = scope.elementwise(Function.WHERE, scope.elementwise(Function.LESS, a, low, dtype=torch.bool), low, a)
    if high is not None:
        a = scope.elementwise(Function.WHERE, scope.elementwise(Function.LESS, high, a, dtype=torch.bool), high, a)
    return a  # type: ignore[no-any-return]


@rule("clamp_min")
def _clamp_min(scope: Scope, a: Any, low: Any) -> Traced:
    return clamp(scope, a, low)


@rule("clamp_max")
def _clamp_max(scope: Scope, a: Any, high: Any) -> Traced:
    return clamp(scope, a, None, high)


@rule("lerp")
def _lerp(scope: Scope, start: Any, end: Any, weight: Any) -> Traced:
    step = scope.elementwise(Function.SUB, end, start) if isinstance(start, Traced) or isinstance(end, Traced) else end - start
    return scope.elementwise(Function.ADD, start, scope.elementwise(Function.MUL, weight, step))


@rule("addcmul", "addcdiv")
def _addcmul(scope: Scope, a: Any, b: Any, c: Any, value: float = 1) -> Traced:
    function = Function.MUL if scope.operation == "aten::addcmul" else Function.DIV
    if isinstance(b, Traced) or isinstance(c, Traced):
        product: Any = scope.elementwise(function, b, c)
    else:
        product = b * c if function is Function.MUL else b / c
    return scope.elementwise(Function.ADD, a, _scaled(scope, product, value))


@rule("to", "type_as", "float", "double", "long", "int", "bool", "contiguous", "clone", "detach", "alias", "requires_grad_", "cpu")
def _convert(scope: Scope, a: Traced, *arguments: Any) -> Traced:
    name = scope.operation.removeprefix("aten::")
    by_name = {"float": torch.float32, "double": torch.float64, "long": torch.int64, "int": torch.int32, "bool": torch.bool}
    dtype = by_name.get(name)
    if name == "to":
        # TorchScript has the type as a number.
        dtype = next((x if isinstance(x, torch.dtype) else _DTYPES.get(x) for x in arguments[:2] if _is_dtype(x)), None)
    elif name == "type_as":
        dtype = arguments[0].dtype
    if dtype is None or dtype is a.dtype or (dtype.is_floating_point and a.dtype.is_floating_point):
        return a
    if dtype is torch.bool:
        return scope.elementwise(Function.NOT_EQUAL, a, 0.0, dtype=torch.bool)
    if dtype.is_floating_point or not a.dtype.is_floating_point:
        return a.with_value(a.value, dtype=dtype)
    return scope.elementwise(Function.TRUNC, a, dtype=dtype)


_DTYPES = {2: torch.int16, 3: torch.int32, 4: torch.int64, 6: torch.float32, 7: torch.float64, 11: torch.bool}


def _is_dtype(x: Any) -> bool:
    return isinstance(x, torch.dtype) or (isinstance(x, int) and not isinstance(x, bool))
