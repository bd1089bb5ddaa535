"""The error bounds that c/elementwise.h states, over numbers of every size, and equal bits with and without vector code."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from tests.fmu.native.lowered import FLAGS, HEADERS, run_compiler

NAMES = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "erf", "sin", "cos", "round")
TINY = float(np.finfo(np.float32).smallest_subnormal)


def build(folder: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    lines = ['#include "elementwise.h"']
    for name in NAMES:
        lines.append(f"void map_{name}(const real *restrict x, real *restrict y, int n)")
        lines.append(f"{{ for (int i = 0; i < n; i++) y[i] = sf_{name}(x[i]); }}")
    (folder / "functions.c").write_text("\n".join(lines) + "\n")
    library = folder / "functions.so"
    # The declarations of a test need no headers.
    run_compiler([*FLAGS, *flags, f"-I{HEADERS}", "functions.c", "-lm", "-o", str(library)], folder)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("v3"), ("-mcpu=x86_64_v3",))


@pytest.fixture(scope="module")
def scalar_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("base"), ("-mcpu=x86_64", "-fno-vectorize", "-fno-slp-vectorize"))


def apply(library: ctypes.CDLL, name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    getattr(library, f"map_{name}")(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), len(x))
    return y


def numbers(low: float = -3e38, high: float = 3e38) -> np.ndarray:
    """Float32 numbers of every size: all exponents, and densely where functions bend."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 400_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.concatenate([rng.normal(size=200_000) * scale for scale in (1e-3, 1.0, 10.0, 60.0)]).astype(np.float32)
    edges = np.array(
        [0.0, -0.0, 1.0, -1.0, TINY, -TINY, 88.7, 89.0, -87.4, -103.9, -104.5, 0.0004, 7.9, 9.0, 3.99, 4.01], np.float32
    )
    x = np.concatenate([bits[np.isfinite(bits)], near, edges])
    return np.ascontiguousarray(x[(x >= low) & (x <= high)])


def ulps(actual: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of the exact result, of the smallest denormal at least."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    unit = np.maximum(np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1.0))).astype(np.float64), TINY)
    same = actual == rounded
    return np.where(same, 0.0, np.abs(actual.astype(np.float64) - np.where(same, 0.0, exact)) / unit)


def erf(x: np.ndarray) -> np.ndarray:
    import torch

    return torch.erf(torch.from_numpy(x)).numpy()


EXACT = {
    "exp": (np.exp, 2.0, numbers()),
    "expm1": (np.expm1, 6.0, numbers()),
    "log": (np.log, 2.0, numbers(low=TINY)),
    "log1p": (np.log1p, 3.0, numbers(low=-0.999)),
    "sigmoid": (lambda x: 1.0 / (1.0 + np.exp(-x)), 4.0, numbers(low=-87.0)),
    "softplus": (lambda x: np.logaddexp(0.0, x), 4.0, numbers(low=-87.0)),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_relative_error_is_as_stated(library: ctypes.CDLL, name: str) -> None:
    exact, bound, x = EXACT[name]
    errors = ulps(apply(library, name, x), exact(x.astype(np.float64)))
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound, f"{name}({x[worst]!r}) is off by {errors[worst]:.2f} ulp"


ABSOLUTE = {
    "tanh": (np.tanh, 5e-7, numbers()),
    "erf": (erf, 5e-7, numbers()),
    "sin": (np.sin, 1.5e-7, numbers(-8e8, 8e8)),
    "cos": (np.cos, 1.5e-7, numbers(-8e8, 8e8)),
    "round": (np.round, 0.0, numbers()),
}


@pytest.mark.parametrize("name", ABSOLUTE)
def test_absolute_error_is_as_stated(library: ctypes.CDLL, name: str) -> None:
    exact, bound, x = ABSOLUTE[name]
    errors = np.abs(apply(library, name, x).astype(np.float64) - exact(x.astype(np.float64)))
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound, f"{name}({x[worst]!r}) is off by {errors[worst]:.2e}"


def test_small_numbers_keep_their_digits(library: ctypes.CDLL) -> None:
    x = np.geomspace(1e-30, 1e-4, 1000).astype(np.float32)
    for name in ("tanh", "sin", "expm1", "log1p"):
        np.testing.assert_allclose(apply(library, name, x), getattr(np, name)(x.astype(np.float64)), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_vector_and_scalar_code_give_equal_bits(library: ctypes.CDLL, scalar_library: ctypes.CDLL, name: str) -> None:
    special = np.array([np.inf, -np.inf, np.nan], np.float32)
    x = np.concatenate([numbers(), special])
    np.testing.assert_array_equal(apply(library, name, x), apply(scalar_library, name, x))


def test_what_is_no_number_stays_so_and_infinities_have_their_limits(library: ctypes.CDLL) -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    limits = {
        "exp": (np.inf, 0.0),
        "expm1": (np.inf, -1.0),
        "log": (np.inf, np.nan),
        "log1p": (np.inf, np.nan),
        "tanh": (1.0, -1.0),
        "sigmoid": (1.0, 0.0),
        "softplus": (np.inf, 0.0),
        "erf": (1.0, -1.0),
        "sin": (np.nan, np.nan),
        "cos": (np.nan, np.nan),
    }
    for name, expected in limits.items():
        np.testing.assert_allclose(apply(library, name, x), [*expected, np.nan], rtol=2e-7, err_msg=name)
