"""The bilinear game min over x, max over y of x y, played to where each method leads; and the pieces of the methods."""

import math

import pytest
import torch

from surrogate_fmu.training.config import Optimiser
from surrogate_fmu.training.optimisers import ExtraAdam, OptimisticAdam, make_optimiser, reverse_gradient, stands

RATE = 0.1


def play(kind: str, steps: int) -> list[float]:
    """Distances from the solution (0, 0), by plain steps of each method."""
    x, y = torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    distances = []
    last = (0.0, 0.0)
    for _ in range(steps):
        at = (x.item(), y.item())
        gradient = (at[1], -at[0])  # of both losses
        if kind == "simultaneous":
            step = gradient
        elif kind == "optimistic":
            step = tuple(2 * g - old for g, old in zip(gradient, last, strict=True))
            last = gradient
        else:
            step = (at[1] + RATE * at[0], -(at[0] - RATE * at[1]))
        with torch.no_grad():
            x -= RATE * step[0]
            y -= RATE * step[1]
        distances.append(math.hypot(x.item(), y.item()))
    return distances


def test_simultaneous_steps_spiral_out_by_the_known_factor():
    distances = play("simultaneous", 100)
    assert distances[-1] / distances[0] == pytest.approx((1 + RATE**2) ** (99 / 2), rel=1e-4)


@pytest.mark.parametrize("kind", ["optimistic", "extragradient"])
def test_looking_ahead_converges(kind: str):
    assert play(kind, 2000)[-1] < 1e-3


def play_adam(kind: Optimiser, steps: int = 6000) -> float:
    """The distance from the solution at the end, averaged over the last steps; both players step in turn."""
    x, y = (torch.nn.Parameter(torch.tensor(0.5)) for _ in range(2))
    players = [make_optimiser(kind, [p], 0.01, (0.0, 0.9)) for p in (x, y)]
    distances = []
    for _ in range(steps):
        gradients = (y.detach().clone(), -x.detach().clone())
        for player, parameter, gradient in zip(players, (x, y), gradients, strict=True):
            parameter.grad = gradient
            player.step()
        if all(stands(player) for player in players):
            distances.append(math.hypot(x.item(), y.item()))
    return sum(distances[-500:]) / 500


def test_adam_does_not_converge_and_extra_adam_comes_nearer():
    assert play_adam(Optimiser.EXTRAGRADIENT) < 0.5 * play_adam(Optimiser.ADAM)
    assert play_adam(Optimiser.OPTIMISTIC) < 0.5 * play_adam(Optimiser.ADAM)


def test_extra_adam_steps_from_where_it_stood():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimiser = ExtraAdam([parameter], lr=0.1, betas=(0.0, 0.0))
    parameter.grad = torch.tensor([1.0])
    optimiser.step()
    assert parameter.item() == pytest.approx(0.9) and not stands(optimiser)
    parameter.grad = torch.tensor([-1.0])
    optimiser.step()
    assert parameter.item() == pytest.approx(1.1) and stands(optimiser)


def test_optimistic_adam_takes_the_last_step_back():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimiser = OptimisticAdam([parameter], lr=0.1, betas=(0.0, 0.0))
    for gradient, expected in ((1.0, 0.9), (1.0, 0.8), (-1.0, 1.1)):
        parameter.grad = torch.tensor([gradient])
        optimiser.step()
        assert parameter.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [Optimiser.OPTIMISTIC, Optimiser.EXTRAGRADIENT])
def test_a_checkpoint_in_the_middle_of_a_pair(kind: Optimiser):
    def run(stop: int | None) -> float:
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.tensor([1.0]))
        optimiser = make_optimiser(kind, [parameter], 0.1, (0.5, 0.9))
        for step in range(9):
            if step == stop:
                state, value = optimiser.state_dict(), parameter.detach().clone()
                parameter = torch.nn.Parameter(value)
                optimiser = make_optimiser(kind, [parameter], 0.1, (0.5, 0.9))
                optimiser.load_state_dict(state)
            parameter.grad = parameter.detach() + 0.1 * step
            optimiser.step()
        return parameter.item()

    assert run(5) == run(4) == run(None)


def test_a_gradient_turned_round():
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    reversed_values = reverse_gradient(values, 3.0)
    assert torch.equal(reversed_values, values)
    (reversed_values * torch.tensor([1.0, 2.0])).sum().backward()
    assert values.grad.tolist() == [-3.0, -6.0]
