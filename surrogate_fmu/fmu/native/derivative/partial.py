"""Partial derivatives of the elementwise functions.

Where a function has none, they follow torch: a step's is 0, that of |x| at 0 is 0, equal arguments of a maximum share it.
"""

import math
from collections.abc import Sequence

from surrogate_fmu.fmu.native.builder import Builder
from surrogate_fmu.fmu.native.functions import STEPS, Function
from surrogate_fmu.fmu.native.graph import Constant, Map, Reduce, Reduction, Value, constant


def partials(builder: Builder, node: Map, inputs: Sequence[Value], output: Value) -> list[Value | None]:
    """d output / d input for each input; None is 0. A selection has none that are numbers: see `selected`.

    Args:
        builder: takes the nodes.
        node: the node that is differentiated.
        inputs: its inputs in the new graph.
        output: its output in the new graph.
    """
    f, b = node.function, builder.map
    if f in STEPS:
        return [None] * len(inputs)
    if f in (Function.ADD, Function.SUB):
        return [constant(1.0), constant(1.0 if f is Function.ADD else -1.0)]
    if f is Function.MUL:
        return [inputs[1], inputs[0]]
    if f is Function.DIV:
        inverse = b(Function.DIV, 1.0, inputs[1])
        return [inverse, b(Function.NEG, b(Function.MUL, output, inverse))]
    if f is Function.POW:
        return _of_power(builder, inputs[0], inputs[1], output)
    if f in (Function.MAXIMUM, Function.MINIMUM):
        first, second = inputs if f is Function.MAXIMUM else (inputs[1], inputs[0])
        share = b(Function.WHERE, b(Function.EQUAL, first, second), 0.5, b(Function.LESS, second, first))
        return [share, b(Function.SUB, 1.0, share)]
    return [_of_one(builder, f, inputs[0], output)]


def _of_one(builder: Builder, f: Function, x: Value, y: Value) -> Value:
    b = builder.map
    if f is Function.NEG:
        return constant(-1.0)
    if f is Function.ABS:
        return b(Function.SIGN, x)
    if f is Function.EXP:
        return y
    if f is Function.EXPM1:
        return b(Function.ADD, y, 1.0)
    if f is Function.LOG:
        return b(Function.DIV, 1.0, x)
    if f is Function.LOG1P:
        return b(Function.DIV, 1.0, b(Function.ADD, x, 1.0))
    if f is Function.SQRT:
        return b(Function.DIV, 0.5, y)
    if f is Function.SIN:
        return b(Function.COS, x)
    if f is Function.COS:
        return b(Function.NEG, b(Function.SIN, x))
    if f is Function.TANH:
        return b(Function.SUB, 1.0, b(Function.MUL, y, y))
    if f is Function.SIGMOID:
        return b(Function.MUL, y, b(Function.SUB, 1.0, y))
    if f is Function.SOFTPLUS:
        return b(Function.SIGMOID, x)
    if f is Function.ERF:
        bell = b(Function.EXP, b(Function.NEG, b(Function.MUL, x, x)))
        return b(Function.MUL, bell, 2.0 / math.sqrt(math.pi))
    raise AssertionError(f"{f} has no derivative here")


def _of_power(builder: Builder, x: Value, exponent: Value, y: Value) -> list[Value | None]:
    b = builder.map
    of_base = b(Function.MUL, exponent, b(Function.POW, x, b(Function.SUB, exponent, 1.0)))
    # x^0 does not change with x, even at 0.
    of_base = b(Function.WHERE, b(Function.EQUAL, exponent, 0.0), 0.0, of_base)
    if _fixed(builder, exponent):
        return [of_base, None]
    positive = b(Function.LESS, 0.0, x)
    logarithm = b(Function.LOG, b(Function.WHERE, positive, x, 1.0))
    return [of_base, b(Function.MUL, y, b(Function.WHERE, positive, logarithm, 0.0))]


def _fixed(builder: Builder, value: Value) -> bool:
    return isinstance(builder.origin(value), Constant)


def shares(builder: Builder, node: Reduce, source: Value, result: Value) -> Value:
    """For a maximum or minimum, how much of a change each element passes on: elements that tie share it."""
    kept = len(node.output.shape)
    over = builder.reshape(result, (*result.shape, *[1] * node.count))
    hits = builder.map(Function.EQUAL, source, over)
    count = builder.reduce(Reduction.SUM, hits, range(kept, kept + node.count))
    return builder.map(Function.DIV, hits, builder.reshape(count, (*count.shape, *[1] * node.count)))
