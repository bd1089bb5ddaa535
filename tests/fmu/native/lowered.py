"""Lowered models compiled into shared libraries and called through ctypes, and bundles of bare modules to lower."""

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import surrogate_fmu.fmu.native
from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.fmu.native.compile import _MODEL
from surrogate_fmu.fmu.native.generate import GeneratedModel, generate_sources
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

HEADERS = Path(surrogate_fmu.fmu.native.__file__).parent / "c"
FLAGS = ["-std=c11", *_MODEL, "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
POINTER = ctypes.c_void_p


class SfModel(ctypes.Structure):
    """sf_model of c/model.h."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("condition_dim", "run_latent_dim", "step_latent_dim", "hidden_dim", "output_dim")),
        *((name, ctypes.c_int32) for name in ("step_point_dim", "initial_point_dim")),
        ("work_size", ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_int32)),
        ("initial", ctypes.CFUNCTYPE(None, *[POINTER] * 5, ctypes.c_int32)),
        ("step", ctypes.CFUNCTYPE(None, *[POINTER] * 6, ctypes.c_int32)),
        ("step_with_point", ctypes.CFUNCTYPE(None, *[POINTER] * 7, ctypes.c_int32)),
        ("step_point", ctypes.CFUNCTYPE(None, *[POINTER] * 5, ctypes.c_int32)),
        ("step_tangent", ctypes.CFUNCTYPE(None, *[POINTER] * 6, ctypes.c_int32)),
        ("step_adjoint", ctypes.CFUNCTYPE(None, *[POINTER] * 8, ctypes.c_int32)),
        ("initial_point", ctypes.CFUNCTYPE(None, *[POINTER] * 4, ctypes.c_int32)),
        ("initial_tangent", ctypes.CFUNCTYPE(None, *[POINTER] * 5, ctypes.c_int32)),
        ("initial_adjoint", ctypes.CFUNCTYPE(None, *[POINTER] * 6, ctypes.c_int32)),
    ]


class NativeModel:
    """A compiled model; arrays in and out are numpy, batch first."""

    def __init__(self, model: GeneratedModel, float64: bool = False, flags: tuple[str, ...] = ("-march=x86_64_v3",)) -> None:
        self.dtype = np.float64 if float64 else np.float32
        folder = Path(tempfile.mkdtemp(prefix="sf_native_"))
        library = compile_model(model, folder, (*flags, *(["-DSF_FLOAT64"] if float64 else [])))
        self._library = ctypes.CDLL(str(library))
        self._library.sf_model_generic.restype = ctypes.POINTER(SfModel)
        self.table = self._library.sf_model_generic().contents

    def initial(self, x, z):
        y, h = self._call("initial", (x, z), (self.table.output_dim, self.table.hidden_dim), len(x))
        return y, h

    def step(self, x, z, h):
        return self._call("step", (x, z, h), (self.table.output_dim, self.table.hidden_dim), len(x))

    def step_tangent(self, x, z, h, dx, dh):
        (point,) = self._call("step_point", (x, z, h), (self.table.step_point_dim,), 1)
        together = self._call("step_with_point", (x, z, h), (self.table.output_dim, self.table.hidden_dim, point.shape[1]), 1)
        for mine, theirs in zip(together, (*self.step(x, z, h), point), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        return self._call("step_tangent", (point, dx, dh), (self.table.output_dim, self.table.hidden_dim), len(dx))

    def step_adjoint(self, x, z, h, dy, dh):
        return self._call("step_adjoint", (x, z, h, dy, dh), (self.table.condition_dim, self.table.hidden_dim), len(dy))

    def initial_tangent(self, x, z, dx):
        (point,) = self._call("initial_point", (x, z), (self.table.initial_point_dim,), 1)
        return self._call("initial_tangent", (point, dx), (self.table.output_dim, self.table.hidden_dim), len(dx))

    def initial_adjoint(self, x, z, dy, dh):
        return self._call("initial_adjoint", (x, z, dy, dh), (self.table.condition_dim,), len(dy))[0]

    def _call(self, name, inputs, dims, count):
        arrays = [None if a is None else np.ascontiguousarray(a, self.dtype) for a in inputs]
        results = [np.full((count, dim), np.nan, self.dtype) for dim in dims]
        size = self.table.work_size(count)
        room = np.full(size + 128, 0xFF, np.uint8)  # numbers that are none, and a guard behind
        start = -room.ctypes.data % 64
        pointers = [None if a is None or a.size == 0 else a.ctypes.data for a in (*arrays, *results)]
        getattr(self.table, name)(*pointers, room.ctypes.data + start, count)
        assert (room[start + size :] == 0xFF).all(), f"{name} wrote behind its work space"
        assert (room[:start] == 0xFF).all(), f"{name} wrote before its work space"
        return results


def compile_model(model: GeneratedModel, folder: Path, flags: tuple[str, ...] = ()) -> Path:
    for name, text in model.sources.items():
        (folder / name).write_text(text)
    lines = []
    for name, content in model.weights.items():
        (folder / f"{name}.bin").write_bytes(content)
        lines += [".section .rodata", f".globl {name}", f".hidden {name}", ".p2align 6", f"{name}:", f'.incbin "{name}.bin"']
    (folder / "weights.S").write_text("\n".join([*lines, '.section .note.GNU-stack,"",@progbits', ""]))
    library = folder / "model.so"
    sources = [*model.sources, "weights.S"]
    run_compiler([*FLAGS, *flags, f"-I{HEADERS}", *sources, "-lm", "-o", str(library)], folder)
    return library


def run_compiler(arguments: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, env=os.environ)
    assert done.returncode == 0, done.stderr[-6000:]


def make_bundle(module: torch.nn.Module, condition_dim: int, latent_dim: int, hidden_dim: int, output_dim: int) -> Bundle:
    variables = tuple(
        Variable(f"{letter}{i}", causality, start=0.1 if letter == "x" else None)
        for letter, causality, count in (("x", Causality.INPUT, condition_dim), ("y", Causality.OUTPUT, output_dim))
        for i in range(count)
    )
    name = "m" + hashlib.sha256(type(module).__name__.encode()).hexdigest()[:8]
    domain = {v.name: Interval(-1.0, 1.0) for v in variables}
    manifest = Manifest(
        name=name,
        variables=variables,
        step_size=1.0,
        run_latent_dim=0,
        step_latent_dim=latent_dim,
        hidden_dim=hidden_dim,
        domain=domain,
    )
    return export_bundle(module, manifest)


def lower(bundle: Bundle, float64: bool = False, flags: tuple[str, ...] = ("-march=x86_64_v3",)) -> NativeModel:
    return NativeModel(generate_sources(bundle, float64), float64, flags)
