"""The contract over native FMUs of both versions, driven by FMPy."""

from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.contract import check_session


@pytest.mark.parametrize("fmi", list(FmiVersion))
def test_native_fmu_keeps_the_contract(toy_bundle: Bundle, tmp_path: Path, fmi: FmiVersion):
    path = build_native_fmu(toy_bundle, tmp_path / "thermal_mass.fmu", BuildConfig(fmi=fmi, external_latents=True))
    report = check_session(lambda **options: FmuSession(path, **options), toy_bundle.manifest)
    assert len(report.kept) == 15
