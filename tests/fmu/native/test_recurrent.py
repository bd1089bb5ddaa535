"""Generators with memory: cells and layers over many steps, scripted as a user writes them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.fmu.native.compare import assert_close
from tests.fmu.native.lowered import lower, make_bundle


class GruCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(7, 33)
        self.head = nn.Linear(33, 2)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.zeros(x.shape[0], 33)
        return self.head(h), h

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(torch.cat([x, z], dim=1), h)
        return self.head(h), h


class LstmCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(7, 9)
        self.head = nn.Linear(9, 2)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        h = x[:, :1].expand(-1, 18) * 0.1
        return self.head(h[:, :9]), h

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.cell(torch.cat([x, z], dim=1), (h[:, :9], h[:, 9:]))
        return self.head(a), torch.cat([a, b], dim=1)


class RnnCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.RNNCell(7, 5)
        self.second = nn.RNNCell(5, 6, nonlinearity="relu", bias=False)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2], torch.cat([torch.ones_like(x), torch.full((x.shape[0], 11 - x.shape[1]), 0.25)], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a, b = h.split([5, 6], dim=1)
        a = self.first(torch.cat([x, z], dim=1), a)
        b = self.second(a, b)
        return b[:, 1:3], torch.cat([a, b], dim=1)


class GruLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(7, 6, num_layers=2, batch_first=True)
        self.head = nn.Linear(6, 2)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2], torch.zeros(x.size(0), 12)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        state = h.view(-1, 2, 6).transpose(0, 1).contiguous()
        out, state = self.gru(torch.cat([x, z], dim=1).unsqueeze(1), state)
        return self.head(out[:, -1]), state.transpose(0, 1).reshape(-1, 12)


class LstmLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(7, 5, num_layers=3, dropout=0.2)
        self.head = nn.Linear(5, 2)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2], torch.zeros((x.shape[0], 30))

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        states = h.view(h.shape[0], 2, 3, 5).permute(1, 2, 0, 3)
        out, (a, b) = self.lstm(torch.cat([x, z], dim=1)[None], (states[0], states[1]))
        return self.head(out[0]), torch.stack([a, b]).permute(2, 0, 1, 3).flatten(1)


class Window(nn.Module):
    """A GRU in both directions over a sequence of four steps within one step of the generator, its state thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 3, bidirectional=True)
        self.table = nn.Embedding(5, 4)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2], z[:, :1]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        sequence = torch.cat([x, z, h], dim=1).view(-1, 4, 2).transpose(0, 1)
        out, last = self.gru(sequence)
        level = self.table((x[:, 0] * 2.0).clamp(0.0, 4.0).long())
        return out[2, :, :2] + level[:, 1:3], last[0, :, :1]


class Bare(nn.Module):
    """Without latents of a kind, with products of nothing, as a configuration with empty parts gives."""

    def __init__(self) -> None:
        super().__init__()
        self.individual = nn.Parameter(torch.zeros(0, 3))
        self.net = nn.Linear(5 + 3 + 4, 6)
        self.state = torch.nn.Parameter(torch.randn(4, 0))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(x.shape[0], 2), torch.zeros(1, 4).expand(x.shape[0], -1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        factors = torch.exp(z[:, :0] @ self.individual)
        nothing = h @ self.state
        out = torch.tanh(self.net(torch.cat([x, factors, h, nothing], dim=1)))
        return out[:, :2] + nothing.sum(1, keepdim=True), torch.cat([out[:, 2:], nothing], dim=1)


GENERATORS = [(GruCell(), 33), (LstmCell(), 18), (RnnCell(), 11), (GruLayers(), 12), (LstmLayers(), 30), (Window(), 1), (Bare(), 4)]


@pytest.mark.parametrize(("module", "hidden"), GENERATORS, ids=[type(module).__name__ for module, _ in GENERATORS])
def test_generators_with_memory_follow_torch(module: nn.Module, hidden: int) -> None:
    module = module.eval()
    native = lower(make_bundle(module, 5, 2, hidden, 2))
    rng = np.random.default_rng(2)
    for batch in (1, 8):
        x = rng.normal(size=(batch, 5)).astype(np.float32)
        z = rng.normal(size=(batch, 2)).astype(np.float32)
        with torch.no_grad():
            y, h = native.initial(x, z)
            expected_y, expected_h = module.initial(torch.from_numpy(x), torch.from_numpy(z))
            assert_close(h, expected_h.numpy(), 1e-6, "states at the start")
            for _ in range(20):
                x = rng.normal(size=(batch, 5)).astype(np.float32)
                y, h = native.step(x, z, h)
                expected_y, expected_h = module(torch.from_numpy(x), torch.from_numpy(z), expected_h)
            assert_close(y, expected_y.numpy(), 3e-6, "outputs")
            assert_close(h, expected_h.numpy(), 3e-6, "states")
    _check_derivatives(native, module, x, z, h)


def _check_derivatives(native, module: nn.Module, x: np.ndarray, z: np.ndarray, h: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    x, z, h = x[:1], z[:1], h[:1]

    def step(x: Tensor, h: Tensor) -> Tensor:
        return torch.cat(module(x[None], torch.from_numpy(z), h[None]), dim=1)[0]

    of_x, of_h = torch.autograd.functional.jacobian(step, (torch.from_numpy(x[0]), torch.from_numpy(h[0])))
    dx, dh = (rng.normal(size=(4, a.shape[1])).astype(np.float32) for a in (x, h))
    expected = dx @ of_x.numpy().T + dh @ of_h.numpy().T
    assert_close(np.concatenate(native.step_tangent(x, z, h, dx, dh), 1), expected, 1e-5, "tangents")
    assert_close(np.concatenate(native.step_tangent(x, z, h, dx, None), 1), dx @ of_x.numpy().T, 1e-5, "tangents without dh")
    dy = rng.normal(size=(4, 2)).astype(np.float32)
    cotangent = np.concatenate([dy, dh], 1)
    back_x, back_h = native.step_adjoint(x, z, h, dy, dh)
    assert_close(back_x, cotangent @ of_x.numpy(), 2e-5, "adjoints of x")
    assert_close(back_h, cotangent @ of_h.numpy(), 2e-5, "adjoints of h")
    without = native.step_adjoint(x, z, h, dy, None)[0]
    assert_close(without, dy @ of_x.numpy()[:2], 1e-5, "adjoints without dh")
