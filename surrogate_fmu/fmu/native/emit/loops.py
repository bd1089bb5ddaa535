"""Loop nests over strided accesses as C functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from surrogate_fmu.fmu.native.emit.access import Access, merged_axes
from surrogate_fmu.fmu.native.graph import Rows, Shape


@dataclass(frozen=True)
class Operand:
    """An access under a name; `written` ones are the loop's results."""

    name: str
    access: Access
    written: bool = False


def parameters(operands: Sequence[Operand], rows: Rows) -> str:
    """The parameter list of a loop's function. Results overlap nothing, which lets compilers vectorise."""
    listed = [f"{'' if o.written else 'const '}real *restrict {o.name}" for o in operands]
    return ", ".join([*listed, "ptrdiff_t rows"] if rows is Rows.MANY else listed)


def arguments(operands: Sequence[Operand], rows: Rows) -> str:
    """The arguments that go with `parameters`."""
    listed = [pointer(o.access) for o in operands]
    return ", ".join([*listed, "rows"] if rows is Rows.MANY else listed)


def pointer(access: Access) -> str:
    """The C expression of an access' first element."""
    return access.base.name + (f" + {access.offset}" if access.offset else "")


def loop_nest(shape: Shape, rows: Rows, operands: Sequence[Operand], order: Sequence[int], body: Sequence[str]) -> list[str]:
    """Loops over all elements; the body's lines may use `{name}` for the element of each operand.

    Axes run in the given order, rows first; neighbours that all operands run through in one are one loop.
    """
    strides = [o.access.strides for o in operands]
    loops: list[tuple[str, list[int]]] = [(str(size), steps) for size, steps in merged_axes(shape, strides, order)]
    if rows is Rows.MANY:
        row_strides = [o.access.base.row for o in operands]
        if not loops:
            loops = [("rows", row_strides)]
        elif len(loops) == 1 and all(row == int(loops[0][0]) * step for row, step in zip(row_strides, loops[0][1], strict=True)):
            loops = [(f"rows * {loops[0][0]}", loops[0][1])]
        else:
            loops.insert(0, ("rows", row_strides))
    lines = []
    for depth, (size, _) in enumerate(loops):
        lines.append("    " * (depth + 1) + f"for (ptrdiff_t i{depth} = 0; i{depth} < {size}; i{depth}++) {{")
    elements = {o.name: f"{o.name}[{_index(k, loops)}]" for k, o in enumerate(operands)}
    lines += ["    " * (len(loops) + 1) + line.format(**elements) for line in body]
    lines += ["    " * (depth + 1) + "}" for depth in reversed(range(len(loops)))]
    return lines


def _index(operand: int, loops: Sequence[tuple[str, list[int]]]) -> str:
    terms = []
    for depth, (_, strides) in enumerate(loops):
        stride = strides[operand]
        if stride:
            terms.append(f"i{depth}" if stride == 1 else f"i{depth} * {stride}")
    return " + ".join(terms) or "0"
