"""Real servers on loopback ports: one in this process, and processes of the `serve` verb."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.service.client import Service, connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.variables import Causality, Variable

FREE_PORT = ServeConfig(listen="127.0.0.1:0")

FIELD_MANIFEST = Manifest(
    name="field",
    variables=(
        Variable("profile", Causality.INPUT, "W", start=1.0, min=-5.0, max=5.0, shape=(3,)),
        Variable("gain", Causality.PARAMETER, start=2.0),
        Variable("field", Causality.OUTPUT, "K", shape=(2, 3)),
        Variable("total", Causality.OUTPUT, "K"),
    ),
    step_size=0.1,
    run_latent_dim=1,
    step_latent_dim=0,
    hidden_dim=0,
    domain={
        "profile": Interval(-4.0, 4.0),
        "gain": Interval(0.0, 4.0),
        "field": Interval(-50.0, 50.0),
        "total": Interval(-99.0, 99.0),
    },
)


class Field(torch.nn.Module):
    """field = gain (profile, 2 profile) + z: array variables, no memory."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 4), z (batch, 1) -> y (batch, 7), h (batch, 0)."""
        return self.forward(x, z, x[:, :0])

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 4), z (batch, 1), h (batch, 0) -> y (batch, 7), h (batch, 0)."""
        row = x[:, 3:4] * x[:, :3] + z
        field = torch.cat([row, 2.0 * row], 1)
        return torch.cat([field, field.sum(1, keepdim=True)], 1), h


@pytest.fixture(scope="session")
def field_bundle() -> Bundle:
    return export_bundle(Field(), FIELD_MANIFEST)


@pytest.fixture(scope="session")
def server(toy_bundle: Bundle, field_bundle: Bundle) -> Iterator[Server]:
    with Server([toy_bundle, field_bundle], FREE_PORT) as running:
        yield running


@pytest.fixture
def service(server: Server) -> Iterator[Service]:
    with connect(server.address) as connection:
        yield connection


class ServeProcess:
    """`surrogate-fmu serve` in a process of its own.

    Attributes:
        ready_line: what it printed when it was ready.
        address: where it listens.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "surrogate_fmu.cli.main", "serve", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline().strip()
        found = re.search(r" on (\S+:\d+) ", self.ready_line)
        if found is None:
            self.process.kill()
            raise AssertionError(f"serve did not get ready: {self.ready_line!r} {self.process.communicate()[1]!r}")
        self.address = found[1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def __enter__(self) -> "ServeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def serve_process() -> Iterator[Callable[..., ServeProcess]]:
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(ServeProcess(*arguments))
