"""Devices, mixed precision and compiled steps: results within tolerance of plain ones, and what cannot be is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import EnergyConfig, ExecutionConfig, GeneratorConfig, Precision, Structure, TrainingConfig
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.loop import TrainingResult, train
from surrogate_fmu.training.recipes import RECIPES
from tests.training.runs import CONFIG, make_runs, same_weights

MIXED = ExecutionConfig(precision=Precision.BFLOAT16)


@pytest.fixture(scope="module")
def runs(toy_bundle: Bundle) -> tuple[Trajectories, Trajectories]:
    return make_runs(toy_bundle, 24, 1, 1), make_runs(toy_bundle, 4, 4, 2)


def trained(runs: tuple[Trajectories, Trajectories], execution: ExecutionConfig, config: TrainingConfig = CONFIG) -> TrainingResult:
    return train(*runs, dataclasses.replace(config, execution=execution))


def close(left: TrainingResult, right: TrainingResult, tolerance: float) -> bool:
    return np.allclose(left.best.crps_ratio, right.best.crps_ratio, rtol=tolerance)


@pytest.mark.parametrize("recipe", ["energy", "r3gan", "wgan-gp", "vae", "mixture"])
def test_mixed_precision_trains_to_the_same_within_its_rounding(runs: tuple[Trajectories, Trajectories], recipe: str):
    sizes = GeneratorConfig(0, 3, 4, 12) if recipe == "mixture" else CONFIG.generator
    config = RECIPES[recipe].configure(dataclasses.replace(CONFIG, generator=sizes))
    plain, mixed = trained(runs, ExecutionConfig(), config), trained(runs, MIXED, config)
    assert not same_weights(plain, mixed) and close(plain, mixed, 0.02)
    assert all(weights.dtype == torch.float32 for weights in mixed.generator.parameters())
    assert make_trained_bundle("mixed", "", mixed, *runs, config).manifest.name == "mixed"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # torch warns of itself when it compiles
def test_compiled_steps_train_to_the_same(runs: tuple[Trajectories, Trajectories]):
    plain, compiled = trained(runs, ExecutionConfig()), trained(runs, ExecutionConfig(compile=True))
    assert close(plain, compiled, 1e-3)
    assert "step" not in vars(compiled.generator)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("recipe", ["energy", "r3gan", "wgan-gp", "vae"])
def test_a_training_on_cuda_ends_on_the_cpu(runs: tuple[Trajectories, Trajectories], recipe: str):
    result = trained(runs, ExecutionConfig("cuda"), RECIPES[recipe].configure(CONFIG))
    assert {weights.device.type for weights in result.generator.state_dict().values()} == {"cpu"}


def test_what_cannot_run_is_refused(runs: tuple[Trajectories, Trajectories]):
    for name in ("abacus", "cuda:99"):
        with pytest.raises(TrainingError, match=f"device '{name}' cannot be used here .*; cpu can"):
            trained(runs, ExecutionConfig(name))
    wiener = dataclasses.replace(
        CONFIG, generator=GeneratorConfig(2, 0, 4, 12, structure=Structure.WIENER), energy=EnergyConfig(members=3)
    )
    with pytest.raises(TrainingError, match="least squares, which need precision float32"):
        trained(runs, MIXED, wiener)
    with pytest.raises(TrainingError, match="compile has no effect on a Wiener generator"):
        trained(runs, ExecutionConfig(compile=True), wiener)


@pytest.mark.filterwarnings("ignore")  # torch warns of itself when it compiles
def test_a_missing_compiler_is_named(runs: tuple[Trajectories, Trajectories], monkeypatch: pytest.MonkeyPatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, "no-such-compiler"))
    monkeypatch.setattr(config, "force_disable_caches", True)
    with pytest.raises(TrainingError, match=r"no-such-compiler.* needs a C\+\+ compiler; set compile = false"):
        trained(runs, ExecutionConfig(compile=True))
