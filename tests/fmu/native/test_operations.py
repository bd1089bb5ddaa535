"""Every operation of the list, against torch: values, tangents, adjoints, in float32 and float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.fmu.native.compare import check_function

INDEX = torch.tensor([3, 1, 1, 7])


def constants(x: Tensor) -> Tensor:
    return torch.linspace(-1.0, 1.75, 12).to(x.dtype)


def image(x: Tensor) -> Tensor:
    """(batch, 24) as (batch, 2, 3, 4)"""
    return x.view(-1, 2, 3, 4)


def joined(x: Tensor, *parts: Tensor) -> Tensor:
    return torch.cat([part.reshape(x.shape[0], -1) for part in parts], dim=1)


FAMILIES = {
    "arithmetic": lambda x: joined(
        x,
        x[:, :12] + x[:, 12:],
        x[:, :12] - x[:, 12:],
        x[:, :12] * constants(x),
        x[:, :12] / (2.0 + x[:, 12:] ** 2),
        2.0 / (3.0 + x.abs()),
        1.5 - x,
        x.neg(),
        x.abs(),
        torch.add(x[:, :12], constants(x), alpha=0.5),
        torch.sub(x[:, :12], x[:, 12:], alpha=2.0),
        (2.0 + x**2).reciprocal(),
        (1.0 + x * x).rsqrt(),
        torch.lerp(x[:, :12], x[:, 12:], constants(x)),
        torch.lerp(x[:, :12], x[:, 12:], 0.3),
        torch.addcmul(x[:, :12], x[:, 12:], constants(x), value=0.7),
        torch.addcdiv(x[:, :12], x[:, 12:], 3.0 + constants(x), value=0.7),
    ),
    "transcendental": lambda x: joined(
        x,
        torch.exp(-x.abs()),
        torch.log(0.5 + x.abs()),
        torch.sqrt(0.25 + x.abs()),
        torch.sin(x),
        torch.cos(x),
        torch.tanh(x),
        torch.sigmoid(x),
        torch.erf(x),
        torch.expm1(-x.abs()),
        torch.log1p(x.abs()),
        (0.5 + x.abs()) ** 1.7,
        (1.0 + x * x) ** -2,
        x**3,
        torch.pow(2.0, x.clamp(-3.0, 3.0)),
        torch.pow(1.1 + torch.sigmoid(x[:, :12]), torch.tanh(x[:, 12:])),
        (0.5 + x.abs()) ** 0.5,
    ),
    "activation": lambda x: joined(
        x,
        functional.relu(x),
        functional.leaky_relu(x, 0.2),
        functional.elu(x, 0.8),
        functional.selu(x),
        functional.celu(x, 1.3),
        functional.gelu(x),
        functional.gelu(x, approximate="tanh"),
        functional.silu(x),
        functional.softplus(x, 1.5, 15.0),
        functional.logsigmoid(x),
        functional.mish(x),
        functional.hardtanh(x, -0.7, 0.9),
        functional.relu6(x),
        functional.hardsigmoid(x),
        functional.hardswish(x),
        functional.dropout(x, 0.5, training=False),
        x.clamp(-0.5, 0.5),
        x.clamp(min=-0.25),
        x.clamp_max(0.75),
        functional.softmax(x, dim=1),
        functional.log_softmax(x.view(-1, 4, 6), dim=1),
        functional.softmax(x.view(-1, 4, 6), dim=2),
    ),
    "selection": lambda x: joined(
        x,
        torch.sign(x),
        torch.where(x > 0.3, x * x, -x),
        torch.where((x <= 0.0) & (x > -1.0), 1.0, x),
        torch.where((x == 0.0) | (x >= 2.0), x, torch.tensor(0.5)),
        torch.where(~(x != 0.0), x + 1.0, x * 2.0),
        (x[:, :12] < x[:, 12:]).to(x.dtype) * x[:, :12],
        x.masked_fill(x < 0, 0.25),
        torch.maximum(x[:, :12], x[:, 12:]),
        torch.minimum(x[:, :12], constants(x)),
        torch.floor(x / 7),
        torch.ceil(x / 7),
        torch.round(x),
        torch.trunc(x),
    ),
    "movement": lambda x: joined(
        x,
        x.view(-1, 4, 6).transpose(1, 2),
        image(x).permute(0, 3, 1, 2),
        image(x)[:, 1, ::2, 1:],
        image(x).select(2, 1),
        x[:, -3:],
        x.index_select(1, INDEX),
        x[:, INDEX],
        x.unsqueeze(1).expand(-1, 3, -1),
        x[:, :5].repeat(1, 2),
        torch.stack([x[:, :12], x[:, 12:]], dim=2),
        torch.cat([x[:, :3], x[:, 5:6], x[:, :3]], dim=1),
        torch.cat(x.chunk(5, dim=1)[::-1], dim=1),
        torch.cat(x.split([4, 13, 7], dim=1)[1:], dim=1),
        x.view(-1, 4, 6).flip(1),
        x.view(-1, 4, 6).flip(1).index_select(2, torch.tensor([5, 0])),
        torch.zeros_like(x).index_add(1, INDEX, x[:, : len(INDEX)] ** 2),
        x.view(-1, 4, 6).index_add(1, torch.tensor([2, 0, 2, 3, 2]), x[:, :15].view(-1, 5, 3).repeat(1, 1, 2), alpha=0.5),
        image(x).roll([1, -1], [2, 3]),
        functional.pad(image(x), (1, 2, 0, 1), value=0.5),
        functional.pad(image(x), (1, 2, 1, 0), mode="reflect"),
        functional.pad(image(x), (1, 2, 1, 0), mode="replicate"),
        functional.pad(image(x), (1, 2, 1, 0), mode="circular"),
        functional.pad(image(x), (-1, 0, 0, -1)),
        x.unflatten(1, (2, -1)).squeeze(2).flatten(1),
        x.t().t(),
        torch.cat([u * (i + 1) for i, u in enumerate(x.view(-1, 4, 6).unbind(1))], dim=1),
        torch.zeros_like(x) + x.new_ones(x.shape[0], 24),
        constants(x).expand(x.shape[0], 12) * x[:, :12],
    ),
    "reduction": lambda x: joined(
        x,
        x.view(-1, 4, 6).sum(1),
        x.view(-1, 4, 6).sum(2, keepdim=True),
        image(x).mean((1, 3)),
        image(x).mean([2, 3], keepdim=True),
        x.mean(1, keepdim=True),
        x.view(-1, 4, 6).amax(2),
        x.view(-1, 4, 6).amin((1, 2), keepdim=True),
        image(x).max(dim=2)[0],
        image(x).min(dim=1, keepdim=True).values,
        x.view(-1, 4, 6).var(2),
        (1.0 + x.view(-1, 4, 6).std(1, correction=0)),
        (x + 0.01).view(-1, 4, 6).norm(dim=2),
        torch.logsumexp(x.view(-1, 4, 6), 1),
        (x > 0).view(-1, 4, 6).sum(2) * x[:, :4],
    ),
    "products": lambda x: joined(
        x,
        x @ constants(x).view(-1, 1).expand(12, 24).t() * 0.1,
        torch.addmm(constants(x)[:5], x[:, :2], constants(x)[:10].view(2, 5)),
        torch.addmm(x[:, :5], x[:, :2], constants(x)[:10].view(2, 5), beta=0.5, alpha=2.0),
        torch.mm(x[:, :4], constants(x).view(4, 3)),
        x.view(-1, 6, 4) @ constants(x).view(4, 3),
        constants(x).view(2, 6) @ x.view(-1, 6, 4),
        torch.bmm(constants(x).view(1, 3, 4).expand(x.shape[0], 3, 4), x.view(-1, 4, 6)),
        x[:, :12].unsqueeze(1).matmul(constants(x)),
        x.view(-1, 2, 3, 4) @ constants(x).view(1, 4, 3),
        x.view(-1, 3, 2, 4) @ constants(x).view(3, 4, 1),
        (x / 30).view(-1, 4, 6) @ (x / 30).view(-1, 6, 4),
        functional.linear(x[:, :3], constants(x).view(4, 3), constants(x)[:4]),
        functional.linear(x.view(-1, 8, 3), constants(x).view(4, 3)),
    ),
}


@pytest.mark.parametrize("float64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("family", FAMILIES)
def test_operations_equal_torch(family: str, float64: bool) -> None:
    # Large inputs make differences of large numbers: a row's largest number sets the scale.
    # torch's own derivatives of celu and hardsigmoid have constants of single precision, also in double.
    derivative_tolerance = 1e-8 if float64 and family == "activation" else None
    check_function(
        FAMILIES[family], 24, float64=float64, tolerance=1e-11 if float64 else 3e-6, derivative_tolerance=derivative_tolerance
    )


MODULES = {
    "conv2d": nn.Sequential(
        nn.Unflatten(1, (2, 3, 4)), nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 3, (2, 1), stride=(1, 2)), nn.Flatten()
    ),
    "conv2d_dilated": nn.Sequential(
        nn.Unflatten(1, (1, 4, 6)), nn.Conv2d(1, 4, 2, dilation=(2, 3), padding=(0, 2), bias=False), nn.Flatten()
    ),
    "conv2d_grouped": nn.Sequential(nn.Unflatten(1, (4, 2, 3)), nn.Conv2d(4, 6, 2, padding=1, groups=2), nn.Flatten()),
    "conv2d_depthwise": nn.Sequential(
        nn.Unflatten(1, (12, 1, 2)), nn.Conv2d(12, 24, (1, 3), padding="same", groups=12), nn.Flatten()
    ),
    "conv2d_circular": nn.Sequential(
        nn.Unflatten(1, (2, 3, 4)),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        nn.SiLU(),
        nn.Conv2d(3, 1, 1),
        nn.Flatten(),
    ),
    "conv1d": nn.Sequential(nn.Unflatten(1, (3, 8)), nn.Conv1d(3, 17, 3, stride=2, padding=2, dilation=2), nn.Tanh(), nn.Flatten()),
    "conv_transpose2d": nn.Sequential(
        nn.Unflatten(1, (2, 3, 4)),
        nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(3, 1, 3, 1, 1),
        nn.Flatten(),
    ),
    "conv_transpose2d_odd": nn.Sequential(
        nn.Unflatten(1, (4, 2, 3)),
        nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(2, 1), groups=2),
        nn.Flatten(),
    ),
    "conv_transpose2d_gaps": nn.Sequential(
        nn.Unflatten(1, (2, 3, 4)), nn.ConvTranspose2d(2, 2, 1, stride=3, padding=1), nn.Flatten()
    ),
    "conv_transpose1d": nn.Sequential(
        nn.Unflatten(1, (3, 8)), nn.ConvTranspose1d(3, 2, 5, stride=3, dilation=2, output_padding=2), nn.Flatten()
    ),
    "dcgan": nn.Sequential(
        nn.Unflatten(1, (24, 1, 1)),
        nn.ConvTranspose2d(24, 8, 4),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 1, 4, 2, 1),
        nn.Tanh(),
        nn.Flatten(),
    ),
    "batch_norm": nn.Sequential(
        nn.Linear(24, 10), nn.BatchNorm1d(10), nn.Unflatten(1, (5, 2)), nn.BatchNorm1d(5, affine=False), nn.Flatten()
    ),
    "layer_norm": nn.Sequential(nn.LayerNorm(24), nn.Unflatten(1, (4, 6)), nn.LayerNorm((4, 6)), nn.Flatten()),
    "group_norm": nn.Sequential(nn.Unflatten(1, (4, 2, 3)), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.Flatten()),
    "pooling": nn.Sequential(
        nn.Unflatten(1, (1, 4, 6)), nn.Upsample(scale_factor=2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 1, 1), nn.Flatten()
    ),
    "pooling_ceil": nn.Sequential(
        nn.Unflatten(1, (1, 4, 6)),
        nn.AvgPool2d((3, 2), (2, 3), (1, 1), ceil_mode=True, count_include_pad=False),
        nn.MaxPool2d(2, 1, ceil_mode=True),
        nn.Flatten(),
    ),
    "pooling1d": nn.Sequential(
        nn.Unflatten(1, (2, 12)), nn.MaxPool1d(3, 2), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    ),
    "adaptive": nn.Sequential(nn.Unflatten(1, (1, 4, 6)), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten()),
    "upsample_bilinear": nn.Sequential(
        nn.Unflatten(1, (1, 4, 6)),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample(size=(5, 7), mode="bilinear", align_corners=True),
        nn.Flatten(),
    ),
    "upsample1d": nn.Sequential(
        nn.Unflatten(1, (2, 12)), nn.Upsample(size=19), nn.Upsample(scale_factor=1.5, mode="linear"), nn.Flatten()
    ),
    "wide": nn.Sequential(
        nn.Linear(24, 150), nn.Tanh(), nn.Linear(150, 70), nn.PReLU(70), nn.Linear(70, 33), nn.ELU(), nn.Linear(33, 1)
    ),
}


@pytest.mark.parametrize("scripted", [False, True], ids=["traced", "scripted"])
@pytest.mark.parametrize("name", MODULES)
def test_layers_equal_torch(name: str, scripted: bool) -> None:
    torch.manual_seed(3)
    module = MODULES[name]
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
    check_function(module, 24, scripted=scripted, tolerance=3e-6)
