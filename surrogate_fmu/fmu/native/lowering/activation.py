"""Activation functions, as compositions of elementwise functions."""

import math
from typing import Any

import torch

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.lowering.elementwise import clamp
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Operand, Scope
from surrogate_fmu.fmu.native.lowering.tensor import Traced


def _where_positive(scope: Scope, x: Traced, then: Operand, other: Operand) -> Traced:
    # "Not <= 0" rather than "> 0": what is no number stays so.
    return scope.elementwise(Function.WHERE, scope.elementwise(Function.LESS_EQUAL, x, 0.0, dtype=torch.bool), other, then)


@rule("relu")
def _relu(scope: Scope, x: Traced) -> Traced:
    return _where_positive(scope, x, x, 0.0)


@rule("relu6")
def _relu6(scope: Scope, x: Traced) -> Traced:
    return clamp(scope, x, 0.0, 6.0)


@rule("leaky_relu")
def _leaky_relu(scope: Scope, x: Traced, slope: float = 0.01) -> Traced:
    return _where_positive(scope, x, x, scope.elementwise(Function.MUL, x, slope))


@rule("prelu")
def _prelu(scope: Scope, x: Traced, slope: Any) -> Traced:
    if isinstance(slope, torch.Tensor) and slope.numel() > 1:
        # One slope per channel, the axis after the batch.
        slope = slope.reshape(-1, *[1] * (x.rank - 2))
    return _where_positive(scope, x, x, scope.elementwise(Function.MUL, x, slope))


@rule("elu", "celu", "selu")
def _elu(scope: Scope, x: Traced, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Traced:
    if scope.operation == "aten::selu":
        alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    if scope.operation == "aten::celu":
        input_scale = 1.0 / alpha
    # Bounded by 0 first: the exponential of a large number on the side that is not taken must not spoil derivatives.
    bounded = scope.elementwise(Function.MUL, clamp(scope, x, None, 0.0), input_scale)
    curve = scope.elementwise(Function.MUL, scope.elementwise(Function.EXPM1, bounded), alpha * scale)
    return _where_positive(scope, x, scope.elementwise(Function.MUL, x, scale), curve)


@rule("gelu")
def _gelu(scope: Scope, x: Traced, approximate: str = "none") -> Traced:
    if approximate == "tanh":
        cube = scope.elementwise(Function.MUL, scope.elementwise(Function.MUL, x, x), x)
        inner = scope.elementwise(Function.ADD, x, scope.elementwise(Function.MUL, cube, 0.044715))
        share = scope.elementwise(Function.TANH, scope.elementwise(Function.MUL, inner, math.sqrt(2.0 / math.pi)))
    else:
        share = scope.elementwise(Function.ERF, scope.elementwise(Function.MUL, x, math.sqrt(0.5)))
    half = scope.elementwise(Function.MUL, x, 0.5)
    return scope.elementwise(Function.MUL, half, scope.elementwise(Function.ADD, share, 1.0))


@rule("silu")
def _silu(scope: Scope, x: Traced) -> Traced:
    return scope.elementwise(Function.MUL, x, scope.elementwise(Function.SIGMOID, x))


@rule("softplus")
def _softplus(scope: Scope, x: Traced, beta: float = 1.0, threshold: float = 20.0) -> Traced:
    scaled = scope.elementwise(Function.MUL, x, beta)
    smooth = scope.elementwise(Function.DIV, scope.elementwise(Function.SOFTPLUS, scaled), beta)
    over = scope.elementwise(Function.LESS, threshold, scaled, dtype=torch.bool)
    return scope.elementwise(Function.WHERE, over, x, smooth)


@rule("log_sigmoid")
def _log_sigmoid(scope: Scope, x: Traced) -> Traced:
    return scope.elementwise(Function.NEG, scope.elementwise(Function.SOFTPLUS, scope.elementwise(Function.NEG, x)))


@rule("mish")
def _mish(scope: Scope, x: Traced) -> Traced:
    return scope.elementwise(Function.MUL, x, scope.elementwise(Function.TANH, scope.elementwise(Function.SOFTPLUS, x)))


@rule("hardsigmoid", "hardswish")
def _hard(scope: Scope, x: Traced) -> Traced:
    ramp = scope.elementwise(Function.DIV, clamp(scope, scope.elementwise(Function.ADD, x, 3.0), 0.0, 6.0), 6.0)
    return ramp if scope.operation == "aten::hardsigmoid" else scope.elementwise(Function.MUL, x, ramp)


@rule("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def _dropout(scope: Scope, x: Any, p: float, train: bool) -> Any:
    if train:
        scope.refuse("is in training mode; call eval() on the module before it is exported")
    return x
