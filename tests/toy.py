"""A small stochastic thermal mass with every feature of a generator: inputs, a parameter, both latents, hidden state."""

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

STEP_SIZE = 2.0

MANIFEST = Manifest(
    name="thermal_mass",
    description="a heated mass with a random resistance and a noisy flow",
    variables=(
        Variable("power", Causality.INPUT, "W", "heating power", 0.0, -100.0, 100.0, 10.0),
        Variable("ambient_temperature", Causality.INPUT, "K", "temperature around", 293.15, 200.0, 400.0, 300.0, "degC"),
        Variable("temperature_start", Causality.PARAMETER, "K", "temperature at the start", 293.15, 200.0, 400.0, 300.0, "degC"),
        Variable("temperature", Causality.OUTPUT, "K", "temperature of the mass", nominal=300.0, display_unit="degC"),
        Variable("flow", Causality.OUTPUT, "W", "heat flow to the surroundings", nominal=10.0),
    ),
    step_size=STEP_SIZE,
    run_latent_dim=1,
    step_latent_dim=2,
    hidden_dim=2,
    domain={
        "power": Interval(-50.0, 50.0),
        "ambient_temperature": Interval(270.0, 320.0),
        "temperature_start": Interval(270.0, 320.0),
        "temperature": Interval(250.0, 350.0),
        "flow": Interval(-80.0, 80.0),
    },
)


class ThermalMass(torch.nn.Module):
    """temperature' = (power - flow) / C, flow = exp(0.2 z_run) (temperature - ambient) + 0.5 z_step, slowly filtered."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 3), z (batch, 3) -> y (batch, 2), h (batch, 2)."""
        temperature = x[:, 2:3]
        flow = torch.exp(0.2 * z[:, 0:1]) * (temperature - x[:, 1:2])
        hidden = torch.cat([temperature, flow], 1)
        return hidden, hidden

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 3), z (batch, 3), h (batch, 2) -> y (batch, 2), h (batch, 2)."""
        flow = torch.exp(0.2 * z[:, 0:1]) * (h[:, 0:1] - x[:, 1:2]) + 0.5 * z[:, 1:2]
        flow = 0.5 * flow + 0.5 * h[:, 1:2]
        temperature = h[:, 0:1] + 0.05 * (x[:, 0:1] - flow) + 0.01 * z[:, 2:3]
        y = torch.cat([temperature, flow], 1)
        return y, y


def make_toy_bundle() -> Bundle:
    """The thermal mass as a bundle."""
    return export_bundle(ThermalMass(), MANIFEST)
