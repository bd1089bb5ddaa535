"""Random networks from the list of operations, with odd shapes, against torch: values and derivatives."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.fmu.native.compare import check_function

ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.Tanh,
    nn.Sigmoid,
    nn.ReLU,
    nn.SiLU,
    nn.GELU,
    nn.ELU,
    nn.Softplus,
    nn.Hardtanh,
    lambda: nn.LeakyReLU(0.1),
    lambda: nn.GELU("tanh"),
]


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5 * self.inner(x)


class Gate(nn.Module):
    """Halves that gate each other, and what is left over."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        a, b, rest = x[:, :half], x[:, half : 2 * half], x[:, 2 * half :]
        return torch.cat([torch.where(a > b, a * torch.sigmoid(b), b), torch.lerp(a, b, 0.25), rest], dim=1)


class Curves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([torch.sin(x), torch.cos(0.5 * x), torch.exp(-x.abs())], dim=2).flatten(1)


class Attention(nn.Module):
    """Channels that attend to each other over the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        share = torch.softmax(flat @ flat.transpose(1, 2) / 30.0, dim=2)
        return (share @ flat).view(x.shape)


class Memory(nn.Module):
    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.cell, self.start = nn.GRUCell(size, hidden), nn.Linear(size, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x, self.start(x))


def after(layers: list[nn.Module], shape: tuple[int, ...]) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(nn.Sequential(*layers).eval()(torch.zeros(2, *shape)).shape[1:])


@st.composite
def flat_layer(draw: st.DrawFn, size: int) -> nn.Module:
    out = draw(st.integers(1, 70))
    choices: list[Callable[[], nn.Module]] = [
        lambda: nn.Linear(size, out, bias=draw(st.booleans())),
        lambda: draw(st.sampled_from(ACTIVATIONS))(),
        lambda: nn.BatchNorm1d(size),
        lambda: Gate(),
        lambda: Residual(nn.Linear(size, size)),
        lambda: Memory(size, out),
        lambda: nn.Softmax(dim=1),
    ]
    if size > 2:
        choices.append(lambda: nn.LayerNorm(size))
    if size < 40:
        choices.append(Curves)
    return draw(st.sampled_from(choices))()


@st.composite
def image_layer(draw: st.DrawFn, shape: tuple[int, int, int]) -> nn.Module:
    channels, rows, columns = shape
    out = draw(st.integers(1, 19))
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    kernel = (draw(st.integers(1, min(3, rows))), draw(st.integers(1, min(4, columns))))
    padding = draw(st.integers(0, 1))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    choices: list[Callable[[], nn.Module]] = [
        lambda: nn.Conv2d(channels, out * groups, kernel, stride, padding, groups=groups, bias=draw(st.booleans())),
        lambda: draw(st.sampled_from(ACTIVATIONS))(),
        lambda: nn.BatchNorm2d(channels),
        lambda: nn.MaxPool2d(kernel, stride, 0),
        lambda: nn.AvgPool2d(kernel, stride, 0, ceil_mode=True),
        lambda: nn.Softmax(dim=1),
        Attention,
    ]
    if channels // groups * rows * columns > 1:  # torch refuses to normalise one number
        choices.append(lambda: nn.GroupNorm(groups, channels))
    if rows * columns <= 80:
        extra = draw(st.integers(0, min(stride) - 1)) if min(stride) > 1 else 0
        choices += [
            lambda: nn.ConvTranspose2d(
                channels, out * groups, (3, 2), stride, 0, extra, groups=groups, dilation=draw(st.integers(1, 2))
            ),
            lambda: nn.Upsample(scale_factor=2),
            lambda: nn.Upsample(scale_factor=(1.5, 2.0), mode="bilinear"),
            lambda: nn.ZeroPad2d((1, 0, 2, 1)),
        ]
    return draw(st.sampled_from(choices))()


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, int]:
    torch.manual_seed(draw(st.integers(0, 1000)))
    size = draw(st.integers(1, 40))
    layers: list[nn.Module] = []
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 6)))
        layers += [nn.Linear(size, shape[0] * shape[1] * shape[2]), nn.Unflatten(1, shape)]
        for _ in range(draw(st.integers(1, 4))):
            layers.append(draw(image_layer(shape)))
            shape = after(layers[-1:], shape)
        layers.append(nn.Flatten())
        layers.append(nn.Linear(shape[0] * shape[1] * shape[2], draw(st.integers(1, 20))))
    else:
        width = size
        for _ in range(draw(st.integers(1, 6))):
            layers.append(draw(flat_layer(width)))
            (width,) = after(layers[-1:], (width,))
    for layer in nn.Sequential(*layers).modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return nn.Sequential(*layers).eval(), size


def check(network: tuple[nn.Module, int], scripted: bool) -> None:
    module, size = network
    note(str(module))
    # In double: networks may stretch differences as far as they like, and torch's order of sums is not ours.
    # Freezing folds batch norms into convolutions and linear layers before them, in the single precision of their weights.
    folded = any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in module.modules())
    check_function(
        module,
        size,
        scripted=scripted,
        float64=True,
        tolerance=1e-5 if folded else 1e-10,
        derivative_tolerance=1e-4 if folded else 1e-7,
    )


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": (Phase.explicit, Phase.generate)}


@seed(20)
@settings(max_examples=6, **COMMON)
@given(networks())
def test_some_networks_equal_torch(network: tuple[nn.Module, int]) -> None:
    check(network, scripted=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=80, **COMMON)
@given(networks(), st.booleans())
def test_many_networks_equal_torch(network: tuple[nn.Module, int], scripted: bool) -> None:
    check(network, scripted)
