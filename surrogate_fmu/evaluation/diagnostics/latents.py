"""What the latents do: singular values of the derivative of outputs by latents, against the plant's conditional spread.

For a generator y = G(z) with standard normal z, Var y <= E |dG/dz|^2 (the Gaussian Poincare inequality; Chernoff, Ann. Probab. 9,
1981), with equality where G is linear. So a generator whose gain is below the plant's spread cannot scatter as the plant does; one
whose gain is far above it is steep somewhere, as it must be between two modes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import load_differentiable, unspecialised
from surrogate_fmu.evaluation import metrics
from surrogate_fmu.evaluation.diagnostics.case import Case
from surrogate_fmu.evaluation.diagnostics.finding import Finding, Level
from surrogate_fmu.evaluation.ensembles import PlantEnsemble

Array = NDArray[np.float64]
_BASES = 64  # draws of z at which the generator is differentiated
_POINTS = 6  # of a run whose outputs are differentiated
_UNUSED = 0.01  # of the plant's spread; a latent that moves every output by less does nothing


@dataclass(frozen=True)
class LatentGain:
    """Derivatives of a run's outputs by the latents, in the plant's conditional standard deviations, root mean square over the run.

    Attributes:
        outputs: names.
        latents: names, run latents first.
        total: (output,), by all latents together; at least 1 for a generator that scatters as the plant does.
        by_latent: (output, latent), by one latent, a step latent over all steps.
        singular_values: (output, value), descending, means over draws: how the total is shared by directions of z.
    """

    outputs: tuple[str, ...]
    latents: tuple[str, ...]
    total: Array
    by_latent: Array
    singular_values: Array

    @property
    def unused(self) -> tuple[str, ...]:
        """Latents that move no output by a hundredth of its spread."""
        return tuple(name for name, column in zip(self.latents, self.by_latent.T, strict=True) if column.max() < _UNUSED)


def measure_gain(bundle: Bundle, ensemble: PlantEnsemble, resolution: Array, seed: int = 0) -> LatentGain:
    """Differentiate a bundle's generator along the schedules of an ensemble.

    Args:
        bundle: of the surrogate.
        ensemble: the plant's runs.
        resolution: (output,), spreads below it count as nothing.
        seed: of the draws.
    """
    manifest, steps = bundle.manifest, ensemble.conditions.shape[1]
    points = np.unique(np.linspace(1, steps, min(_POINTS, steps)).round().astype(int))
    copies = -(-_BASES // len(ensemble.conditions))
    jacobian = differentiate(bundle, ensemble.conditions.repeat(copies, axis=0), points, seed)
    variance = ensemble.outputs[:, :, points].var(axis=1, ddof=1).mean(axis=(0, 1)) + resolution**2  # (output,)
    scaled = jacobian / np.sqrt(len(points) * variance)[:, None, None]  # (base, output, point, direction)
    run, step = manifest.run_latent_dim, manifest.step_latent_dim
    squares = (scaled**2).mean(axis=0).sum(axis=1)  # (output, direction)
    by_latent = np.concatenate([squares[:, :run], squares[:, run:].reshape(len(squares), steps, step).sum(axis=1)], axis=1)
    names = (*(f"run {i + 1}" for i in range(run)), *(f"step {i + 1}" for i in range(step)))
    return LatentGain(
        ensemble.output_names,
        names,
        np.sqrt(squares.sum(axis=1)),
        np.sqrt(by_latent),
        np.linalg.svd(scaled, compute_uv=False).mean(axis=0),
    )


def differentiate(bundle: Bundle, conditions: Array, points: NDArray[np.int64], seed: int) -> Array:
    """d y / d z at one draw of z for each run.

    Args:
        bundle: of the surrogate.
        conditions: (base, step, condition), physical units.
        points: steps whose outputs are differentiated, from 1.
        seed: of the draws.

    Returns:
        (base, output, point, direction): directions are the run latents, then the step latents step by step. Physical units.
    """
    manifest = bundle.manifest
    generator, random = load_differentiable(bundle), torch.Generator().manual_seed(seed)
    x = torch.tensor(conditions, dtype=torch.float32).transpose(0, 1).contiguous()
    steps, bases = x.shape[:2]
    run = torch.randn(bases, manifest.run_latent_dim, generator=random).requires_grad_()
    step = torch.randn(steps, bases, manifest.step_latent_dim, generator=random).requires_grad_()
    rows = []
    with unspecialised():
        _, h = generator.initial(x[0], torch.cat([run, torch.zeros_like(step[0])], dim=1))
        y, _ = generator.rollout(x, torch.cat([run.expand(steps, -1, -1), step], dim=2), h)
        for output in range(manifest.output_dim):
            for point in points:
                by_run, by_step = _gradients(y[int(point) - 1, :, output], (run, step))
                rows.append(torch.cat([by_run, by_step.transpose(0, 1).flatten(1)], dim=1))
    stacked = torch.stack(rows, dim=1).reshape(bases, manifest.output_dim, len(points), -1)
    return stacked.double().numpy()


def _gradients(values: torch.Tensor, by: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    """Of independent rows, so that the derivative of their sum has that of each; 0 where there is no dependence."""
    if not values.requires_grad:
        return [torch.zeros_like(some) for some in by]
    found = torch.autograd.grad(values.sum(), by, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(some) if gradient is None else gradient for some, gradient in zip(by, found, strict=True)]


def find_weak_latents(case: Case, gain: LatentGain) -> Finding:
    """Whether the latents act enough for the spread that the plant has."""
    chance = case.chance(lambda a, b: float(np.abs(np.log(metrics.spread_ratio(a, b, case.resolution))).max()))
    floor = float(np.exp(-chance))
    spread = case.plant[:, :, 1:].var(axis=1, ddof=1).mean(axis=(0, 1))
    asked = np.where(spread > 4.0 * case.resolution**2, gain.total, np.inf)  # an output that does not scatter asks for no gain
    worst = int(asked.argmin())
    figure = float(asked[worst]) if np.isfinite(asked[worst]) else 1.0
    level = Level.OK if figure >= min(0.85, floor) else Level.WARN if figure >= min(0.5, floor) else Level.FAIL
    unused = f"; of {len(gain.latents)} latents {len(gain.unused)} do nothing" if gain.unused else ""
    output, top = gain.outputs[worst], float(gain.singular_values[worst, 0])
    sentence = (
        f"latents move {output}, the least moved output, by {figure:.2f} of its spread, one direction by {top:.2f}" + unused
        if level is Level.OK
        else f"latents move {output} by {figure:.2f} of the plant's spread, the strongest direction by {top:.2f}: it cannot "
        f"scatter as the plant does{unused}; add a term that rewards spread (energy, crps, repulsion)"
    )
    return Finding("latent gain", level, figure, floor, sentence)
