"""What cannot be calibrated is refused with one sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle, write_archive
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.calibration.calibrate import calibrate
from surrogate_fmu.calibration.config import CalibrationConfig
from surrogate_fmu.calibration.measurements import measurements_of
from surrogate_fmu.calibration.reading import read_measurements
from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.manifest import Interval
from tests.calibration.linear import make_linear_bundle, measure


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_linear_bundle(False)


GOOD = "time,u,offset,level\n0,1,0.5,0\n2,1,0.5,0.4\n4,,0.5,0.7\n"
TABLES = [
    ("", "cannot be read"),
    ("time,u,offset,level\n0,1,x,0\n", "cannot be read"),
    ("time,u,offset,level\n", "as many numbers in every row"),
    ("time,u,offset,level\n0,1,0.5,0\n", "at least two are needed"),
    (GOOD.replace("level", "temperature"), "which linear has not; its inputs are 'u'"),
    (GOOD.replace(",level", "").replace(",0\n", "\n").replace(",0.4", "").replace(",0.7", ""), "have no output of linear"),
    (GOOD.replace("u", "level", 1).replace(",level\n", ",drift\n"), "lack 'u'"),
    (GOOD.replace("level", "level [degC]"), r"the unit of 'level' is 'degC', linear has 'K'"),
    (GOOD.replace("time", "time [h]"), r"the unit of 'time' is 'h'"),
    (GOOD.replace("time", "t"), "has no column 'time'"),
    (GOOD.replace("\n4", "\n3").replace("\n2", "\n1.5"), "a step of 1.5 s, linear one of 2 s"),
    (GOOD + "8,,0.5,1\n", "goes from 4 s to 8 s"),
    (GOOD.replace("2,1,", "2,99,"), "'u' is 99 at step 1; expected a number from -10 to 10"),
    (GOOD.replace("2,1,", "2,,"), "'u' is nan at step 1"),
    (GOOD.replace("4,,0.5", "4,,0.6"), "parameter 'offset' changes"),
    (GOOD.replace("offset", "u"), "has the column 'u' twice"),
]


@pytest.mark.parametrize(("text", "sentence"), TABLES)
def test_a_table_that_does_not_fit(text: str, sentence: str, bundle: Bundle, tmp_path: Path):
    (tmp_path / "unit.csv").write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        read_measurements(tmp_path / "unit.csv", bundle.manifest)


def test_the_good_table_is_read(bundle: Bundle, tmp_path: Path):
    (tmp_path / "unit.csv").write_text(GOOD)
    read = read_measurements(tmp_path / "unit.csv", bundle.manifest)
    assert read.inputs.tolist() == [[1.0], [1.0]] and read.parameters.tolist() == [0.5]
    assert read.outputs[:, 0].tolist() == [0.0, 0.4, 0.7] and np.isnan(read.outputs[:, 1]).all()


def test_measurements_that_say_too_little(bundle: Bundle):
    measurements = measure(np.zeros(2), 5, seed=0)
    nothing = np.full_like(measurements.outputs, np.nan)
    with pytest.raises(DatasetError, match="no output was measured in the window"):
        calibrate(bundle, replace(measurements, outputs=nothing))
    nothing[0, 0] = 1.0
    with pytest.raises(DatasetError, match="1 measured values for 2 unknowns"):
        calibrate(bundle, replace(measurements, outputs=nothing))
    with pytest.raises(DatasetError, match="nothing says what 'offset' was"):
        calibrate(bundle, replace(measurements, parameters=np.array([np.nan])))
    with pytest.raises(DatasetError, match="the window ends at step 6, the measurements have 1 to 5"):
        measurements.until(6)
    with pytest.raises(DatasetError, match="no output 'voltage' to calibrate by"):
        measurements.only(bundle.manifest, ["voltage"])


def test_a_configuration_that_does_not_fit(bundle: Bundle):
    measurements = measure(np.zeros(2), 5, seed=0)
    for config, sentence in (
        ({"estimate": {"u": None}}, "'u' cannot be estimated; parameters that can are 'offset'"),
        ({"noise": {"voltage": 1.0}}, "noise is given for 'voltage'"),
        ({"noise": {"level": 0.0}}, "must be a standard deviation above 0"),
        ({"estimate": {"offset": Interval(1.0, 1.0)}}, "the lower end must be below"),
        ({"members": 1}, "members 1 must be at least 2"),
        ({"noise_share": -1.0}, "must be above 0"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            calibrate(bundle, measurements, CalibrationConfig(**config))


class _Deterministic(torch.nn.Module):
    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x[:, 1:2], x[:, 1:2]], 1), x[:, :1]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([h, h], 1), x[:, :1]


def test_a_deterministic_bundle_has_nothing_to_infer(bundle: Bundle, tmp_path: Path, capsys):
    certain = export_bundle(_Deterministic(), bundle.manifest.replace(run_latent_dim=0))
    with pytest.raises(ConfigError, match="linear is deterministic"):
        calibrate(certain, measure(np.zeros(2), 5, seed=0))
    write_archive(certain, tmp_path / "certain.bundle")
    (tmp_path / "unit.csv").write_text(GOOD)
    files = [str(tmp_path / name) for name in ("certain.bundle", "unit.csv", "out.npz")]
    assert main(["calibrate", files[0], files[1], "-o", files[2]]) == 2
    assert "deterministic" in capsys.readouterr().err and not (tmp_path / "out.npz").exists()


def test_a_dataset_of_another_plant_or_without_a_run(bundle: Bundle):
    cell = Path("models/dfn_cell/data/validation.nc")
    with pytest.raises(DatasetError, match="has 288 runs; say which"):
        read_measurements(cell, bundle.manifest)
    with pytest.raises(DatasetError, match=r"the dataset has a step of 10 s, linear one of 2 s"):
        read_measurements(cell, bundle.manifest, run=0)
    with pytest.raises(DatasetError, match="run 288 is not in the dataset"):
        measurements_of(read_trajectories(cell), 288, bundle.manifest)
