"""A particle filter for what holds over a run and for what is drawn at every step, both at once.

Points are taken in one after the other (Chopin, Biometrika 89, 2002), each in portions small enough that half of the members still
count. Then members are resampled and moved by Metropolis-Hastings steps that leave the posterior so far as it is (Gilks and
Berzuini, JRSS B 63, 2001), replayed from the start: the jitter costs no accuracy. A move is u' = m + sqrt(1 - b^2) (u - m) + b e,
e of the members' own covariance (generalised preconditioned Crank-Nicolson; Rudolf and Sprungk, Found. Comput. Math. 18, 2018).
"""

import math

import torch
from torch import Tensor

from surrogate_fmu.calibration.problem import Problem

_MOVES = 4
_BISECTIONS = 40
_ACCEPTANCE = 0.25


def infer_by_particles(problem: Problem, prior: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Filter the window.

    Args:
        problem: with its noise set.
        prior: members drawn before anything is measured (member, dim).
        random: of resampling and moves.

    Returns:
        Unknowns (member, dim), and the logarithms of their weights (member,).
    """
    with torch.no_grad():
        particles = _Particles(problem, prior, random)
        for point in range(problem.step_count + 1):
            particles.take_in(point)
        return particles.unknowns, particles.log_weights


class _Particles:
    """Members that have taken in the points up to `past`."""

    def __init__(self, problem: Problem, prior: Tensor, random: torch.Generator) -> None:
        self._problem, self._random = problem, random
        self.unknowns = prior
        self.log_weights = torch.zeros(len(prior), device=prior.device)
        self._past = torch.zeros(len(prior), device=prior.device)  # log likelihood of the points taken in
        self._hidden = torch.empty(0)
        self._reach = 1.0

    def take_in(self, point: int) -> None:
        """Weigh by what was measured at a point; resample and move as often as needed."""
        problem = self._problem
        if point == 0:
            outputs, self._hidden = problem.start(self.unknowns)
        else:
            following, self._hidden = problem.advance(self.unknowns, self._hidden, point - 1, point)
            outputs = following[:, 0]
        present = -0.5 * problem.residuals(outputs[:, None], point).square().sum(1)
        done = 0.0
        while done < 1.0:
            portion = self._portion(present, 1.0 - done)
            done = 1.0 if done + portion >= 1.0 else done + portion
            self.log_weights = self.log_weights + portion * present
            if done < 1.0:
                present = self._resample_and_move(point, present, done)
        self._past = self._past + present

    def _portion(self, present: Tensor, rest: float) -> float:
        """The largest share of the point's likelihood that leaves half of the members."""
        least = 0.5 * len(present)
        if _effective(self.log_weights + rest * present) >= least:
            return rest
        low, high = 0.0, rest
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _effective(self.log_weights + middle * present) >= least else (low, middle)
        return max(low, 1e-6)

    def _resample_and_move(self, point: int, present: Tensor, share: float) -> Tensor:
        kept = resample(self.log_weights, len(self.unknowns), self._random)
        self.unknowns, self._hidden, self._past, present = (a[kept] for a in (self.unknowns, self._hidden, self._past, present))
        self.log_weights = torch.zeros_like(self.log_weights)
        used = self._problem.static_dim + point * self._problem.manifest.step_latent_dim
        reference = _Reference(self.unknowns[:, :used])
        for _ in range(_MOVES):
            present = self._move(point, present, share, reference)
        return present

    def _move(self, point: int, present: Tensor, share: float, reference: "_Reference") -> Tensor:
        problem, used = self._problem, len(reference.mean)
        proposed = self.unknowns.clone()
        proposed[:, :used] = reference.step(self.unknowns[:, :used], self._reach, self._random)
        y, hidden = problem.start(proposed)
        outputs = y[:, None]
        if point:
            following, hidden = problem.advance(proposed, hidden, 0, point)
            outputs = torch.cat([outputs, following], dim=1)
        past = torch.zeros_like(present)
        if point:
            past = -0.5 * problem.residuals(outputs[:, :-1]).square().sum(1)
        now = -0.5 * problem.residuals(outputs[:, -1:], point).square().sum(1)
        gain = past + share * now - self._past - share * present
        gain = gain + reference.log_ratio(proposed[:, :used]) - reference.log_ratio(self.unknowns[:, :used])
        taken = torch.rand(len(gain), generator=self._random).to(gain.device).log() < gain
        self.unknowns = torch.where(taken[:, None], proposed, self.unknowns)
        self._hidden = torch.where(taken[:, None], hidden, self._hidden)
        self._past = torch.where(taken, past, self._past)
        self._reach = min(1.0, self._reach * (1.2 if float(taken.float().mean()) > _ACCEPTANCE else 0.7))
        return torch.where(taken, now, present)


class _Reference:
    """The Gaussian that moves keep: mean and covariance of members, the latter drawn towards its diagonal where members are few."""

    def __init__(self, unknowns: Tensor) -> None:
        count, size = unknowns.shape
        self.mean = unknowns.mean(0)
        deviations = unknowns - self.mean
        covariance = deviations.mT @ deviations / count
        shrinkage = min(1.0, size / count)
        diagonal = torch.diag(covariance.diagonal())
        covariance = (1 - shrinkage) * covariance + shrinkage * diagonal + 1e-8 * torch.eye(size, device=unknowns.device)
        self._root = torch.linalg.cholesky(covariance)

    def step(self, unknowns: Tensor, reach: float, random: torch.Generator) -> Tensor:
        noise = torch.randn(unknowns.shape, generator=random).to(unknowns.device)
        moved: Tensor = self.mean + math.sqrt(1 - reach**2) * (unknowns - self.mean) + reach * noise @ self._root.mT
        return moved

    def log_ratio(self, unknowns: Tensor) -> Tensor:
        """Standard normal over the reference, logarithm up to a constant."""
        white = torch.linalg.solve_triangular(self._root, (unknowns - self.mean).mT, upper=False).mT
        ratio: Tensor = 0.5 * white.square().sum(1) - 0.5 * unknowns.square().sum(1)
        return ratio


def resample(log_weights: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Systematic resampling: numbers of members (count,)."""
    edges = torch.softmax(log_weights.double(), 0).cumsum(0)
    ticks = (torch.arange(count) + torch.rand(1, generator=random)).to(edges.device).double() / count
    return torch.searchsorted(edges, ticks).clamp(max=len(edges) - 1)


def _effective(log_weights: Tensor) -> float:
    weights = torch.softmax(log_weights, 0)
    return float(1.0 / weights.square().sum())
