"""Normalisation layers in evaluation mode."""

from typing import Any

import torch

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.lowering.reduction import mean
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.shape import reshape_axes
from surrogate_fmu.fmu.native.lowering.tensor import Traced


def _per_channel(x: Traced, numbers: torch.Tensor) -> torch.Tensor:
    return numbers.reshape(-1, *[1] * (x.rank - 2))


@rule("batch_norm", "native_batch_norm", "cudnn_batch_norm")
def _batch_norm(
    scope: Scope,
    x: Traced,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Traced:
    if training or running_mean is None:
        scope.refuse("normalises over the batch; call eval() on the module, and keep running statistics")
    scale = 1.0 / torch.sqrt(running_var.double() + eps)
    if weight is not None:
        scale = scale * weight.double()
    shift = -running_mean.double() * scale
    if bias is not None:
        shift = shift + bias.double()
    scaled = scope.elementwise(Function.MUL, x, _per_channel(x, scale))
    return scope.elementwise(Function.ADD, scaled, _per_channel(x, shift))


def _normalized(scope: Scope, x: Traced, dims: list[int], eps: float) -> Traced:
    centred = scope.elementwise(Function.SUB, x, mean(scope, x, dims, True))
    variance = mean(scope, scope.elementwise(Function.MUL, centred, centred), dims, True)
    deviation = scope.elementwise(Function.SQRT, scope.elementwise(Function.ADD, variance, eps))
    return scope.elementwise(Function.DIV, centred, deviation)


def _affine(scope: Scope, x: Traced, weight: Any, bias: Any) -> Traced:
    x = x if weight is None else scope.elementwise(Function.MUL, x, weight)
    return x if bias is None else scope.elementwise(Function.ADD, x, bias)


@rule("layer_norm")
def _layer_norm(scope: Scope, x: Traced, shape: list[int], weight: Any, bias: Any, eps: float, *_: Any) -> Traced:
    return _affine(scope, _normalized(scope, x, [-1 - i for i in range(len(shape))], eps), weight, bias)


@rule("rms_norm")
def _rms_norm(scope: Scope, x: Traced, shape: list[int], weight: Any, eps: float | None) -> Traced:
    square = mean(scope, scope.elementwise(Function.MUL, x, x), [-1 - i for i in range(len(shape))], True)
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    root = scope.elementwise(Function.SQRT, scope.elementwise(Function.ADD, square, eps))
    return _affine(scope, scope.elementwise(Function.DIV, x, root), weight, None)


@rule("group_norm")
def _group_norm(scope: Scope, x: Traced, groups: int, weight: Any, bias: Any, eps: float, *_: Any) -> Traced:
    if x.batch_axis != 0:
        scope.refuse("needs the batch as the first axis")
    grouped = reshape_axes(scope, x, [x.shape[0], groups, x.value.size // groups])
    normal = reshape_axes(scope, _normalized(scope, grouped, [2], eps), x.shape)
    return _affine(scope, normal, *(None if p is None else _per_channel(x, p) for p in (weight, bias)))


@rule("instance_norm")
def _instance_norm(
    scope: Scope,
    x: Traced,
    weight: Any,
    bias: Any,
    mean_: Any,
    var: Any,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Traced:
    if not use_input_stats:
        return _batch_norm(scope, x, weight, bias, mean_, var, False, momentum, eps)
    normal = _normalized(scope, x, list(range(2, x.rank)), eps)
    return _affine(scope, normal, *(None if p is None else _per_channel(x, p) for p in (weight, bias)))
