"""Elementwise functions and numbers as C."""

import math

from surrogate_fmu.fmu.native.functions import Function

_INFIX = {Function.ADD: "+", Function.SUB: "-", Function.MUL: "*", Function.DIV: "/"}
_TRUTH = {
    Function.EQUAL: "{} == {}",
    Function.NOT_EQUAL: "{} != {}",
    Function.LESS: "{} < {}",
    Function.LESS_EQUAL: "{} <= {}",
    Function.AND: "{} != 0 && {} != 0",
    Function.OR: "{} != 0 || {} != 0",
    Function.NOT: "{} == 0",
}


def expression(function: Function, operands: list[str]) -> str:
    """The C expression of a function of named operands."""
    if function in _INFIX:
        return f" {_INFIX[function]} ".join(operands)
    if function in _TRUTH:
        return f"(real)({_TRUTH[function].format(*operands)})"
    if function is Function.NEG:
        return f"-{operands[0]}"
    if function is Function.WHERE:
        return "{} != 0 ? {} : {}".format(*operands)
    return f"sf_{function.value}({', '.join(operands)})"


def literal(number: float) -> str:
    """A number, exactly."""
    if math.isnan(number):
        return "(real)NAN"
    if math.isinf(number):
        return "(real)INFINITY" if number > 0 else "(real)-INFINITY"
    return f"(real){number!r}"
