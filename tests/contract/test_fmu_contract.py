"""The contract over a built FMU, driven by FMPy."""

from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.runtime.contract import check_session


@pytest.fixture(scope="module")
def fmu_path(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(toy_bundle, tmp_path_factory.mktemp("fmu") / "thermal_mass.fmu", external_latents=True)


def test_fmu_keeps_the_contract(fmu_path: Path, toy_bundle: Bundle):
    report = check_session(lambda **options: FmuSession(fmu_path, **options), toy_bundle.manifest)
    assert len(report.kept) == 14
