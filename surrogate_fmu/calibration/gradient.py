"""The most probable unknowns by gradients, and Laplace's approximation around them.

    J(u) = |r(u)|^2 / 2 + |u|^2 / 2,   precision = (dr/du)' (dr/du) + 1   (Gauss-Newton)

J is minimised by L-BFGS through the TorchScript step, from the most probable of members drawn blindly.
"""

import torch
from torch import Tensor

from surrogate_fmu.calibration.problem import Problem

_ITERATIONS = 100
_POLISHING = 5  # Gauss-Newton steps at the end, where they lead down


def infer_by_gradient(problem: Problem, prior: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws of the Gaussian posterior.

    Args:
        problem: with its noise set.
        prior: members drawn before anything is measured (member, dim).
        random: of the draws.

    Returns:
        Unknowns (member, dim), and the logarithms of the weights that would make them draws of the exact posterior (member,).
    """
    with torch.no_grad():
        candidates = torch.cat([torch.zeros_like(prior[:1]), prior])
        start = candidates[_objective(problem, candidates).argmin()]
    best = _descend(problem, start)
    for _ in range(_POLISHING):
        best, moved = _polish(problem, best)
        if not moved:
            break
    jacobian = problem.jacobian(best)
    with torch.no_grad():
        root = _precision_root(jacobian)
        noise = torch.randn(prior.shape, generator=random).to(prior.device)
        drawn = best + torch.linalg.solve_triangular(root.mT, noise.mT, upper=True).mT
        return drawn, 0.5 * noise.square().sum(1) - _objective(problem, drawn)


def _objective(problem: Problem, unknowns: Tensor) -> Tensor:
    residuals = problem.residuals(problem.simulate(unknowns))
    return 0.5 * residuals.square().sum(1) + 0.5 * unknowns.square().sum(1)


def _descend(problem: Problem, start: Tensor) -> Tensor:
    unknowns = start[None].clone().requires_grad_()
    search = torch.optim.LBFGS([unknowns], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss = _objective(problem, unknowns).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    found = unknowns.detach()[0]
    return found if bool(torch.isfinite(found).all()) else start


def _polish(problem: Problem, unknowns: Tensor) -> tuple[Tensor, bool]:
    jacobian = problem.jacobian(unknowns)
    with torch.no_grad():
        residuals = problem.residuals(problem.simulate(unknowns[None]))[0]
        slope = jacobian.mT @ residuals + unknowns
        moved = unknowns - torch.cholesky_solve(slope[:, None], _precision_root(jacobian))[:, 0]
        both = _objective(problem, torch.stack([unknowns, moved]))
        return (moved, True) if both[1] < both[0] else (unknowns, False)


def _precision_root(jacobian: Tensor) -> Tensor:
    root: Tensor = torch.linalg.cholesky(jacobian.mT @ jacobian + torch.eye(jacobian.shape[1], device=jacobian.device))
    return root
