"""The functions of a model as model.c, with what they need beside it."""

from dataclasses import dataclass

from surrogate_fmu.fmu.native.emit.function import FunctionEmitter
from surrogate_fmu.fmu.native.emit.library import LoopLibrary
from surrogate_fmu.fmu.native.emit.weights import NAME, WeightPool
from surrogate_fmu.fmu.native.graph import Graph, Rows

_ROW_BUDGET = 49152  # numbers of work space for the rows of one pass: about the size of a second-level cache
_LEAST_ROWS, _MOST_ROWS = 6, 96


@dataclass(frozen=True)
class ModelFunction:
    """One function of `sf_model`.

    Attributes:
        name: its member.
        graph: what it calculates.
        inputs: pointer names of the graph's inputs.
        outputs: pointer names of the graph's outputs.
        optional: the input that may be NULL, which stands for zeros.
    """

    name: str
    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional: str | None = None


def emit_model(functions: list[ModelFunction], dims: dict[str, int], float64: bool) -> tuple[str, dict[str, bytes]]:
    """model.c, and the weights it declares by name.

    Args:
        functions: those of `sf_model` in its order.
        dims: the members of `sf_model` that are sizes.
        float64: calculate in double.
    """
    weights, library = WeightPool(float64), LoopLibrary()
    parts, wrappers, needs = [], [], []
    for function in functions:
        emitted = FunctionEmitter(function.name, function.graph, function.inputs, function.outputs, weights, library).emit()
        # Rows go through the kernels in sixes; with fewer, large weights would be read again for every row.
        chunk = max(_LEAST_ROWS, min(_MOST_ROWS, _ROW_BUDGET // max(emitted.per_row, 1) // _LEAST_ROWS * _LEAST_ROWS))
        zeros = 0
        if function.optional is not None:
            zeros = function.graph.inputs[function.inputs.index(function.optional)].size
        parts.append(emitted.text)
        wrappers.append(_wrapper(function, emitted.once, emitted.per_row, chunk, zeros))
        needs.append((emitted.once, emitted.per_row + zeros, chunk))
    head = [
        "/* Generated from a bundle's TorchScript by surrogate-fmu; see kernels.h for the layout of the weights. */",
        *(
            ["#ifndef SF_FLOAT64", '#error "this model was generated for float64: compile with -DSF_FLOAT64"', "#endif"]
            if float64
            else []
        ),
        *([] if float64 else ["#ifdef SF_FLOAT64", '#error "this model was generated for float32"', "#endif"]),
        '#include "kernels.h"',
        "",
        f"extern const real {NAME}[];",
        "",
    ]
    members = [f"    .{name} = {size}," for name, size in dims.items()]
    members += ["    .work_size = work_size,", *(f"    .{f.name} = {f.name}," for f in functions)]
    table = [
        "static const sf_model model = {",
        *members,
        "};",
        "",
        "const sf_model *SF_MODEL_ENTRY(void)",
        "{",
        "    return &model;",
        "}",
    ]
    text = "\n".join([*head, library.text(), *parts, *wrappers, _work_size(needs), *table, ""])
    return text, {NAME: weights.content()}


def _work_size(needs: list[tuple[int, int, int]]) -> str:
    lines = ["static size_t work_size(int32_t rows)", "{", "    size_t most = 0, need;"]
    for once, per_row, chunk in sorted(set(needs)):
        lines.append(f"    need = {once} + (size_t){per_row} * (size_t)(rows < {chunk} ? rows : {chunk});")
        lines.append("    most = need > most ? need : most;")
    lines += ["    return (most * sizeof(real) + SF_ALIGNMENT - 1) / SF_ALIGNMENT * SF_ALIGNMENT;", "}", ""]
    return "\n".join(lines)


def _wrapper(function: ModelFunction, once: int, per_row: int, chunk: int, zeros: int) -> str:
    """The function over any number of rows: passes over as many as stay in the cache."""
    pairs = [*zip(function.inputs, function.graph.inputs, strict=True), *zip(function.outputs, function.graph.outputs, strict=True)]
    listed = [f"const real *{n}" for n in function.inputs] + [f"real *{n}" for n in function.outputs]
    lines = [f"static void {function.name}({', '.join([*listed, 'void *work', 'int32_t count'])})", "{"]
    lines.append(f"    real *const one = work, *const many = one + {once};")
    lines.append(f"    for (ptrdiff_t first = 0; first < count; first += {chunk}) {{")
    lines.append(f"        const ptrdiff_t rows = count - first < {chunk} ? count - first : {chunk};")
    passed = []
    for name, value in pairs:
        given = name in function.inputs
        moves = value.size > 0 and (not given or value.rows is Rows.MANY)
        here = f"{name} + first * {value.size}" if moves else name
        if name == function.optional and zeros:
            # Behind the buffers, as many zeros as a pass has rows.
            lines.append(f"        real *const no_{name} = many + {per_row} * rows;")
            lines.append(f"        if (!{name})")
            lines.append(f"            memset(no_{name}, 0, (size_t)rows * {zeros} * sizeof(real));")
            here = f"{name} ? {here} : no_{name}"
        passed.append(here)
    lines.append(f"        {function.name}_rows({', '.join([*passed, 'one', 'many', 'rows'])});")
    return "\n".join([*lines, "    }", "}", ""])
