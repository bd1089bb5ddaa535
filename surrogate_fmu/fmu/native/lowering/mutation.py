"""Tensors changed in place: what was read before stays right, what would be read differently afterwards is refused.

Values of the intermediate form never change. So an operation in place gives a new value, to every name of the tensor; other
names of the same memory, such as the tensor it is a slice of, still mean the old one, and must not be read again.
"""

from surrogate_fmu.fmu.native.builder import Builder
from surrogate_fmu.fmu.native.graph import Reshape, Value, View

Box = tuple[tuple[int, int], ...]


class ChangedMemory:
    """Keeps what has been overwritten.

    Args:
        builder: knows which values are views of others.
    """

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._changed: dict[Value, list[Box | None]] = {}

    def overwrite(self, value: Value) -> None:
        """Note that the memory of a value no longer holds it."""
        root, box = self._footprint(value)
        self._changed.setdefault(root, []).append(box)

    def is_stale(self, value: Value) -> bool:
        """Whether the memory of a value has been overwritten, or some of it."""
        root, box = self._footprint(value)
        return any(_overlap(box, other) for other in self._changed.get(root, []))

    def _footprint(self, value: Value) -> tuple[Value, Box | None]:
        """The value whose memory it is, and the part of it, as far as that is a box; None is all."""
        node = self._builder.moved(value)
        if node is None:
            return value, None
        if isinstance(node, Reshape):
            return self._footprint(node.input)[0], None
        root, around = self._footprint(node.input)
        return root, _box(node) if around is None and root is node.input else around


def _box(view: View) -> Box:
    low, high = list(view.starts), list(view.starts)
    for axis in view.axes:
        if axis.source is not None:
            reach = axis.step * (axis.size - 1)
            low[axis.source] += min(reach, 0)
            high[axis.source] += max(reach, 0)
    return tuple(zip(low, high, strict=True))


def _overlap(a: Box | None, b: Box | None) -> bool:
    if a is None or b is None:
        return True
    return all(low <= other_high and other_low <= high for (low, high), (other_low, other_high) in zip(a, b, strict=True))
