"""Convolutions as linear maps over windows.

A window view (rows, columns, kernel rows, kernel columns, channels) puts the channels last, where the linear map before it
left them, so that between convolutions images lie pixel by pixel and windows are copied in runs.
"""

from math import gcd
from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import Axis, Constant, Part, Reduction, Value
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.tensor import Traced, constant_of

_MANY_GROUPS = 8  # beyond, one product per group costs more than multiplying and adding up


def pair(scope: Scope, number: Any, rank: int) -> tuple[int, int]:
    """A size, stride or padding for rows and columns; in one dimension there is one row."""
    numbers = [number] if isinstance(number, int) else list(number)
    if rank == 1:
        return (-1, int(numbers[0]))
    return (int(numbers[0]), int(numbers[-1]))


def as_image(scope: Scope, x: Traced, rank: int) -> Value:
    """The value (channels, rows, columns) of a tensor (batch, channels, *rank axes)."""
    if x.rank != rank + 2 or x.batch_axis != 0:
        scope.refuse(f"takes a tensor (batch, channels, {rank} axes), not {x.shape}")
    return x.value if rank == 2 else scope.builder.reshape(x.value, (x.value.shape[0], 1, x.value.shape[1]))


def from_image(scope: Scope, x: Traced, value: Value, rank: int) -> Traced:
    """The tensor of a value (channels, rows, columns)."""
    return x.with_value(value if rank == 2 else scope.builder.reshape(value, (value.shape[0], value.shape[2])))


def _numbers(scope: Scope, rank: int, defaults: tuple[int, ...], *numbers: Any) -> list[tuple[int, int]]:
    pairs = [pair(scope, number, rank) for number in numbers]
    return [
        (default if rows == -1 and rank == 1 else rows, columns) for default, (rows, columns) in zip(defaults, pairs, strict=True)
    ]


