"""The contract over FMUs whose steps a service takes, driven by FMPy."""

from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.build import build_remote_fmu
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server


@pytest.mark.parametrize("fmi", list(FmiVersion))
def test_remote_fmu_keeps_the_contract(toy_bundle: Bundle, tmp_path: Path, fmi: FmiVersion):
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server:
        path = build_remote_fmu(toy_bundle, server.address, tmp_path / "thermal_mass.fmu", external_latents=True, fmi=fmi)
        report = check_session(lambda **options: FmuSession(path, **options), toy_bundle.manifest)
        assert len(report.kept) == 15
