"""Bits that do not depend on the machine, memory that is respected, models that are large."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surrogate_fmu.bundle import read_bundle
from surrogate_fmu.fmu.native.generate import generate_sources
from tests.fmu.native.compare import Memoryless, inputs_like
from tests.fmu.native.lowered import HEADERS, NativeModel, compile_model, make_bundle

CELL = Path(__file__).parents[3] / "models" / "dfn_cell" / "dfn_cell.bundle"


class Everything(nn.Module):
    """Dense, narrow and wide layers, convolutions, a cell, and most elementwise functions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(10, 90)
        self.image = nn.Sequential(nn.Conv2d(5, 24, 3, padding=1), nn.GELU(), nn.ConvTranspose2d(24, 3, 4, 2, 1), nn.Softplus())
        self.cell = nn.GRUCell(216, 30)
        self.norm = nn.LayerNorm(30)
        self.head = nn.Linear(30, 3)

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.cos(self.dense(x)) + nn.functional.elu(self.dense(x))
        seen = self.image(wide.view(-1, 5, 3, 6)).flatten(1)
        memory = self.norm(self.cell(seen, torch.sin(wide[:, :30])))
        return torch.softmax(self.head(memory), dim=1) + torch.log(1.0 + memory[:, :3].abs())


def run(native: NativeModel) -> list[np.ndarray]:
    x = inputs_like(10, 13)
    nothing = x[:, :0]
    dx = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    seeds = np.concatenate([dx, np.eye(10, dtype=np.float32)])
    tangents = native.step_tangent(x[:1], nothing[:1], nothing[:1], seeds, None)[0]
    return [native.step(x, nothing, nothing)[0], tangents, native.step_adjoint(x[:1], nothing[:1], nothing[:1], dx[:, :3], None)[0]]


