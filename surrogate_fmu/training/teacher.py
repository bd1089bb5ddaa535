"""How a ring generator starts: along recorded runs, where every step's past is known, so that nothing chaotic is in the way."""

import math
import time

import torch
from torch import Tensor

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.generators.ring import RingGenerator
from surrogate_fmu.training.objectives.energy import fair_crps, fair_energy_score

_ROUNDS = 4  # corrections of the transport; each removes all but a few percent of what is left
_POINTS = 10_000  # steps of the data that the transport is fitted to
_RUNS = 64  # per update of the closure
_STEPS = 24  # of each of these runs
_MEMBERS = 4
_LEARNING_RATE = 1e-2
_RISE = 0.1  # of the updates, over which the learning rate rises


def fit_transport(generator: RingGenerator, runs: Trajectories) -> None:
    """Set the transport to what recorded steps follow best in the mean of squares, and the closure's scale to what is left."""
    with torch.no_grad():
        kind = torch.float64
        double = generator.to(kind)
        outputs = (torch.tensor(runs.outputs, dtype=kind) - double.output_mean) / double.output_std
        stride = max(1, outputs[:, 1:, 0].numel() // _POINTS)
        before, after = (part.flatten(0, 1)[::stride] for part in (outputs[:, :-1], outputs[:, 1:]))
        scaled = double.scaled(torch.tensor(runs.conditions(), dtype=kind).flatten(0, 1)[::stride])
        known = torch.cat([scaled, torch.ones(len(scaled), 1, dtype=kind)], dim=1)
        upper = torch.triu_indices(double.seen_dim, double.seen_dim)

        def features(y: Tensor) -> Tensor:
            seen = double.around(y)
            products = seen[..., upper[0]] * seen[..., upper[1]]
            return torch.cat([products, seen, double.everywhere(known)], dim=2).flatten(0, 1)

        at_start = features(before)
        for _ in range(_ROUNDS):
            ahead = double.transported(before, scaled)
            middle = 0.5 * (at_start + features(ahead))
            # An input that never changes leaves the matrix singular.
            change = torch.linalg.pinv(middle.t() @ middle, hermitian=True) @ (middle.t() @ (after - ahead).flatten())
            quadratic, linear, drive, level = change.split([upper.shape[1], double.seen_dim, double.driven, 1])
            double.quadratic[upper[0], upper[1]] += quadratic
            double.linear.add_(linear)
            double.drive.weight.add_(drive)
            double.drive.bias.add_(level)
        ahead = double.transported(before, scaled)
        double.closure_scale.fill_(float((after - ahead).std()))
        double.moved_scale.fill_(float((ahead - before).std()))
        double.to(torch.float32)


def teach(
    generator: RingGenerator, runs: Trajectories, updates: int, random: torch.Generator, budget_cpu_s: float = math.inf
) -> None:
    """Train memory and closure on the law of one step, given what a recorded run showed until then.

    The score is the fair energy score of the ring and the fair CRPS of its places, half each, in units of the closure's scale.

    Args:
        generator: after `fit_transport`; the transport is left as it is.
        runs: to learn from, of which the first steps of random ones are taken.
        updates: how many.
        random: of runs and latents.
        budget_cpu_s: ends it early but complete [s].
    """
    parts = (generator.start, generator.trunk, generator.head_state, generator.head_latent, generator.head_inner, generator.head)
    trained = [parameter for part in parts for parameter in part.parameters()] + [generator.rate_logit]
    optimiser = torch.optim.Adam(trained, _LEARNING_RATE, (0.9, 0.99))
    start, update, share = time.process_time(), 0, 0.0 if updates else 1.0
    steps = min(_STEPS, runs.step_count)
    outputs = torch.tensor(runs.outputs[:, : steps + 1], dtype=torch.float32)
    outputs = (outputs - generator.output_mean) / generator.output_std
    with torch.no_grad():
        scaled = generator.scaled(torch.tensor(runs.conditions()[:, :steps], dtype=torch.float32))
        ahead = generator.transported(outputs[:, :-1].flatten(0, 1), scaled.flatten(0, 1)).reshape_as(outputs[:, 1:])
        closures = (outputs[:, 1:] - ahead) / generator.closure_scale
        last = torch.cat([torch.zeros_like(closures[:, :1]), closures[:, :-1]], dim=1)
        parts_of_state = (part.flatten(0, 1) for part in (outputs[:, :-1], ahead, last, scaled))
        states = generator.state(*parts_of_state).reshape(len(outputs), steps, generator.places, -1)
    while share < 1.0:
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * one_cycle(share)
        chosen = torch.randint(len(outputs), (_RUNS,), generator=random)
        rate, seen = torch.sigmoid(generator.rate_logit), states[chosen]
        memory, memories = generator.first_memory(outputs[chosen, 0], scaled[chosen, 0]), []
        for state in seen.unbind(1):
            memory = generator.remember(state, memory, rate)
            memories.append(memory)
        known = torch.cat([seen, torch.stack(memories, dim=1)], dim=3)
        latents = torch.randn(_MEMBERS, *known.shape[:3], generator.latent_share, generator=random)
        members, observed = generator.draw_closure(known, latents), closures[chosen]
        whole = fair_energy_score(members.flatten(1, 2), observed.flatten(0, 1)).mean() / generator.places**0.5
        loss = 0.5 * (whole + fair_crps(members, observed).mean())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        update += 1
        share = max(update / updates, (time.process_time() - start) / budget_cpu_s)


def one_cycle(share: float) -> float:
    """The learning rate over its highest: up in the first tenth, then down to nothing."""
    if share < _RISE:
        return 0.04 + 0.96 * share / _RISE
    return 0.5 + 0.5 * math.cos(math.pi * (share - _RISE) / (1.0 - _RISE))
