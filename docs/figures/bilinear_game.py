"""The figure of docs/games.md, made by python docs/figures/bilinear_game.py."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from surrogate_fmu.training.config import Optimiser
from surrogate_fmu.training.optimisers import make_optimiser, stands

RATE, STEPS = 0.1, 400


def play(method: str) -> np.ndarray:
    """The path of (x, y) on min over x, max over y of x y, (step + 1, 2)."""
    x, y = 1.0, 0.0
    path, last = [(x, y)], (0.0, 0.0)
    for _ in range(STEPS):
        gradient = (y, -x)
        if method == "simultaneous":
            x, y = x - RATE * y, y + RATE * x
        elif method == "alternating":
            x -= RATE * y
            y += RATE * x
        elif method == "optimistic":
            x, y = (w - RATE * (2 * g - old) for w, g, old in zip((x, y), gradient, last, strict=True))
            last = gradient
        elif method == "extragradient":
            ahead = (x - RATE * y, y + RATE * x)
            x, y = x - RATE * ahead[1], y + RATE * ahead[0]
        path.append((x, y))
    return np.array(path)


def play_adam(kind: Optimiser) -> np.ndarray:
    """The same by the optimisers of the package."""
    x, y = (torch.nn.Parameter(torch.tensor(value)) for value in (1.0, 0.0))
    players = [make_optimiser(kind, [p], 0.02, (0.0, 0.9)) for p in (x, y)]
    path = [(1.0, 0.0)]
    for _ in range(4 * STEPS):
        x.grad, y.grad = y.detach().clone(), -x.detach().clone()
        for player in players:
            player.step()
        if all(stands(player) for player in players):
            path.append((x.item(), y.item()))
    return np.array(path)


def main() -> None:
    """Draw."""
    plain = {name: play(name) for name in ("simultaneous", "alternating", "optimistic", "extragradient")}
    adam = {kind.value: play_adam(kind) for kind in Optimiser}
    figure, (paths, distances, adaptive) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for name, path in plain.items():
        paths.plot(*path[:160].T, "--" if name == "extragradient" else "-", lw=1.2, label=name)
        distances.semilogy(np.hypot(*path.T), "--" if name == "extragradient" else "-", label=name)
    paths.plot(0, 0, "k+", ms=10)
    paths.set(title="x and y over 160 steps", xlabel="x", ylabel="y", aspect="equal", xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
    distances.set(title="distance from the solution", xlabel="step", ylim=(1e-2, 12))
    for name, path in adam.items():
        adaptive.semilogy(np.hypot(*path.T), lw=0.9, label=name)
    adaptive.set(title="the same with Adam inside", xlabel="step", ylim=(1e-3, 3))
    for axes in (distances, adaptive):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(Path(__file__).parents[1] / "images" / "bilinear_game.png", dpi=90)


if __name__ == "__main__":
    main()
