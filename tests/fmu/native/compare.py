"""Lowered generators against torch: values in batches of one and several, tangents and adjoints."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from surrogate_fmu.fmu.native.generate import generate_sources
from tests.fmu.native.lowered import NativeModel, make_bundle


class Memoryless(nn.Module):
    """A generator around a function (batch, size) -> (batch, out), traced or scripted; z is not used and h is empty."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.function(x), x[:, :0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.function(x), h


def inputs_like(size: int, count: int, seed: int = 0) -> np.ndarray:
    """Rows of usual size, then one of large numbers, one of denormals, and zeros."""
    rows = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    if count >= 4:
        rows[1] *= 30.0
        rows[2] *= 1e-41
        rows[3] = 0.0
    return rows


def check_function(
    function: Callable[[Tensor], Tensor] | nn.Module,
    size: int,
    *,
    scripted: bool = False,
    tolerance: float = 2e-6,
    float64: bool = False,
    derivative_tolerance: float | None = None,
    points: Sequence[np.ndarray] = (),
) -> NativeModel:
    """Lower a function of (batch, size), and compare it and its derivatives with torch's.

    The tolerance is relative to the largest number of each output row, at least 1.
    """
    example = torch.from_numpy(inputs_like(size, 3))
    module = function if isinstance(function, nn.Module) else _Function(function)
    module = module.eval()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        part = torch.jit.script(module) if scripted else torch.jit.trace(module, example, check_trace=False)
    out = module(example).shape[1]
    model = generate_sources(make_bundle(Memoryless(part), size, 0, 0, out), float64)
    native = NativeModel(model, float64)
    if float64:
        module = module.double()
    kind = np.float64 if float64 else np.float32
    for rows in points or (inputs_like(size, 1), inputs_like(size, 7, seed=1)):
        rows = rows.astype(kind)
        y, _ = native.step(rows, np.zeros((len(rows), 0)), np.zeros((len(rows), 0)))
        with torch.no_grad():
            expected = module(torch.from_numpy(rows)).numpy()
        assert_close(y, expected, tolerance, "values")
        alone = np.concatenate([native.step(rows[i : i + 1], rows[:1, :0], rows[:1, :0])[0] for i in range(len(rows))])
        np.testing.assert_array_equal(alone, y, "a row depends on the batch it is in")
        started, _ = native.initial(rows, rows[:, :0])
        np.testing.assert_array_equal(started, y)
    jacobian = _check_derivatives(native, module, size, out, kind, derivative_tolerance or tolerance * 10)
    for depends, row in zip(model.dependencies, jacobian, strict=True):
        assert set(np.flatnonzero(row).tolist()) <= depends, "an output depends on an input that is not listed"
    return native


def _check_derivatives(native: NativeModel, module: nn.Module, size: int, out: int, kind: type, tolerance: float) -> np.ndarray:
    rng = np.random.default_rng(5)
    point = rng.normal(size=(1, size)).astype(kind)
    nothing = np.zeros((1, 0), kind)
    dx, dy = rng.normal(size=(3, size)).astype(kind), rng.normal(size=(3, out)).astype(kind)
    forward, _ = native.step_tangent(point, nothing, nothing, dx, np.zeros((3, 0)))
    backward, _ = native.step_adjoint(point, nothing, nothing, dy, np.zeros((3, 0)))
    x = torch.from_numpy(point)
    jacobian = torch.func.jacrev(lambda row: module(row[None])[0])(x[0]).detach().numpy()
    scale = max(1.0, float(np.abs(jacobian).max())) * np.sqrt(size)
    assert_close(forward, dx @ jacobian.T, tolerance * scale, "tangents")
    assert_close(backward, dy @ jacobian, tolerance * scale * np.sqrt(out), "adjoints")
    np.testing.assert_array_equal(native.initial_tangent(point, nothing, dx)[0], forward)
    np.testing.assert_array_equal(native.initial_adjoint(point, nothing, dy, None), backward)
    return jacobian


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    assert actual.shape == expected.shape
    scale = np.maximum(1.0, np.abs(expected).max(axis=1, keepdims=True, initial=0.0))
    worst = float((np.abs(actual - expected) / scale).max(initial=0.0))
    assert worst <= tolerance, f"{what} differ by {worst:.2e}, allowed {tolerance:.1e}"


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = function

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)
