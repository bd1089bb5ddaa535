"""The C latent stream, compiled as FMUs are, against `runtime.latent`: equal to the last bit."""

import ctypes
from ctypes import c_float, c_int, c_int32, c_int64, c_uint64
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.fmu.native import compile as compilation
from surrogate_fmu.fmu.native.build import _C_FOLDER
from surrogate_fmu.fmu.native.platforms import TARGETS, this_platform
from surrogate_fmu.runtime.latent import SEED_MAX, LatentStream, normal_from_words

SHIM = """
#include "latent.h"
#define PUBLIC __attribute__((visibility("default")))
PUBLIC void normals(int64_t seed, int stream, uint64_t first, int32_t count, float *out);
PUBLIC void words(const uint64_t *in, int32_t count, float *out);
void normals(int64_t seed, int stream, uint64_t first, int32_t count, float *out)
{
    uint64_t drawn[1024];
    sf_words(seed, stream ? SF_STEP_STREAM : SF_RUN_STREAM, first, count, drawn);
    words(drawn, count, out);
}
void words(const uint64_t *in, int32_t count, float *out)
{
    for (int32_t i = 0; i < count; i += SF_NORMALS_MOST)
        sf_normals_from_words(in + i, count - i < SF_NORMALS_MOST ? count - i : SF_NORMALS_MOST, out + i);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    sources = compilation.CSources(
        {"latent.c": (_C_FOLDER / "latent.c").read_text(), "shim.c": SHIM},
        {},
        {"latent.h": (_C_FOLDER / "latent.h").read_text()},
        {},
    )
    path = tmp_path_factory.mktemp("latents") / "latents.so"
    path.write_bytes(compilation.compile_library(sources, TARGETS[this_platform()]))
    library = ctypes.CDLL(str(path))
    library.normals.argtypes = [c_int64, c_int, c_uint64, c_int32, ctypes.POINTER(c_float)]
    return library


def bits_of_stream(library: ctypes.CDLL, seed: int, stream: int, first: int, count: int) -> list[int]:
    out = np.zeros(count, np.float32)
    library.normals(seed, stream, first, count, out.ctypes.data_as(ctypes.POINTER(c_float)))
    return out.view(np.uint32).tolist()


def bits_of_words(library: ctypes.CDLL, words: np.ndarray) -> np.ndarray:
    words, out = np.ascontiguousarray(words, np.uint64), np.zeros(len(words), np.float32)
    library.words(words.ctypes.data_as(ctypes.c_void_p), c_int32(len(words)), out.ctypes.data_as(ctypes.c_void_p))
    return out.view(np.uint32)


@given(seed=st.integers(0, SEED_MAX), step=st.integers(0, 2**40), dim=st.integers(1, 9), count=st.integers(1, 9))
def test_the_stream_is_that_of_python(library: ctypes.CDLL, seed: int, step: int, dim: int, count: int) -> None:
    expected = LatentStream(seed, dim, dim)
    assert (
        bits_of_stream(library, seed, 1, step * dim, count * dim)
        == expected.step_latents(step, count).view(np.uint32).ravel().tolist()
    )
    assert bits_of_stream(library, seed, 0, 0, dim) == expected.run_latent.view(np.uint32).tolist()


def test_the_map_is_that_of_python_over_many_words(library: ctypes.CDLL) -> None:
    random = np.random.default_rng(4)
    uniform = random.integers(0, 2**64, 1_000_000, dtype=np.uint64)
    tails = random.integers(0, 2**64, 200_000, dtype=np.uint64) >> random.integers(0, 64, 200_000).astype(np.uint64)
    ends = np.arange(4096, dtype=np.uint64) << np.uint64(11)
    for words in (uniform, tails, ~tails, ends, ~ends):
        assert np.array_equal(bits_of_words(library, words), normal_from_words(words).view(np.uint32))


def test_the_folder_of_the_sources_is_the_packages() -> None:
    assert Path(_C_FOLDER, "latent.c").is_file()
