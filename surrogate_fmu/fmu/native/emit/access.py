"""Where numbers lie in memory: bases, and strided access to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from surrogate_fmu.fmu.native.graph import Axis, Rows, Shape


@dataclass(frozen=True, eq=False)
class Base:
    """A piece of memory.

    Attributes:
        name: the C pointer.
        row: numbers from one row to the next; 0 where all rows share one.
    """

    name: str
    row: int


@dataclass(frozen=True)
class Access:
    """Element i of a row lies at base[row * base.row + offset + sum of strides * i]."""

    base: Base
    offset: int
    strides: tuple[int, ...]

    def viewed(self, starts: Sequence[int], axes: Sequence[Axis]) -> "Access":
        """Access through a view."""
        offset = self.offset + sum(start * stride for start, stride in zip(starts, self.strides, strict=True))
        return Access(self.base, offset, tuple(0 if a.source is None else a.step * self.strides[a.source] for a in axes))

    def part(self, starts: Sequence[int], steps: Sequence[int]) -> "Access":
        """Access to a part of a whole."""
        offset = self.offset + sum(start * stride for start, stride in zip(starts, self.strides, strict=True))
        return Access(self.base, offset, tuple(step * stride for step, stride in zip(steps, self.strides, strict=True)))

    def reshaped(self, before: Shape, after: Shape) -> "Access | None":
        """Access under another shape over the same elements; None where that takes a copy."""
        if prod(before) == 0 or prod(after) == 0:
            return Access(self.base, self.offset, (0,) * len(after))
        old = [(size, stride) for size, stride in zip(before, self.strides, strict=True) if size != 1]
        strides: list[int] = []
        i = 0
        for size in after:
            if size == 1:
                strides.append(0)
                continue
            # Split what is left of one old axis, or merge old axes that follow one another.
            if i >= len(old):
                return None
            extent, stride = old[i]
            while extent < size and i + 1 < len(old):
                next_extent, next_stride = old[i + 1]
                if stride != next_stride * next_extent:
                    return None
                extent, stride, i = extent * next_extent, next_stride, i + 1
            if extent % size:
                return None
            rest = extent // size
            strides.append(stride * rest)
            old[i] = (rest, stride)
            i += rest == 1
        return Access(self.base, self.offset, tuple(strides))


def row_major(shape: Shape) -> tuple[int, ...]:
    """Strides of an array whose last axis runs fastest."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def strides_in_order(shape: Shape, order: Sequence[int]) -> tuple[int, ...]:
    """Strides of an array whose axes run in this order, the last of it fastest."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def order_of(shape: Shape, strides: Sequence[int]) -> list[int]:
    """The axes from slowest to fastest; axes that do not move stay where they are."""
    moving = [a for a in range(len(shape)) if shape[a] > 1 and strides[a]]
    ranked = iter(sorted(moving, key=lambda a: -abs(strides[a])))
    return [next(ranked) if a in moving else a for a in range(len(shape))]


def merged_axes(shape: Shape, accesses: Sequence[Sequence[int]], order: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Loops over the axes in an order: (size, stride per access), neighbours that all accesses run through in one merged."""
    loops: list[tuple[int, list[int]]] = []
    for axis in order:
        if shape[axis] == 1:
            continue
        size, strides = shape[axis], [access[axis] for access in accesses]
        if loops and all(outer == inner * size for outer, inner in zip(loops[-1][1], strides, strict=True)):
            loops[-1] = (loops[-1][0] * size, strides)
        else:
            loops.append((size, strides))
    return loops


def base_row(rows: Rows, size: int) -> int:
    """Numbers from one row to the next."""
    return size if rows is Rows.MANY else 0
