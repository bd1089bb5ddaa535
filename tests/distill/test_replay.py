"""`verify --plant`: the plant is replayed over the surrogate's domain."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.distill.replay import record_test_runs
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import Interval


@pytest.fixture(scope="module")
def plant(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surrogate is a plant too; against itself it must pass."""
    return build_native_fmu(toy_bundle, tmp_path_factory.mktemp("plant") / "Plant.fmu", BuildConfig())


def test_test_runs_cover_the_domain_and_repeat_each_schedule(plant: Path, toy_bundle: Bundle) -> None:
    manifest = toy_bundle.manifest
    held = manifest.replace(domain={**manifest.domain, "ambient_temperature": Interval(293.15, 293.15)})
    runs = record_test_runs(held, plant, 20, 4, 3, 1)
    assert runs.schedule.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    power, ambient = runs.inputs[..., 0], runs.inputs[..., 1]
    assert -50.0 <= power.min() < -10.0 and 10.0 < power.max() <= 50.0
    assert (ambient == 293.15).all()
    assert 270.0 <= runs.parameters.min() < runs.parameters.max() <= 320.0
    assert np.abs(runs.outputs[0] - runs.outputs[1]).max() > 0.0  # another individual


@pytest.mark.slow
def test_a_surrogate_may_take_its_own_place(plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(plant), "--plant", str(plant), "--steps", "36", "--individuals", "32", "-o", str(tmp_path)]
    assert main(command) == 0
    assert "REPLACE" in capsys.readouterr().out


def test_what_cannot_be_replayed_is_refused(plant: Path, toy_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(plant), "--plant", str(plant), "--steps", "0"]) == 2
    assert "--steps 0 must be at least 1" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="there is no FMU at"):
        record_test_runs(toy_bundle.manifest, plant.with_name("none.fmu"), 20, 2, 1)
    with pytest.raises(ConfigError, match="no input with a width"):
        record_test_runs(
            toy_bundle.manifest.replace(domain={k: Interval(1.0, 1.0) for k in toy_bundle.manifest.domain}), plant, 9, 2, 1
        )
