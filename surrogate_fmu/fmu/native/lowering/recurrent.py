"""Recurrent cells and layers, unrolled over the steps of the sequence."""

from typing import Any

from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.lowering.linear import linear
from surrogate_fmu.fmu.native.lowering.rules import rule
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.shape import concatenate, permute, reshape_axes, select
from surrogate_fmu.fmu.native.lowering.tensor import Traced


def _parts(scope: Scope, x: Traced, count: int) -> list[Traced]:
    axis = scope.row_axis(x, -1)
    size = x.value.shape[axis] // count
    return [x.with_value(scope.builder.slice(x.value, axis, i * size, size)) for i in range(count)]


@rule("gru_cell")
def _gru_cell(scope: Scope, x: Traced, h: Traced, w_x: Any, w_h: Any, b_x: Any = None, b_h: Any = None) -> Traced:
    """Gates r, z, n: h' = (1 - z) n + z h, n = tanh(x part + r (h part))."""
    r_x, z_x, n_x = _parts(scope, linear(scope, x, w_x, b_x), 3)
    r_h, z_h, n_h = _parts(scope, linear(scope, h, w_h, b_h), 3)
    r = scope.elementwise(Function.SIGMOID, scope.elementwise(Function.ADD, r_x, r_h))
    z = scope.elementwise(Function.SIGMOID, scope.elementwise(Function.ADD, z_x, z_h))
    n = scope.elementwise(Function.TANH, scope.elementwise(Function.ADD, n_x, scope.elementwise(Function.MUL, r, n_h)))
    return scope.elementwise(Function.ADD, n, scope.elementwise(Function.MUL, z, scope.elementwise(Function.SUB, h, n)))


@rule("lstm_cell")
def _lstm_cell(
    scope: Scope, x: Traced, state: list[Traced], w_x: Any, w_h: Any, b_x: Any = None, b_h: Any = None
) -> tuple[Traced, Traced]:
    """Gates i, f, g, o: c' = f c + i g, h' = o tanh(c')."""
    h, c = state
    gates = scope.elementwise(Function.ADD, linear(scope, x, w_x, b_x), linear(scope, h, w_h, b_h))
    i, f, g, o = _parts(scope, gates, 4)
    kept = scope.elementwise(Function.MUL, scope.elementwise(Function.SIGMOID, f), c)
    new = scope.elementwise(Function.MUL, scope.elementwise(Function.SIGMOID, i), scope.elementwise(Function.TANH, g))
    c = scope.elementwise(Function.ADD, kept, new)
    return scope.elementwise(Function.MUL, scope.elementwise(Function.SIGMOID, o), scope.elementwise(Function.TANH, c)), c


@rule("rnn_tanh_cell", "rnn_relu_cell")
def _rnn_cell(scope: Scope, x: Traced, h: Traced, w_x: Any, w_h: Any, b_x: Any = None, b_h: Any = None) -> Traced:
    total = scope.elementwise(Function.ADD, linear(scope, x, w_x, b_x), linear(scope, h, w_h, b_h))
    if "tanh" in scope.operation:
        return scope.elementwise(Function.TANH, total)
    return scope.elementwise(Function.WHERE, scope.elementwise(Function.LESS_EQUAL, total, 0.0), 0.0, total)


def _layers(
    scope: Scope,
    x: Traced,
    states: list[Traced],
    weights: list[Any],
    biases: bool,
    layers: int,
    directions: int,
    batch_first: bool,
    cell: Any,
) -> tuple[Traced, list[Traced]]:
    """x (time, batch, in) or (batch, time, in), states each (layers, batch, hidden) -> outputs, states at the end."""
    if x.rank != 3:
        scope.refuse(f"takes a sequence of three axes, not {x.shape}")
    time_axis = 1 if batch_first else 0
    steps = x.shape[time_axis]
    sequence = [select(scope, x, time_axis, t) for t in range(scope.whole(steps, "number of steps"))]
    per_layer = 4 if biases else 2
    last: list[list[Traced]] = [[] for _ in states]
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            parameters = weights[index * per_layer : (index + 1) * per_layer]
            state = [select(scope, s, 0, index) for s in states]
            outs = []
            for item in reversed(sequence) if direction else sequence:
                state = cell(scope, item, state, *parameters)
                outs.append(state[0])
            outputs.append(list(reversed(outs)) if direction else outs)
            for kept, s in zip(last, state, strict=True):
                kept.append(s)
        sequence = [pair[0] if directions == 1 else concatenate(scope, pair, 1) for pair in zip(*outputs, strict=True)]
    stacked = concatenate(scope, [reshape_axes(scope, s, [1, *s.shape]) for s in sequence], 0)
    if batch_first:
        stacked = permute(scope, stacked, [1, 0, 2])
    return stacked, [concatenate(scope, [reshape_axes(scope, s, [1, *s.shape]) for s in kept], 0) for kept in last]


@rule("gru", "rnn_tanh", "rnn_relu")
def _gru(
    scope: Scope,
    x: Any,
    h: Any,
    weights: Any,
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Traced, Traced]:
    if not isinstance(x, Traced) or not isinstance(h, Traced):
        scope.refuse("needs a sequence and a state that have the batch; packed sequences are not supported")
    one = _gru_cell if scope.operation == "aten::gru" else _rnn_cell

    def cell(scope: Scope, item: Traced, state: list[Traced], *parameters: Any) -> list[Traced]:
        return [one(scope, item, state[0], *parameters)]

    outputs, (state,) = _layers(scope, x, [h], weights, biases, layers, 2 if bidirectional else 1, batch_first, cell)
    return outputs, state


@rule("lstm")
def _lstm(
    scope: Scope,
    x: Any,
    states: Any,
    weights: Any,
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Traced, Traced, Traced]:
    if not isinstance(x, Traced) or not isinstance(states, list | tuple) or not all(isinstance(s, Traced) for s in states):
        scope.refuse("needs a sequence and states that have the batch; packed sequences are not supported")

    def cell(scope: Scope, item: Traced, state: list[Traced], *parameters: Any) -> list[Traced]:
        return list(_lstm_cell(scope, item, state, *parameters))

    outputs, (h, c) = _layers(scope, x, list(states), weights, biases, layers, 2 if bidirectional else 1, batch_first, cell)
    return outputs, h, c
