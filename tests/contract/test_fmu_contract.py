"""The contract over a built FMU, driven by FMPy."""

from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.runtime.contract import check_session


@pytest.mark.parametrize("fmi", list(FmiVersion))
def test_fmu_keeps_the_contract(toy_bundle: Bundle, tmp_path: Path, fmi: FmiVersion):
    path = build_python_fmu(toy_bundle, tmp_path / "thermal_mass.fmu", external_latents=True, fmi=fmi)
    report = check_session(lambda **options: FmuSession(path, **options), toy_bundle.manifest)
    assert len(report.kept) == 15
