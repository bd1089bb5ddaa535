"""Pooling and upsampling of images (batch, channels, rows, columns) and signals (batch, channels, length)."""

from math import floor
from typing import Any

import numpy as np
import torch

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import Axis, Reduction, Value, constant
from surrogate_fmu.fmu.native.lowering.convolution import as_image, from_image, pair
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.tensor import Traced


class _Windows:
    """Pooling windows over an image, the last ones possibly hanging over its edge (ceil mode)."""

    def __init__(
        self, scope: Scope, x: Traced, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, fill: float
    ) -> None:
        self.rank = x.rank - 2
        image = as_image(scope, x, self.rank)
        self.kernel = [max(n, 1) for n in pair(scope, kernel, self.rank)]
        self.strides = self.kernel if stride == [] or stride is None else [max(n, 1) for n in pair(scope, stride, self.rank)]
        self.pads = [max(n, 0) for n in pair(scope, padding, self.rank)]
        dilations = [max(n, 1) for n in pair(scope, dilation, self.rank)]
        self.sizes = list(image.shape[1:])
        reach = [d * (k - 1) + 1 for d, k in zip(dilations, self.kernel, strict=True)]
        self.out = [self._count(i, reach[i], ceil) for i in range(2)]
        need = [(self.out[i] - 1) * self.strides[i] + reach[i] for i in range(2)]
        high = [need[i] - self.sizes[i] - self.pads[i] for i in range(2)]
        padded = scope.builder.pad(image, [0, *self.pads], [0, *high], fill)
        self.values = scope.builder.view(
            padded,
            [0, 0, 0],
            [
                Axis(image.shape[0], 0),
                *(Axis(self.out[i], 1 + i, self.strides[i]) for i in range(2)),
                *(Axis(self.kernel[i], 1 + i, dilations[i]) for i in range(2)),
            ],
        )

    def _count(self, i: int, reach: int, ceil: bool) -> int:
        span = self.sizes[i] + 2 * self.pads[i] - reach
        count = (-(-span // self.strides[i]) if ceil else span // self.strides[i]) + 1
        # A window that would start beyond the padding on the left and the image is left out.
        return count - 1 if ceil and (count - 1) * self.strides[i] >= self.sizes[i] + self.pads[i] else count

    def reduced(self, scope: Scope, reduction: Reduction) -> Value:
        return scope.builder.reduce(reduction, self.values, [3, 4])


@rule("max_pool1d", "max_pool2d")
def _max_pool(
    scope: Scope, x: Traced, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil: bool = False
) -> Traced:
    windows = _Windows(scope, x, kernel, stride, padding, dilation, ceil, float("-inf"))
    return from_image(scope, x, windows.reduced(scope, Reduction.MAX), windows.rank)


@rule("avg_pool1d", "avg_pool2d")
def _avg_pool(
    scope: Scope,
    x: Traced,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil: bool = False,
    count_pad: bool = True,
    divisor: Any = None,
) -> Traced:
    windows = _Windows(scope, x, kernel, stride, padding, 1, ceil, 0.0)
    counts = [np.ones(n) for n in windows.out]
    for i, along in enumerate(counts):
        for o in range(len(along)):
            start = o * windows.strides[i] - windows.pads[i]
            end = min(start + windows.kernel[i], windows.sizes[i] + windows.pads[i])
            along[o] = end - start if count_pad else min(end, windows.sizes[i]) - max(start, 0)
    count = np.full(windows.out, float(divisor)) if divisor else np.outer(*counts)
    mean = scope.builder.map(Function.DIV, windows.reduced(scope, Reduction.SUM), constant(count))
    return from_image(scope, x, mean, windows.rank)


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_pool(scope: Scope, x: Traced, size: Any) -> Any:
    rank = x.rank - 2
    image = as_image(scope, x, rank)
    out = [image.shape[1 + i] if n in (-1, None) else n for i, n in enumerate(pair(scope, size, rank))]
    if any(image.shape[1 + i] % out[i] for i in range(2)):
        scope.refuse(f"pools {image.shape[1:]} to {tuple(out)}, which does not divide it")
    kernel = [image.shape[1 + i] // out[i] for i in range(2)][-rank:]
    if "avg" in scope.operation:
        return _avg_pool(scope, x, kernel)
    return _max_pool(scope, x, kernel), None


def _scales(scope: Scope, x: Traced, size: Any, factors: list[Any], rank: int) -> list[tuple[int, float]]:
    """Per axis the size that comes out, and the inputs per output."""
    sizes = list(x.value.shape[1:])
    factors = [None if f is None else float(f) for f in (*factors, *[None] * rank)][:rank]
    given = [floor(n * f) if f is not None else None for n, f in zip(sizes, factors, strict=True)]
    out = [scope.whole(n, "size") for n in (size if size is not None else given)]
    return [(o, 1.0 / f if f else n / o) for n, o, f in zip(sizes, out, factors, strict=True)]


def _arguments(arguments: tuple[Any, ...]) -> list[Any]:
    """Scale factors: one list, or one number per axis."""
    if len(arguments) == 1 and isinstance(arguments[0], list):
        return arguments[0]
    return list(arguments)


@rule("upsample_nearest1d", "upsample_nearest2d")
def _nearest(scope: Scope, x: Traced, size: Any, *factors: Any) -> Traced:
    rank = x.rank - 2
    value = x.value
    for axis, (out, scale) in enumerate(_scales(scope, x, size, _arguments(factors), rank), start=1):
        last = value.shape[axis] - 1
        chosen = np.minimum(np.floor(np.arange(out, dtype=np.float32) * np.float32(scale)), last)
        value = scope.builder.gather(value, axis, [int(i) for i in chosen])
    return x.with_value(value)


@rule("upsample_linear1d", "upsample_bilinear2d")
def _linear(scope: Scope, x: Traced, size: Any, align_corners: bool, *factors: Any) -> Traced:
    rank = x.rank - 2
    builder, value = scope.builder, x.value
    for axis, (out, scale) in enumerate(_scales(scope, x, size, _arguments(factors), rank), start=1):
        last = value.shape[axis] - 1
        if align_corners:
            places = np.arange(out) * (last / (out - 1) if out > 1 else 0.0)
        else:
            places = np.maximum((np.arange(out) + 0.5) * scale - 0.5, 0.0)
        low = np.minimum(np.floor(places), last).astype(int)
        share = (places - low).reshape(-1, *[1] * (len(value.shape) - 1 - axis))
        below = builder.gather(value, axis, low.tolist())
        above = builder.gather(value, axis, np.minimum(low + 1, last).tolist())
        rise = builder.map(Function.MUL, builder.map(Function.SUB, above, below), constant(share))
        value = builder.map(Function.ADD, below, rise)
    return x.with_value(value)


@rule("__interpolate", "__upsample")
def _interpolate(
    scope: Scope, x: Traced, size: Any = None, factor: Any = None, mode: str = "nearest", align: Any = None, *_: Any
) -> Traced:
    rank = x.rank - 2
    sizes = [size] * rank if isinstance(size, int) else size
    factors = [factor] * rank if isinstance(factor, int | float) else factor
    if isinstance(sizes, torch.Tensor) or mode not in ("nearest", "linear", "bilinear"):
        scope.refuse(f"interpolates in the mode {mode!r}; nearest, linear and bilinear are supported")
    if mode == "nearest":
        return _nearest(scope, x, sizes, factors or [])
    return _linear(scope, x, sizes, bool(align), factors or [])
