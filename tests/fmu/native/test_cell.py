"""The shipped battery cell in C against its TorchScript over a whole run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from surrogate_fmu.bundle import Bundle, read_bundle
from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.fmu.native.generate import generate_sources
from tests.fmu.native.compare import assert_close
from tests.fmu.native.lowered import NativeModel, lower

BUNDLE = Path(__file__).parents[3] / "models" / "dfn_cell" / "dfn_cell.bundle"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(BUNDLE)


@pytest.fixture(scope="module")
def native(bundle: Bundle) -> NativeModel:
    return lower(bundle)


def conditions(bundle: Bundle, batch: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ranges = [bundle.manifest.domain[variable.name] for variable in bundle.manifest.condition]
    return np.stack([rng.uniform(r.min, r.max, batch) for r in ranges], 1).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 5, 200])
def test_a_run_follows_torchscript(bundle: Bundle, native: NativeModel, batch: int) -> None:
    generator = load_generator(bundle)
    x = conditions(bundle, batch, 0)
    z = np.random.default_rng(1).normal(size=(batch, bundle.manifest.latent_dim)).astype(np.float32)
    with torch.no_grad():
        y, h = native.initial(x, z)
        expected, state = generator.initial(torch.from_numpy(x), torch.from_numpy(z))
        assert_close(y, expected.numpy(), 1e-6, "outputs at the start")
        for step in range(360):
            x[:, 0] = conditions(bundle, batch, step + 2)[:, 0]
            y, h = native.step(x, z, h)
            expected, state = generator(torch.from_numpy(x), torch.from_numpy(z), state)
    spread = np.array([bundle.manifest.domain[v.name].max - bundle.manifest.domain[v.name].min for v in bundle.manifest.outputs])
    assert (np.abs(y - expected.numpy()) / spread).max() < 2e-4


def test_inputs_of_the_start_are_no_inputs_of_a_step(bundle: Bundle) -> None:
    model = generate_sources(bundle)
    names = [variable.name for variable in bundle.manifest.condition]
    given = {names.index(v.name) for v in bundle.manifest.inputs}
    assert all(dependencies <= given for dependencies in model.dependencies)
    assert len(model.dependencies) == bundle.manifest.output_dim


def test_dependencies_cover_the_jacobian(bundle: Bundle, native: NativeModel) -> None:
    model = generate_sources(bundle)
    x, dims = conditions(bundle, 1, 4), bundle.manifest
    z = np.zeros((1, dims.latent_dim), np.float32)
    _, h = native.initial(x, z)
    rows = np.eye(dims.condition_dim, dtype=np.float32)
    for dependencies, jacobian in (
        (model.initial_dependencies, native.initial_tangent(x, z, rows)[0]),
        (model.dependencies, native.step_tangent(x, z, h, rows, None)[0]),
    ):
        for i, depends in enumerate(dependencies):
            assert set(np.flatnonzero(jacobian[:, i]).tolist()) <= depends


def test_derivatives_equal_central_differences(bundle: Bundle) -> None:
    native = lower(bundle, float64=True)
    dims = bundle.manifest
    x = conditions(bundle, 1, 7).astype(float)
    z = np.random.default_rng(3).normal(size=(1, dims.latent_dim))
    _, h = native.initial(x, z)
    rng = np.random.default_rng(8)
    dx, dh = rng.normal(size=(1, dims.condition_dim)), rng.normal(size=(1, dims.hidden_dim))
    step = 1e-5
    ahead, behind = (np.concatenate(native.step(x + s * dx, z, h + s * dh), 1) for s in (step, -step))
    tangent = np.concatenate(native.step_tangent(x, z, h, dx, dh), 1)
    assert_close(tangent, (ahead - behind) / (2 * step), 1e-7, "tangents")


def test_the_same_bundle_gives_the_same_source(bundle: Bundle) -> None:
    assert generate_sources(bundle) == generate_sources(bundle)
