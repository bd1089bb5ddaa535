"""The thermal mass with tunable parameters: one that acts at every step, one that acts at the start alone, and a fixed one."""

from dataclasses import replace

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.manifest import Interval
from surrogate_fmu.variables import Causality, Variability, Variable
from tests.toy import MANIFEST as THERMAL_MASS

_POWER, _AMBIENT, _START, *_RESULTS = THERMAL_MASS.variables
MANIFEST = THERMAL_MASS.replace(
    name="tuned_mass",
    variables=(
        _POWER,
        _AMBIENT,
        Variable("gain", Causality.PARAMETER, "1", "of the heater", 1.0, 0.0, 4.0, variability=Variability.TUNABLE),
        replace(_START, variability=Variability.TUNABLE),
        Variable("loss", Causality.PARAMETER, "W", "constant", 0.0, 0.0, 10.0),
        *_RESULTS,
    ),
    domain={**THERMAL_MASS.domain, "gain": Interval(0.5, 2.5), "loss": Interval(0.0, 5.0)},
)


class TunedMass(torch.nn.Module):
    """temperature' = (gain power - loss - flow) / C; x is (power, ambient, gain, start, loss)."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 5), z (batch, 3) -> y (batch, 2), h (batch, 2)."""
        flow = torch.exp(0.2 * z[:, 0:1]) * (x[:, 3:4] - x[:, 1:2])
        hidden = torch.cat([x[:, 3:4], flow], 1)
        return hidden, hidden

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 5), z (batch, 3), h (batch, 2) -> y (batch, 2), h (batch, 2)."""
        flow = torch.exp(0.2 * z[:, 0:1]) * (h[:, 0:1] - x[:, 1:2]) + 0.5 * z[:, 1:2]
        flow = 0.5 * flow + 0.5 * h[:, 1:2]
        temperature = h[:, 0:1] + 0.05 * (x[:, 2:3] * x[:, 0:1] - x[:, 4:5] - flow) + 0.01 * z[:, 2:3]
        y = torch.cat([temperature, flow], 1)
        return y, y


def make_tuned_bundle() -> Bundle:
    """That mass as a bundle."""
    return export_bundle(TunedMass(), MANIFEST)
