"""The networks that are timed, as bundles: random weights, latents drawn at every step, all variables checked against ranges."""

import torch
from torch import Tensor, nn

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

LATENTS = 4


def manifest(name: str, inputs: int, outputs: int, hidden: int) -> Manifest:
    """Inputs x1, x2, ... in -1 to 1, outputs y1, y2, ... and four step latents."""
    variables = [Variable(f"x{i + 1}", Causality.INPUT, start=0.0, min=-10.0, max=10.0) for i in range(inputs)]
    variables += [Variable(f"y{i + 1}", Causality.OUTPUT) for i in range(outputs)]
    domain = {v.name: Interval(-1.0, 1.0) if v.causality is Causality.INPUT else Interval(-100.0, 100.0) for v in variables}
    return Manifest(name, tuple(variables), 1.0, 0, LATENTS, hidden, domain)


class Mlp(nn.Module):
    """(x, z) -> tanh -> tanh -> y; without memory."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(inputs + LATENTS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
        )

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """As every step."""
        return self.network(torch.cat([x, z], 1)), x[:, :0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        return self.network(torch.cat([x, z], 1)), h


class Recurrent(nn.Module):
    """A GRU cell and a linear head."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(inputs + LATENTS, width), nn.Linear(width, outputs)
        self.width = width

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Starts from zero."""
        h = torch.zeros(x.shape[0], self.width)
        return self.head(h), h

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        h = self.cell(torch.cat([x, z], 1), h)
        return self.head(h), h


def bundles() -> dict[str, Bundle]:
    """By name."""
    torch.manual_seed(0)
    return {
        "MLP 12-64-64-4": export_bundle(Mlp(12, 64, 4), manifest("mlp_12_64", 12, 4, 0)),
        "MLP 32-256-256-16": export_bundle(Mlp(32, 256, 16), manifest("mlp_32_256", 32, 16, 0)),
        "GRU 16-64 and head": export_bundle(Recurrent(16, 64, 4), manifest("gru_16_64", 16, 4, 64)),
    }
