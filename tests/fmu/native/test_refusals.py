"""What cannot be lowered is refused with the operation's name, its place, and the backend that can take it."""

import re

import pytest
import torch
from torch import Tensor, nn

from surrogate_fmu.errors import BuildError, LoweringError
from surrogate_fmu.fmu.native.generate import generate_sources
from tests.fmu.native.lowered import lower, make_bundle


class Refused(nn.Module):
    """Subclasses say what is wrong with them."""

    reason = ""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2], x[:, :0]


class UnknownOperation(Refused):
    reason = "not among the operations"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cumsum(x, dim=1)[:, :2], h


class ReducesTheBatch(Refused):
    reason = "works along the batch"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2] - x[:, :2].mean(dim=0), h


class ReducesAll(Refused):
    reason = "reduces over all axes"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2] + x.sum(), h


class MergesTheBatch(Refused):
    reason = "merges the batch"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x.reshape(-1).view(-1, 4)[:, :2], h


class DependsOnValues(Refused):
    reason = "works along the batch"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        if bool(x[0, 0] > 0):
            x = -x
        return x[:, :2], h


class DrawsRandomNumbers(Refused):
    reason = "draws random numbers"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2] + torch.randn(1, 2) * 0.0, h


class NormalisesOverTheBatch(Refused):
    reason = "normalises over the batch"

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2, track_running_stats=False)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2] + self.norm(x.view(-1, 2, 2))[:, :, 0], h


class WritesInPlace(Refused):
    reason = "not among the operations"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y = x.clone()
        y[:, 0] = 0.0
        return y[:, :2], h


class ReadsWhatWasChanged(Refused):
    reason = "changed in place through another name"

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y = x * 1.5
        part = y[:, :2]
        part += 1.0
        return y[:, 1:3], h


CASES = [
    ReadsWhatWasChanged,
    UnknownOperation,
    ReducesTheBatch,
    ReducesAll,
    MergesTheBatch,
    DependsOnValues,
    DrawsRandomNumbers,
    NormalisesOverTheBatch,
    WritesInPlace,
]


@pytest.mark.parametrize("module", CASES)
def test_refusals_name_operation_place_and_way_out(module: type[Refused]) -> None:
    bundle = make_bundle(module().eval(), 4, 0, 0, 2)
    with pytest.raises(LoweringError) as caught:
        generate_sources(bundle)
    message = str(caught.value)
    assert module.reason in message
    assert "--backend python" in message
    assert re.search(r'at (tests/fmu/native/test_refusals|torch/nn/\w+(/\w+)?)\.py, line \d+ of its TorchScript, ".+"', message)
    assert "aten::" in message or "prim::" in message
    assert isinstance(caught.value, BuildError)


def test_refusals_name_the_layer_that_is_refused() -> None:
    class Layers(Refused):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Bilinear(4, 4, 2)])

        def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            x = self.blocks[0](x)
            return self.blocks[1](x, x), h

    with pytest.raises(LoweringError, match=r"aten::bilinear at .* with self\.blocks\.1\.weight"):
        generate_sources(make_bundle(Layers().eval(), 4, 0, 0, 2))


def test_changes_in_place_that_nothing_else_sees_are_taken() -> None:
    class InPlace(Refused):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 2))

        def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            parts = (x * 2.0).chunk(2, dim=1)
            first = parts[0].tanh_().add_(parts[1].mul_(0.5))
            return self.net(torch.cat([first, parts[1]], dim=1)), h

    module = InPlace().eval()
    x = torch.linspace(-2.0, 2.0, 12).view(3, 4)
    y, _ = lower(make_bundle(module, 4, 0, 0, 2)).step(x.numpy(), x[:, :0].numpy(), x[:, :0].numpy())
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(y), module(x, x[:, :0], x[:, :0])[0], rtol=1e-6, atol=1e-6)


def test_modules_in_training_mode_never_reach_the_lowering() -> None:
    class Dropped(Refused):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return self.drop(x)[:, :2], h

    model = generate_sources(make_bundle(Dropped().train(), 4, 0, 0, 2))
    assert model.dependencies == [{0}, {1}]
