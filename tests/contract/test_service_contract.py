"""The contract over a server on a loopback port."""

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server


def test_service_keeps_the_contract(toy_bundle: Bundle):
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server, connect(server.address) as service:
        report = check_session(lambda **options: service.open("thermal_mass", initialize=False, **options), toy_bundle.manifest)
    assert len(report.kept) == 15
