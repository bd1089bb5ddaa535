"""The elementwise functions of the intermediate form."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np


class Function(Enum):
    """An elementwise function; truth values are the numbers 0 and 1."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    POW = "pow"
    NEG = "neg"
    ABS = "abs"
    SIGN = "sign"
    EXP = "exp"
    EXPM1 = "expm1"
    LOG = "log"
    LOG1P = "log1p"
    SQRT = "sqrt"
    SIN = "sin"
    COS = "cos"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SOFTPLUS = "softplus"
    ERF = "erf"
    FLOOR = "floor"
    CEIL = "ceil"
    TRUNC = "trunc"
    ROUND = "round"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    LESS = "less"
    LESS_EQUAL = "less_equal"
    AND = "and"
    OR = "or"
    NOT = "not"
    WHERE = "where"  # condition, value where it holds, value elsewhere


STEPS = {
    Function.SIGN,
    Function.FLOOR,
    Function.CEIL,
    Function.TRUNC,
    Function.ROUND,
    Function.EQUAL,
    Function.NOT_EQUAL,
    Function.LESS,
    Function.LESS_EQUAL,
    Function.AND,
    Function.OR,
    Function.NOT,
}
"""Functions whose derivative is zero wherever there is one."""

FOLDABLE: dict[Function, Callable[..., Any]] = {
    Function.ADD: np.add,
    Function.SUB: np.subtract,
    Function.MUL: np.multiply,
    Function.DIV: np.divide,
    Function.NEG: np.negative,
    Function.ABS: np.abs,
    Function.EXP: np.exp,
    Function.LOG: np.log,
    Function.SQRT: np.sqrt,
    Function.SIN: np.sin,
    Function.COS: np.cos,
    Function.TANH: np.tanh,
    Function.MAXIMUM: np.maximum,
    Function.MINIMUM: np.minimum,
    Function.WHERE: lambda condition, then, other: np.where(condition != 0, then, other),
}
"""Functions of constants that are calculated at build time."""
