"""What the lowered network alone costs, without FMI, latents and checks, beside TorchScript and onnxruntime.

python -m pip install onnxruntime onnx onnxscript      optional; without them their columns stay empty
python benchmarks/native/kernels.py                    prints a table and writes benchmarks/native/kernels.json

Microseconds per call, the fastest of many, one thread, one machine, one run: trust the ratios. TorchScript and onnxruntime
(with bound inputs and outputs) are called from Python, which is some microseconds of theirs at batch 1.
"""

import ctypes
import io
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import surrogate_fmu.fmu.native
from surrogate_fmu.bundle.torchscript import export_bundle, load_generator
from surrogate_fmu.fmu.native.compile import _MODEL  # the flags of an FMU's network
from surrogate_fmu.fmu.native.generate import GeneratedModel, generate_sources
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

HERE = Path(__file__).resolve().parent
HEADERS = Path(surrogate_fmu.fmu.native.__file__).parent / "c"
BATCHES = (1, 32, 256)
PROCESSORS = ("x86_64_v3", "x86_64")
TIMER = """
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <time.h>
#include "model.h"
const sf_model *sf_model_generic(void);
size_t work_bytes(int32_t count) { return sf_model_generic()->work_size(count); }
#define FASTEST(call)                                                                                     \\
    for (int block = 0; block < 30; block++) {                                                            \\
        struct timespec a, b;                                                                             \\
        clock_gettime(CLOCK_MONOTONIC, &a);                                                               \\
        for (int i = 0; i < calls; i++)                                                                   \\
            call;                                                                                         \\
        clock_gettime(CLOCK_MONOTONIC, &b);                                                               \\
        const double us = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e3 / calls; \\
        best = us < best ? us : best;                                                                     \\
    }
double step_us(const real *x, const real *z, const real *h, real *y, real *next, void *work, int32_t batch, int calls)
{
    double best = 1e30;
    FASTEST(sf_model_generic()->step(x, z, h, y, next, work, batch))
    return best;
}
double tangent_us(const real *x, const real *z, const real *h, const real *dx, real *y, real *next, void *work, int32_t count,
                  int calls)
{
    const sf_model *m = sf_model_generic();
    real *const point = malloc(sizeof(real) * (size_t)(m->step_point_dim + 1));
    double best = 1e30;
    FASTEST((m->step_point(x, z, h, point, work, 1), m->step_tangent(point, dx, NULL, y, next, work, count)))
    free(point);
    return best;
}
"""


class Network(nn.Module):
    """A generator without memory around a network of (x, z)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(torch.cat([x, z], 1)), x[:, :0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(torch.cat([x, z], 1)), h


class Recurrent(nn.Module):
    """A GRU cell and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(16, 64), nn.Linear(64, 4)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.zeros(x.shape[0], 64)
        return self.head(h), h

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return self.head(h), h


def mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def dcgan() -> nn.Module:
    """32 x 32 pixels from 68 numbers."""
    layers: list[nn.Module] = [
        nn.Unflatten(1, (68, 1, 1)),
        nn.ConvTranspose2d(68, 128, 4, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
    ]
    for inputs, outputs in ((128, 64), (64, 32)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh(), nn.Flatten())


def ising() -> nn.Module:
    """A 9 x 9 torus from a temperature and 128 numbers."""
    return nn.Sequential(
        nn.Linear(129, 128 * 81),
        nn.SiLU(),
        nn.Unflatten(1, (128, 9, 9)),
        nn.Conv2d(128, 16, 3, padding=1, padding_mode="circular"),
        nn.SiLU(),
        nn.Conv2d(16, 1, 1),
        nn.Tanh(),
        nn.Flatten(),
    )


# module, condition_dim, latent_dim, hidden_dim, output_dim
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int, int, int]] = {
    "MLP 12-64-64-4": (lambda: Network(mlp(12, 64, 64, 4)), 12, 0, 0, 4),
    "MLP 32-256-256-16": (lambda: Network(mlp(32, 256, 256, 16)), 32, 0, 0, 16),
    "GRU 16-64 and head": (Recurrent, 16, 0, 64, 4),
    "DCGAN 32x32": (lambda: Network(dcgan()), 4, 64, 0, 1024),
    "Ising 9x9": (lambda: Network(ising()), 1, 128, 0, 81),
}


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[str, dict[str, float]] = {}
    for label, (make, *dims) in NETWORKS.items():
        results[label] = figures = measure(make().eval(), *dims)
        print(label)
        for name, value in figures.items():
            print(f"    {name:32s} {value:12.3g}", flush=True)
    (HERE / "kernels.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(module: nn.Module, condition_dim: int, latent_dim: int, hidden_dim: int, output_dim: int) -> dict[str, float]:
    """Microseconds by engine and batch, the largest difference from TorchScript, and the time to compile."""
    variables = [Variable(f"x{i}", Causality.INPUT, start=0.0) for i in range(condition_dim)]
    variables += [Variable(f"y{i}", Causality.OUTPUT) for i in range(output_dim)]
    domain = {v.name: Interval(-1.0, 1.0) for v in variables}
    bundle = export_bundle(module, Manifest("network", tuple(variables), 1.0, 0, latent_dim, hidden_dim, domain))
    generator, model = load_generator(bundle), generate_sources(bundle)
    figures: dict[str, float] = {}
    for processor in PROCESSORS:
        start = time.perf_counter()
        library = compiled(model, processor)
        figures[f"compile for {processor}, s"] = time.perf_counter() - start
        for batch in BATCHES:
            rng = np.random.default_rng(0)
            arrays = [rng.normal(size=(batch, n)).astype(np.float32) for n in (condition_dim, latent_dim, hidden_dim)]
            us, y = step_us(library, arrays, output_dim)
            figures[f"C {processor}, batch {batch}"] = us
            with torch.inference_mode():
                inputs = [torch.from_numpy(a) for a in arrays]
                expected = generator(*inputs)[0].numpy()
                difference = float(np.abs(y - expected).max())
                if processor == PROCESSORS[0]:
                    figures[f"TorchScript, batch {batch}"] = fastest(lambda inputs=inputs: generator(*inputs))
                    onnx = onnxruntime_call(module, arrays, output_dim)
                    if onnx is not None:
                        figures[f"onnxruntime, batch {batch}"] = fastest(onnx)
            figures["largest difference"] = max(figures.get("largest difference", 0.0), difference)
        if processor == PROCESSORS[0]:
            for count in (1, condition_dim):
                figures[f"C {processor}, {count} tangents"] = tangent_us(library, arrays, count, output_dim)
    return figures


def compiled(model: GeneratedModel, processor: str) -> ctypes.CDLL:
    """The model and the timer as a library."""
    folder = Path(tempfile.mkdtemp())
    for name, text in {**model.sources, "timer.c": TIMER}.items():
        (folder / name).write_text(text)
    lines = []
    for name, content in model.weights.items():
        (folder / f"{name}.bin").write_bytes(content)
        lines += [".section .rodata", f".globl {name}", f".hidden {name}", ".p2align 6", f"{name}:", f'.incbin "{name}.bin"']
    (folder / "weights.S").write_text("\n".join([*lines, '.section .note.GNU-stack,"",@progbits', ""]))
    flags = ["-std=c11", *_MODEL, "-fPIC", "-shared", f"-mcpu={processor}", f"-I{HEADERS}"]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, *model.sources, "timer.c", "weights.S", "-o", "model.so"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "model.so"))
    library.step_us.restype = library.tangent_us.restype = ctypes.c_double
    library.work_bytes.restype = ctypes.c_size_t
    return library


def pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(a.ctypes.data) for a in arrays]


def work_space(library: ctypes.CDLL, count: int) -> tuple[np.ndarray, ctypes.c_void_p]:
    room = np.zeros(library.work_bytes(count) + 64, np.uint8)
    return room, ctypes.c_void_p(room.ctypes.data + -room.ctypes.data % 64)


def step_us(library: ctypes.CDLL, arrays: list[np.ndarray], output_dim: int) -> tuple[float, np.ndarray]:
    batch = len(arrays[0])
    y, h = np.zeros((batch, output_dim), np.float32), np.zeros_like(arrays[2])
    _room, work = work_space(library, batch)
    once = library.step_us(*pointers(*arrays, y, h), work, batch, 1)
    return library.step_us(*pointers(*arrays, y, h), work, batch, max(1, int(2000 / once))), y


def tangent_us(library: ctypes.CDLL, arrays: list[np.ndarray], count: int, output_dim: int) -> float:
    dx = np.random.default_rng(1).normal(size=(count, arrays[0].shape[1])).astype(np.float32)
    y, h = np.zeros((count, output_dim), np.float32), np.zeros((count, arrays[2].shape[1]), np.float32)
    _room, work = work_space(library, count)
    once = library.tangent_us(*pointers(*arrays, dx, y, h), work, count, 1)
    return library.tangent_us(*pointers(*arrays, dx, y, h), work, count, max(1, int(2000 / once)))


def onnxruntime_call(module: nn.Module, arrays: list[np.ndarray], output_dim: int) -> Callable[[], Any] | None:
    """A call of the network in onnxruntime with one thread; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    buffer = io.BytesIO()
    names = ["x", "z", "h"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, tuple(torch.from_numpy(a) for a in arrays), buffer, input_names=names, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    taken = {given.name for given in session.get_inputs()}
    for name, array in zip(names, arrays, strict=True):
        if name in taken:
            binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def fastest(call: Callable[[], Any]) -> float:
    """Microseconds of the fastest call."""
    for _ in range(5):
        call()
    best, end = float("inf"), time.perf_counter() + 0.6
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best * 1e6


if __name__ == "__main__":
    main()
