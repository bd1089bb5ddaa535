"""The R3GAN losses on critics whose scores and gradients are known."""

import math

import pytest
import torch
from torch import Tensor, nn

from surrogate_fmu.training.critics import make_critic
from surrogate_fmu.training.encoders.run import RunEncoder
from surrogate_fmu.training.objectives.games.relativistic import Relativistic


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


REAL, FAKE = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 2.0]])
WEIGHTS = torch.tensor([2.0, -1.0])


def linear(window: Tensor) -> Tensor:
    return window @ WEIGHTS


def test_losses_pair_real_and_fake_row_by_row():
    # Scores: real 0 and 6, fake -1 and 2.
    expected = (softplus(-1.0 - 0.0) + softplus(2.0 - 6.0)) / 2
    assert Relativistic(0.0).critic_loss(linear, REAL, FAKE).item() == pytest.approx(expected)
    expected = (softplus(0.0 + 1.0) + softplus(6.0 - 2.0)) / 2
    assert Relativistic().generator_loss(linear, REAL, FAKE).item() == pytest.approx(expected)


def test_penalties_of_a_linear_critic_are_its_weights():
    plain = Relativistic(0.0).critic_loss(linear, REAL, FAKE).item()
    # (2^2 + 1^2) / 2 scalars, once for real and once for fake windows, times gamma / 2.
    assert Relativistic(3.0).critic_loss(linear, REAL, FAKE).item() - plain == pytest.approx(0.5 * 3.0 * (2.5 + 2.5))


def test_penalties_are_taken_at_real_and_at_fake_windows():
    def squares(window: Tensor) -> Tensor:
        return window.square().sum(dim=1)

    plain = Relativistic(0.0).critic_loss(squares, REAL, FAKE).item()
    # The gradient of a square is twice the value; means over two rows of two scalars.
    real, fake = 4 * REAL.square().mean().item(), 4 * FAKE.square().mean().item()
    assert Relativistic(1.0).critic_loss(squares, REAL, FAKE).item() - plain == pytest.approx(0.5 * (real + fake))


def test_penalties_equal_automatic_differentiation_by_hand_and_train_the_critic():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    real = REAL.clone().requires_grad_()
    rows = [torch.autograd.grad(critic(real)[row], real)[0][row] for row in range(2)]
    fake = FAKE.clone().requires_grad_()
    rows += [torch.autograd.grad(critic(fake)[row], fake)[0][row] for row in range(2)]
    expected = 0.5 * sum(row.square().mean().item() / 2 for row in rows)
    penalised, plain = Relativistic(1.0).critic_loss(critic, REAL, FAKE), Relativistic(0.0).critic_loss(critic, REAL, FAKE)
    assert (penalised - plain).item() == pytest.approx(expected, rel=1e-4)
    with_penalty = torch.autograd.grad(penalised, critic[0].weight)[0]
    assert not torch.allclose(with_penalty, torch.autograd.grad(plain, critic[0].weight)[0], rtol=1e-3)


def test_a_critic_that_cannot_tell_them_apart_costs_log_two_and_pushes_nowhere():
    fake = REAL.clone().requires_grad_()
    loss = Relativistic().generator_loss(lambda window: window.sum(dim=1) * 0.0, REAL, fake)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2.0))
    assert fake.grad.abs().max().item() == 0.0


def test_the_generator_climbs_where_the_critic_sees_reality():
    fake = FAKE.clone().requires_grad_()
    Relativistic().generator_loss(linear, REAL, fake).backward()
    assert torch.all(torch.sign(-fake.grad) == torch.sign(WEIGHTS))


def test_the_critics_loss_trains_the_critic_and_not_the_generator():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 4), nn.SiLU(), nn.Linear(4, 1), nn.Flatten(0))
    fake = FAKE.clone().requires_grad_()
    Relativistic(1.0).critic_loss(critic, REAL, fake).backward()
    assert fake.grad is None
    assert all(parameter.grad is not None for parameter in critic[0].parameters())


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_critic_and_encoder_take_windows_of_any_length(steps: int):
    torch.manual_seed(0)
    windows = torch.randn(3, steps, 2), torch.randn(3, steps, 2), torch.randn(3, steps, 4)
    assert make_critic("window", 2, 4, 8)(*windows).shape == (3,)
    mean, log_variance = RunEncoder(2, 4, 5, 8)(*windows)
    assert mean.shape == log_variance.shape == (3, 5)


def test_the_critic_sees_how_much_of_a_window_is_off():
    torch.manual_seed(1)
    critic = make_critic("window", 1, 1, 8)
    level, condition = torch.zeros(1, 40, 1), torch.zeros(1, 40, 1)
    scores = []
    for share in (0, 10, 20, 30):
        deviation = torch.zeros(1, 40, 1)
        deviation[:, :share] = 3.0
        scores.append(critic(deviation, level, condition).item())
    assert len({round(score, 6) for score in scores}) == 4


def test_the_critic_weighs_the_condition():
    torch.manual_seed(2)
    critic = make_critic("window", 1, 1, 8)
    deviation, level = torch.ones(1, 16, 1), torch.zeros(1, 16, 1)
    assert critic(deviation, level, torch.zeros(1, 16, 1)) != critic(deviation, level, torch.ones(1, 16, 1))
