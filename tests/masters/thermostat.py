"""The controller of the coupled systems: a proportional one with a limit, as a bundle, so that this project builds its FMU too."""

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable
from tests.toy import STEP_SIZE

MANIFEST = Manifest(
    name="thermostat",
    description="heats in proportion to what is missing to the setpoint",
    variables=(
        Variable("measured", Causality.INPUT, "K", "temperature that is held", 293.15, 200.0, 400.0, 300.0),
        Variable("setpoint", Causality.PARAMETER, "K", "temperature to hold", 293.15, 200.0, 400.0, 300.0),
        Variable("heating", Causality.OUTPUT, "W", "heating power", nominal=10.0),
    ),
    step_size=STEP_SIZE,
    run_latent_dim=0,
    step_latent_dim=0,
    hidden_dim=0,
    domain={
        "measured": Interval(200.0, 400.0),
        "setpoint": Interval(200.0, 400.0),
        "heating": Interval(-40.0, 40.0),
    },
)


class Thermostat(torch.nn.Module):
    """heating = 3 (setpoint - measured), at most 40 W either way."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 2), z (batch, 0) -> y (batch, 1), h (batch, 0)."""
        return torch.clamp(3.0 * (x[:, 1:2] - x[:, 0:1]), -40.0, 40.0), x[:, 0:0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The same at every step."""
        return self.initial(x, z)


def make_thermostat_bundle() -> Bundle:
    """The thermostat as a bundle."""
    return export_bundle(Thermostat(), MANIFEST)
