"""`surrogate-fmu serve` as users run it: a process, a ready line, signals, exit codes."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli import serve
from surrogate_fmu.errors import BundleError, ConfigError
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import connect
from tests.service.conftest import ServeProcess

ROOT = Path(__file__).parents[2]
Start = Callable[..., ServeProcess]


def test_two_processes_one_trajectory(toy_bundle: Bundle, toy_bundle_path: Path, serve_process: Start):
    local = Session(toy_bundle, 7, parameters={"temperature_start": 305.0})
    local.initialize()
    expected = [local.do_step({"power": 10.0}) for _ in range(8)]

    first = serve_process(str(toy_bundle_path), "--listen", "127.0.0.1:0")
    assert first.ready_line == f"serving thermal_mass on {first.address} (stop with Ctrl-C)"
    with connect(first.address) as service, service.open("thermal_mass", seed=7, parameters={"temperature_start": 305.0}) as mass:
        seen = [mass.do_step({"power": 10.0}) for _ in range(4)]
        snapshot = mass.snapshot()
    assert first.stop(signal.SIGTERM) == 0

    second = serve_process(str(toy_bundle_path), "--listen", "127.0.0.1:0")
    with connect(second.address) as service, service.open("thermal_mass") as mass:
        mass.restore(snapshot)
        seen += [mass.do_step() for _ in range(4)]
        assert seen == expected

        example = [sys.executable, "examples/call_service.py", second.address, "thermal_mass"]
        printed = subprocess.run(example, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
        assert len(printed) == 11
        assert printed[0].split() == ["time", "[s]", "temperature", "[K]", "flow", "[W]", "in", "domain"]
        assert printed[-1].split()[0] == "20"

        taken = [sys.executable, "-m", "surrogate_fmu.cli.main", "serve", str(toy_bundle_path), "--listen", second.address]
        refused = subprocess.run(taken, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert refused.returncode == 10
        assert f"cannot listen on {second.address}" in refused.stderr
    assert second.stop(signal.SIGINT) == 0


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


def test_arguments_that_cannot_be_used(toy_bundle_path: Path, tmp_path: Path):
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ConfigError, match="listen 'nowhere' must be host:port"):
        serve.run(arguments(str(toy_bundle_path), "--listen", "nowhere"))
    with pytest.raises(BundleError, match="there is no bundle at"):
        serve.run(arguments(str(tmp_path / "missing.bundle")))
    with pytest.raises(ConfigError, match="two bundles"):
        serve.run(arguments(str(toy_bundle_path), str(toy_bundle_path)))
    assert signal.getsignal(signal.SIGTERM) is handler, "the handlers of before are back"


def test_help_is_one_line():
    assert "\n" not in serve.HELP
