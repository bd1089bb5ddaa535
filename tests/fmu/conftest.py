"""Built FMUs, and a Python process of its own for what may bring a process down."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", params=list(FmiVersion), ids=lambda fmi: f"FMI {fmi}")
def fmi(request: pytest.FixtureRequest) -> FmiVersion:
    return request.param


@pytest.fixture(scope="session")
def toy_fmu(toy_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(toy_bundle, tmp_path_factory.mktemp("fmus") / "thermal_mass.fmu", fmi=fmi)


@pytest.fixture(scope="session")
def latent_fmu(toy_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fmus") / "thermal_mass_z.fmu"
    return build_python_fmu(toy_bundle, path, external_latents=True, model_identifier="thermal_mass_z", fmi=fmi)


@pytest.fixture(scope="session")
def field_bundle() -> Bundle:
    return export_bundle(Field(), FIELD_MANIFEST)


@pytest.fixture(scope="session")
def field_fmu(field_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(field_bundle, tmp_path_factory.mktemp("fmus") / "field.fmu", fmi=fmi)


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run a script in a fresh interpreter; the answer is its standard output."""

    def run(script: str, *arguments: object) -> str:
        finished = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=200, cwd=ROOT
        )
        assert finished.returncode == 0, f"exit code {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    return run


# An array of every causality, a value reference of its own, and a name that the FMU's own variables have too.
FIELD_MANIFEST = Manifest(
    name="field",
    variables=(
        Variable("force", Causality.INPUT, "N", "forces on a grid", 0.5, -10.0, 10.0, shape=(2, 3), value_reference=100),
        Variable("seed", Causality.PARAMETER, "mm", "thickness of the seed layer", 2.0, 0.0, 5.0, value_reference=0),
        Variable("offset", Causality.PARAMETER, "1", "added", 0.25, shape=(3,)),
        Variable("displacement", Causality.OUTPUT, "mm", "displacement on a grid", shape=(2, 3)),
        Variable("total", Causality.OUTPUT, "W/(m2.K)", "sum"),
    ),
    step_size=1.0,
    run_latent_dim=0,
    step_latent_dim=1,
    hidden_dim=0,
    domain={
        "force": Interval(-8.0, 8.0),
        "seed": Interval(0.0, 5.0),
        "offset": Interval(-1.0, 1.0),
        "displacement": Interval(-1000.0, 1000.0),
        "total": Interval(-1000.0, 1000.0),
    },
)


class Field(torch.nn.Module):
    """displacement = seed * force + offset of the column + 0.1 z; without memory."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 10), z (batch, 1) -> y (batch, 7), h (batch, 0)."""
        columns = torch.cat([x[:, 7:10], x[:, 7:10]], 1)
        displacement = x[:, 6:7] * x[:, 0:6] + columns + 0.1 * z
        return torch.cat([displacement, displacement.sum(1, keepdim=True)], 1), x[:, 0:0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The same at every step."""
        return self.initial(x, z)