def test_processors_give_equal_bits() -> None:
    model = generate_sources(make_bundle(Memoryless(Everything().eval()), 10, 0, 0, 3))
    modern = run(NativeModel(model, flags=("-mcpu=x86_64_v3",)))
    # The last is for compilers without vector types.
    for flags in (("-mcpu=x86_64",), ("-mcpu=x86_64_v3", "-DSF_PLAIN_BLOCKS")):
        for ours, theirs in zip(modern, run(NativeModel(model, flags=flags)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("float64", [False, True])
def test_a_tangent_has_equal_bits_among_others_and_alone(float64: bool) -> None:
    native = NativeModel(generate_sources(make_bundle(Memoryless(Everything().eval()), 10, 0, 0, 3), float64), float64)
    rng = np.random.default_rng(2)
    x, nothing = rng.normal(size=(1, 10)), np.zeros((1, 0))
    dense, mixed = rng.normal(size=(14, 10)), rng.normal(size=(14, 10)) * (rng.random((14, 10)) < 0.3)
    for dx in (np.eye(10), dense, mixed, np.zeros((3, 10))):
        together = native.step_tangent(x, nothing, nothing, dx, None)[0]
        alone = [native.step_tangent(x, nothing, nothing, dx[i : i + 1], None)[0] for i in range(len(dx))]
        np.testing.assert_array_equal(together, np.concatenate(alone))
        assert not together[~dx.any(axis=1)].any()


@pytest.mark.slow
def test_memory_is_respected(tmp_path: Path) -> None:
    """Under valgrind, arrays of exact size on the heap: no read or write outside, no value that was never written."""
    bundle = make_bundle(Memoryless(Everything().eval()), 10, 0, 0, 3)
    model = generate_sources(bundle)
    model.sources["main.c"] = _MAIN
    try:
        subprocess.run(["valgrind", "--version"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("valgrind is not installed")
    library = compile_model(model, tmp_path, ("-mcpu=x86_64_v2",))
    program = tmp_path / "main"
    subprocess.run(
        ["cc", "-x", "c", "-", "-x", "none", str(library), "-o", str(program), f"-Wl,-rpath,{tmp_path}"],
        input="int sf_main(void); int main(void) { return sf_main(); }\n",
        text=True,
        check=True,
    )
    done = subprocess.run(
        ["valgrind", "--error-exitcode=9", "--leak-check=no", "-q", str(program)], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.slow
def test_nothing_is_undefined(tmp_path: Path) -> None:
    """Under the sanitizers for addresses and undefined behaviour of the system's compiler."""
    model = generate_sources(make_bundle(Memoryless(Everything().eval()), 10, 0, 0, 3))
    model.sources["main.c"] = _MAIN + "int main(void) { return sf_main(); }\n"
    compile_model(model, tmp_path)  # leaves sources and weights in the folder
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{HEADERS}"]
    built = subprocess.run(
        ["cc", *flags, *model.sources, "weights.S", "-lm", "-o", "main"], cwd=tmp_path, capture_output=True, text=True
    )
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the sanitizers' libraries are not installed")
    assert built.returncode == 0, built.stderr[-3000:]
    done = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-4000:]


_MAIN = r"""
#include <stdlib.h>
#include "model.h"
int sf_main(void);
static real *array(size_t count, int fill)
{
    real *numbers = malloc(count * sizeof(real) + (count == 0));
    for (size_t i = 0; fill && i < count; i++)
        numbers[i] = (real)((double)(i * 37 % 101) / 50.0 - 1.0);
    return numbers;
}
static int seen(const real *numbers, size_t count)
{
    int positive = 0; /* a branch on every number makes valgrind look at it */
    for (size_t i = 0; i < count; i++)
        if (numbers[i] > 0)
            positive++;
    return positive;
}
int sf_main(void)
{
    const sf_model *m = sf_model_generic();
    int total = 0;
    for (int32_t n = 1; n <= 14; n += 6) {
        const size_t rows = (size_t)n, x_dim = (size_t)m->condition_dim, y_dim = (size_t)m->output_dim;
        void *work = aligned_alloc(64, m->work_size(n));
        real *x = array(rows * x_dim, 1), *y = array(rows * y_dim, 0), *dy = array(rows * y_dim, 1), *dx = array(rows * x_dim, 0);
        m->initial(x, NULL, y, NULL, work, n);
        total += seen(y, rows * y_dim);
        m->step(x, NULL, NULL, y, NULL, work, n);
        total += seen(y, rows * y_dim);
        real *point = array((size_t)m->step_point_dim + (size_t)m->initial_point_dim, 0);
        m->step_point(x, NULL, NULL, point, work, 1);
        m->step_tangent(point, x, NULL, y, NULL, work, n);
        total += seen(y, rows * y_dim);
        m->step_adjoint(x, NULL, NULL, dy, NULL, dx, NULL, work, n);
        total += seen(dx, rows * x_dim);
        m->initial_point(x, NULL, point + m->step_point_dim, work, 1);
        m->initial_tangent(point + m->step_point_dim, x, y, NULL, work, n);
        total += seen(y, rows * y_dim);
        m->initial_adjoint(x, NULL, dy, NULL, dx, work, n);
        total += seen(dx, rows * x_dim);
        free(work); free(x); free(y); free(dy); free(dx); free(point);
    }
    return total < 0;
}
"""


def test_twenty_megabytes_of_weights_build_in_seconds(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(64, 1600), nn.SiLU(), nn.Linear(1600, 2900), nn.SiLU(), nn.Linear(2900, 16)).eval()
    bundle = make_bundle(Memoryless(module), 64, 0, 0, 16)
    start = time.process_time()
    model = generate_sources(bundle)
    assert time.process_time() - start < 10.0
    (weights,) = model.weights.values()
    assert 18e6 < len(weights) < 22e6
    assert len(model.sources["model.c"]) < 50_000
    start = time.monotonic()
    compile_model(model, tmp_path)
    assert time.monotonic() - start < 30.0


def test_the_network_calls_nothing_but_libm(tmp_path: Path) -> None:
    library = compile_model(generate_sources(read_bundle(CELL)), tmp_path)
    names = subprocess.run(["nm", "-D", "--undefined-only", str(library)], capture_output=True, text=True, check=True).stdout
    called = {line.split()[-1].partition("@")[0] for line in names.splitlines()}
    allowed = {
        "memcpy",
        "memset",
        "powf",
        "__cxa_finalize",
        "__gmon_start__",
        "_ITM_registerTMCloneTable",
        "_ITM_deregisterTMCloneTable",
    }
    assert called <= allowed


def test_the_kernels_compile_with_the_systems_compiler(tmp_path: Path) -> None:
    """Whoever gets the sources may have another compiler."""
    model = generate_sources(read_bundle(CELL))
    for name, text in model.sources.items():
        (tmp_path / name).write_text(text)
    command = ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", "-c", "model.c", "-o", "model.o"]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no cc")
    assert done.returncode == 0, done.stderr[-3000:]
