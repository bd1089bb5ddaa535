"""FMUs whose steps a service takes: what they leave there, where they look for it, what they need."""

import gc
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import BuildError, SessionError
from surrogate_fmu.fmu.build import build_remote_fmu
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from tests.toy import MANIFEST, ThermalMass


@pytest.fixture
def server(toy_bundle: Bundle) -> Iterator[Server]:
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as running:
        yield running


def test_sessions_end_with_the_fmu(server: Server, toy_bundle: Bundle, tmp_path: Path, fmi: FmiVersion):
    path = build_remote_fmu(toy_bundle, server.address, tmp_path / "remote.fmu", fmi=fmi)
    assert validate_fmu(str(path)) == []
    for seed in range(3):
        with FmuSession(path, seed=seed) as session:
            session.initialize()
            session.do_step({"power": 5.0})
            session.reset()
            session.initialize()
            assert len(server.table) <= 2
    gc.collect()
    deadline = time.monotonic() + 10.0
    while len(server.table) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(server.table) == 0


def test_a_service_that_serves_another_bundle(tmp_path: Path, server: Server, toy_bundle: Bundle):
    other = export_bundle(ThermalMass(), MANIFEST.replace(description="another one"))
    path = build_remote_fmu(other, server.address, tmp_path / "remote.fmu")
    with pytest.raises(SessionError, match=r"this FMU is for .*; serve that one, or build the FMU anew"):
        FmuSession(path)


def test_the_environment_names_another_service(tmp_path: Path, server: Server, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    path = build_remote_fmu(toy_bundle, "127.0.0.1:1", tmp_path / "remote.fmu")
    monkeypatch.setenv("SURROGATE_FMU_TARGET", server.address)
    with FmuSession(path) as session:
        session.initialize()
        session.do_step()


def test_the_host_needs_no_torch(server: Server, toy_bundle: Bundle, tmp_path: Path, run_python: Callable[..., str]):
    path = build_remote_fmu(toy_bundle, server.address, tmp_path / "remote.fmu")
    script = """
import sys
sys.modules["torch"] = None
import fmpy
result = fmpy.simulate_fmu(sys.argv[1], stop_time=8.0, output_interval=2.0, output=["temperature"])
print(len(result))
"""
    assert run_python(script, path).strip() == "5"


def test_equal_bytes_and_targets(server: Server, toy_bundle: Bundle, tmp_path: Path):
    first, second, other = (tmp_path / name for name in ("a.fmu", "b.fmu", "c.fmu"))
    assert build_remote_fmu(toy_bundle, "h:1", first).read_bytes() == build_remote_fmu(toy_bundle, "h:1", second).read_bytes()
    build_remote_fmu(toy_bundle, "h:2", other)
    assert other.read_bytes() != first.read_bytes()
    assert not any("bundle" in Path(name).suffix for name in zipfile.ZipFile(first).namelist()), "the weights stay at the service"
    with pytest.raises(BuildError, match="must be host:port"):
        build_remote_fmu(toy_bundle, "nowhere", other)


def test_the_verb(server: Server, toy_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    output = tmp_path / "remote.fmu"
    words = ["build", str(toy_bundle_path), "-o", str(output), "--backend", "remote"]
    assert main([*words, "--target", server.address]) == 0
    assert "a service that runs" in capsys.readouterr().out
    assert main(words) == 2
    assert "belong together" in capsys.readouterr().err
