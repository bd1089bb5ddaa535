"""Samples per second of a training against plain PyTorch code of the same networks, batch and loss.

python benchmarks/training/throughput.py [--pairs 30]

The plain code is what one writes by hand: a loop over `generator(x, z, h)`, the loss, Adam, nothing else; no averaged weights, no
watch, no validation. Both take turns of a few updates each, and a ratio is of two turns that follow each other. CPU time.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable

import double_well
import numpy as np
import torch
from run import variants
from torch import Tensor

from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.critics import make_critic
from surrogate_fmu.training.loop import Trainer

TURN = 5  # updates
MEMBERS = 4


class Plain:
    """By hand: the generator of a trainer, its batch and window."""

    def __init__(self, trainer: Trainer, config: TrainingConfig, game: bool) -> None:
        self.generator, self.batch, self.steps = trainer.generator, config.batch_size, config.window_steps[0]
        self.latent_dim = config.generator.step_latent_dim
        runs = double_well.make_runs(3000, 1, 16, 1)
        self.x = torch.tensor(runs.conditions(), dtype=torch.float32)
        self.y = torch.tensor(runs.outputs, dtype=torch.float32)
        self.optimiser = torch.optim.Adam(self.generator.parameters(), 1e-4)
        self.game = game
        self.critic = make_critic("window", 1, 2, 64)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), 1e-4)

    def roll(self, x: Tensor) -> Tensor:
        """Members (member * batch, step, output)."""
        x = x.repeat(MEMBERS, 1, 1)
        z = torch.randn(len(x), self.steps, self.latent_dim)
        _, h = self.generator.initial(x[:, 0], z[:, 0])
        path = []
        for step in range(self.steps):
            y, h = self.generator(x[:, step], z[:, step], h)
            path.append(y)
        return torch.stack(path, dim=1)

    def update(self) -> None:
        """One."""
        rows = torch.randint(len(self.x), (self.batch,))
        x, observed = self.x[rows, : self.steps], self.y[rows, 1 : self.steps + 1]
        members = self.roll(x)
        loss = self.play(x, observed, members) if self.game else crps(members.reshape(MEMBERS, self.batch, self.steps, 1), observed)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        self.optimiser.step()

    def play(self, x: Tensor, observed: Tensor, members: Tensor) -> Tensor:
        """A step of the critic; the generator's loss. Half of the members are the centre, the others are the fakes."""
        members = members.reshape(MEMBERS, self.batch, self.steps, 1)
        centre = members[: MEMBERS // 2].detach().mean(dim=0)
        fake = (members[MEMBERS // 2 :] - centre).flatten(0, 1)
        real = (observed - centre).repeat(MEMBERS // 2, 1, 1)
        level, condition = centre.repeat(MEMBERS // 2, 1, 1), x.repeat(MEMBERS // 2, 1, 1)

        seen = [window.detach().requires_grad_() for window in (real, fake)]
        scores = [self.critic(window, level, condition) for window in seen]
        loss = torch.nn.functional.softplus(scores[1] - scores[0]).mean()
        for score, window in zip(scores, seen, strict=True):
            slope = torch.autograd.grad(score.sum(), window, create_graph=True)[0]
            loss = loss + 0.5 * slope.square().sum(dim=(1, 2)).mean()
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        return torch.nn.functional.softplus(self.critic(real, level, condition) - self.critic(fake, level, condition)).mean()


def crps(members: Tensor, observed: Tensor) -> Tensor:
    """Fair CRPS by its definition."""
    between = (members[:, None] - members[None]).abs().sum(dim=(0, 1)) / (2 * MEMBERS * (MEMBERS - 1))
    return ((members - observed).abs().mean(dim=0) - between).mean()


def seconds(update: Callable[[], object]) -> float:
    """CPU seconds of a turn."""
    start = time.process_time()
    for _ in range(TURN):
        update()
    return time.process_time() - start


def main() -> None:
    """Print a line for each recipe."""
    parser = argparse.ArgumentParser(description="Throughput of training against plain PyTorch.")
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training, validation = double_well.make_runs(3000, 1, 16, 1), double_well.make_runs(8, 8, 16, 2)
    for name in ("crps", "r3gan-alone"):
        config = dataclasses.replace(variants()[name], window_steps=(8, 8), validations=1, updates=10**6, budget_cpu_s=1e6)
        ratios = []
        trainer = Trainer(training, validation, config)
        plain = Plain(Trainer(training, validation, config), config, name != "crps")
        for update in (trainer.update, plain.update):
            seconds(update)
        for _ in range(arguments.pairs):
            ratios.append(seconds(plain.update) / seconds(trainer.update))
        low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
        print(f"{name}: {middle:.2f} x the samples per second of plain PyTorch (80 % of pairs {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