@rule("conv1d", "conv2d", "_convolution_mode")
def _conv(scope: Scope, x: Traced, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Traced:
    scope.fixed(weight, "weight")
    rank = weight.dim() - 2
    strides, dilations = _numbers(scope, rank, (1, 1), stride, dilation)
    kernel = (1, weight.shape[2]) if rank == 1 else tuple(weight.shape[2:])
    if isinstance(padding, str):
        total = [0 if padding == "valid" else d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = [(n // 2, n - n // 2) for n in total]
    else:
        pads = [(p, p) for p in _numbers(scope, rank, (0,), padding)[0]]
    image = as_image(scope, x, rank)
    padded = scope.builder.pad(image, [0, pads[0][0], pads[1][0]], [0, pads[0][1], pads[1][1]])
    out = [(padded.shape[1 + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in range(2)]
    if min(out) < 1:
        scope.refuse(f"has a kernel of {kernel} over an image of {padded.shape[1:]}")
    axes = [
        Axis(out[0], 1, strides[0]),
        Axis(out[1], 2, strides[1]),
        Axis(kernel[0], 1, dilations[0]),
        Axis(kernel[1], 2, dilations[1]),
    ]
    result = _by_windows(scope, padded, (0, 0), axes, weight.reshape(*weight.shape[:2], *kernel), bias, groups)
    return from_image(scope, x, scope.builder.permute(result, [2, 0, 1]), rank)


def _by_windows(
    scope: Scope, image: Value, starts: tuple[int, int], axes: list[Axis], weight: Tensor, bias: Tensor | None, groups: int
) -> Value:
    """Windows of an image times a weight (out, in / groups, rows, columns) -> (rows, columns, out)."""
    builder = scope.builder
    channels = image.shape[0] // groups
    if groups > _MANY_GROUPS:
        return _by_products(scope, image, starts, axes, weight, bias, groups)
    results = []
    for group, part in enumerate(weight.chunk(groups)):
        windows = builder.view(image, [group * channels, *starts], [*axes, Axis(channels, 0)])
        flat = builder.reshape(windows, (*windows.shape[:2], -(-windows.size // (windows.shape[0] * windows.shape[1]))))
        matrix = constant_of(part.permute(2, 3, 1, 0).reshape(-1, part.shape[0]))
        addend: Constant | None = None if bias is None else constant_of(bias.chunk(groups)[group])
        results.append(builder.linear(flat, matrix, addend))
    return builder.concatenate(results, 2)


def _by_products(
    scope: Scope, image: Value, starts: tuple[int, int], axes: list[Axis], weight: Tensor, bias: Tensor | None, groups: int
) -> Value:
    builder = scope.builder
    channels, outs = image.shape[0] // groups, weight.shape[0] // groups
    grouped = builder.reshape(image, (groups, channels, *image.shape[1:]))
    moved = [Axis(a.size, None if a.source is None else a.source + 1, a.step) for a in axes]
    # (rows, columns, group, out of the group, kernel rows, kernel columns, channel of the group)
    windows = builder.view(grouped, [0, 0, *starts], [*moved[:2], Axis(groups, 0), Axis(outs, None), *moved[2:], Axis(channels, 1)])
    factors = constant_of(weight.reshape(groups, outs, *weight.shape[1:]).permute(0, 1, 3, 4, 2))
    result = builder.reduce(Reduction.SUM, builder.map(Function.MUL, windows, factors), [4, 5, 6])
    result = builder.reshape(result, (*result.shape[:2], groups * outs))
    return result if bias is None else builder.map(Function.ADD, result, constant_of(bias))


@rule("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(
    scope: Scope, x: Traced, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Traced:
    """Every remainder of an output position by the stride sees its own taps of the kernel: a small convolution each."""
    scope.fixed(weight, "weight")
    builder, rank = scope.builder, weight.dim() - 2
    strides, pads, extra, dilations = _numbers(scope, rank, (1, 0, 0, 1), stride, padding, output_padding, dilation)
    kernel = (1, weight.shape[2]) if rank == 1 else tuple(weight.shape[2:])
    # (in, out / groups, ...) to (out, in / groups, ...)
    weight = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], *kernel).transpose(1, 2).flatten(0, 1)
    image = as_image(scope, x, rank)
    size = [(image.shape[1 + i] - 1) * strides[i] - 2 * pads[i] + dilations[i] * (kernel[i] - 1) + extra[i] + 1 for i in range(2)]
    plain = not any((*pads, *extra)) and set(dilations) == {1}
    if image.shape[1:] == (1, 1) and groups == 1 and plain:
        # One pixel: the output is the kernel, summed over the channels.
        matrix = constant_of(weight.permute(1, 2, 3, 0).reshape(weight.shape[1], -1))
        spread = builder.linear(builder.reshape(image, (image.shape[0],)), matrix)
        whole = builder.reshape(spread, (*kernel, weight.shape[0]))
        whole = whole if bias is None else builder.map(Function.ADD, whole, constant_of(bias))
        return from_image(scope, x, builder.permute(whole, [2, 0, 1]), rank)
    phases = [
        [_Phase(p, size[i], strides[i], pads[i], dilations[i], kernel[i]) for p in range(min(strides[i], size[i]))]
        for i in range(2)
    ]
    low = [max(0, *(phase.low for phase in phases[i])) for i in range(2)]
    high = [max(0, *(phase.high - image.shape[1 + i] + 1 for phase in phases[i])) for i in range(2)]
    padded = builder.pad(image, [0, *low], [0, *high])
    parts = []
    for rows in phases[0]:
        for columns in phases[1]:
            if rows.taps and columns.taps:
                axes = [
                    Axis(rows.size, 1),
                    Axis(columns.size, 2),
                    Axis(len(rows.taps), 1, rows.step),
                    Axis(len(columns.taps), 2, columns.step),
                ]
                taps = weight[:, :, rows.taps][:, :, :, columns.taps]
                starts = (low[0] + rows.start, low[1] + columns.start)
                value = _by_windows(scope, padded, starts, axes, taps, bias, groups)
            else:
                fill = torch.zeros(weight.shape[0]) if bias is None else bias
                value = builder.expand(constant_of(fill), (rows.size, columns.size, weight.shape[0]))
            parts.append(Part(value, (rows.phase, columns.phase, 0), (strides[0], strides[1], 1)))
    whole = parts[0].value if len(parts) == 1 else builder.assemble(parts, (size[0], size[1], weight.shape[0]))
    return from_image(scope, x, builder.permute(whole, [2, 0, 1]), rank)


class _Phase:
    """Along one axis, the outputs at phase + stride * i, and the inputs start + i + step * j that tap j multiplies."""

    def __init__(self, phase: int, size: int, stride: int, padding: int, dilation: int, kernel: int) -> None:
        self.phase = phase
        self.size = -(-(size - phase) // stride)
        # Backwards, so that the inputs come forwards.
        self.taps = [k for k in reversed(range(kernel)) if (phase + padding - k * dilation) % stride == 0]
        offsets = [(phase + padding - k * dilation) // stride for k in self.taps] or [0]
        self.start = offsets[0]
        self.step = dilation // gcd(stride, dilation)
        self.low = -offsets[0] if self.taps else 0
        self.high = offsets[-1] + self.size - 1 if self.taps else 0


@rule("_convolution", "convolution")
def _convolution(
    scope: Scope,
    x: Traced,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> Traced:
    if transposed:
        return _conv_transpose(scope, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(scope, x, weight, bias, stride, padding, dilation, groups)
