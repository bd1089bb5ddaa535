"""Outputs whose change over a step is a short sum of inputs and outputs: a charge, a temperature, a level.

A balance is looked for by least squares over the runs of a survey, with few terms, as in the sparse identification of dynamics
(Brunton, Proctor and Kutz, PNAS 113, 2016). Every run may be another individual, so its coefficients may differ a little from
those of all runs together.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.config import split_term
from surrogate_fmu.units import parse_unit
from surrogate_fmu.variables import Causality, with_causality

Array = NDArray[np.float64]
_TERMS = 3  # at most
_PAIRS = 24  # the best of these are tried with a third term
_CANDIDATES = 120
_SHARE, _WORST_SHARE = 0.02, 0.1  # of the change that a balance may leave: in the median run, in nine of ten
_SURE, _CLEARLY = 1e-3, 0.1  # of the change, or of what an affine step of all leaves: a balance that leaves more is none
_BETTER = 5.0  # by so much less must be left for one term more
_ALIKE = 2.0  # terms that leave no more than this multiple of the least are as good, and inputs are preferred
_EXACT = 1e-6  # of the change: less is rounding
_INDIVIDUAL = 0.3  # by which coefficients of individuals differ: as much as a residual of _SHARE
_DECAY = 0.5  # of an output in a step: what forgets itself faster is no balance
_MOVES = 1e-4  # of an output's range: runs that move less in a step tell nothing
_KEPT = 1e-3  # of an output's range: a path that is as close needs no correction
_STARTS = 1e-4  # of an output's range


@dataclass(frozen=True)
class Integrator:
    """An output with a balance.

    Attributes:
        output: its name.
        terms: of the change over a step, as in `surrogate_fmu.training.config.Balance`.
        coefficients: one per term, output units per step; mean over the runs.
        spread: of the first coefficient over the runs, as a share of it.
        start: the parameter that the output begins at; empty where there is none.
        share: of the change over a step that the terms leave, in the median run.
        error: of the path that the terms give over a run, largest in the median run, as a share of the output's range.
        linear_share: what the best affine step of all outputs and inputs leaves of the change, in the median run.
    """

    output: str
    terms: tuple[str, ...]
    coefficients: tuple[float, ...]
    spread: float
    start: str
    share: float
    error: float
    linear_share: float

    @property
    def decays(self) -> bool:
        """Whether the output itself is in a term: it forgets, as a temperature does and a charge does not."""
        return any(name == self.output for term in self.terms for name, _ in split_term(term))

    @property
    def is_kept(self) -> bool:
        """Whether the balance alone gives the output, and no correction need be learned."""
        return self.error < _KEPT

    @property
    def is_nonlinear(self) -> bool:
        """Whether it says much more than an affine step of all outputs."""
        return self.share < _CLEARLY * self.linear_share and self.linear_share > _EXACT


@dataclass(frozen=True)
class _Fit:
    terms: tuple[str, ...]
    coefficients: Array  # (run, term)
    shares: Array  # (run,)

    @property
    def share(self) -> float:
        return float(np.median(self.shares))

    @property
    def is_balance(self) -> bool:
        return self.share <= _SHARE and float(np.quantile(self.shares, 0.9)) <= _WORST_SHARE


def find_integrators(runs: Trajectories) -> tuple[Integrator, ...]:
    """The balances of a plant's outputs, those that the runs show.

    A balanced output enters terms of others with its value at the start of a step, any other with that at its end, as in training.

    Args:
        runs: with inputs that move, and parameters where they are modelled; each may be another individual.
    """
    outputs = runs.names(Causality.OUTPUT)
    found: dict[str, _Fit] = {}
    for name in outputs:
        fit = _find_balance(runs, name, frozenset({name}))
        # Any smooth plant is nearly affine in all that it shows.
        if fit is not None and fit.share <= max(_SURE, _CLEARLY * _linear_share(runs, name)):
            found[name] = fit
    while True:
        again = {name: _fit(runs, name, found[name].terms, frozenset(found)) for name in found}
        wrong = [name for name, fit in again.items() if fit is None or not fit.is_balance]
        if not wrong:
            return tuple(_describe(runs, name, fit, frozenset(found)) for name, fit in again.items() if fit is not None)
        # One at a time, from the one with most terms on: without it others may be right.
        del found[max(wrong, key=lambda name: (len(found[name].terms), outputs.index(name)))]


def _find_balance(runs: Trajectories, output: str, balanced: frozenset[str]) -> _Fit | None:
    candidates = _candidates(runs, output)
    moving = _moving(runs, output)
    if moving.sum() < 2 or not candidates:
        return None
    columns = np.stack([_series(runs, term, balanced)[moving] for term in candidates], axis=-1)
    change = _change(runs, output)[moving]
    change_scale = np.sqrt((change**2).mean(axis=1, keepdims=True))
    columns, change = columns / change_scale[..., None], change / change_scale
    columns = columns / np.maximum(np.sqrt((columns**2).mean(axis=(0, 1))), 1e-300)
    gram = np.einsum("rsp,rsq->rpq", columns, columns) / change.shape[1]
    product = np.einsum("rsp,rs->rp", columns, change) / change.shape[1]
    best: _Fit | None = None
    tried: list[tuple[int, ...]] = [(k,) for k in range(len(candidates))]
    for count in range(1, _TERMS + 1):
        left = _left(gram, product, tried)
        order = np.argsort(left, kind="stable")
        fits = []
        for place in order[:_PAIRS]:
            fit = _fit(runs, output, tuple(candidates[k] for k in tried[place]), balanced)
            if fit is not None and fit.is_balance:
                fits.append(fit)
        if fits:
            least = max(min(fit.share for fit in fits), _EXACT)
            alike = [fit for fit in fits if fit.share <= _ALIKE * least]
            chosen = min(alike, key=lambda fit: (*_oddity(runs, fit.terms), fit.share))
            if best is None or best.share > max(_EXACT, _BETTER * chosen.share):
                best = chosen
            elif best is not None:
                return best
        if best is not None and best.share <= _EXACT:
            return best
        if count == 1:
            tried = list(itertools.combinations(range(len(candidates)), 2))
        else:
            grown = {tuple(sorted({*tried[place], k})) for place in order[:_PAIRS] for k in range(len(candidates))}
            tried = sorted(terms for terms in grown if len(terms) == count + 1)
        if not tried:
            break
    return best


def _candidates(runs: Trajectories, output: str) -> list[str]:
    """Terms that the change of an output may have: inputs, outputs, and differences of two with equal dimensions."""
    # A name with a minus cannot be told from a difference.
    variables = [v for v in with_causality(runs.variables, Causality.INPUT, Causality.OUTPUT) if "-" not in v.name]
    ends = frozenset({output})
    moves = {v.name: bool(np.ptp(_series(runs, v.name, ends)) > 0.0) for v in variables}
    dimensions = {v.name: parse_unit(v.unit).exponents for v in variables}
    # A number that never moves, and is no temperature or pressure that another is compared with, is part of a plant's law.
    names = [v.name for v in variables if moves[v.name] or any(dimensions[v.name])]
    # Those with the output itself, then those with inputs, are likely; of many outputs not all differences can be tried.
    order = {v.name: 0 if v.name == output else 1 if v.causality is Causality.INPUT else 2 for v in variables}
    names.sort(key=lambda name: order[name])
    pairs = (
        f"{first} - {second}"
        for first, second in itertools.combinations(names, 2)
        if dimensions[first] == dimensions[second] and (moves[first] or moves[second])
    )
    return list(itertools.islice(itertools.chain((name for name in names if moves[name]), pairs), _CANDIDATES))


def _series(runs: Trajectories, term: str, balanced: frozenset[str]) -> Array:
    """A term over all runs and steps (run, step)."""
    inputs, outputs = runs.names(Causality.INPUT), runs.names(Causality.OUTPUT)
    total = np.zeros(runs.inputs.shape[:2])
    for name, sign in split_term(term):
        if name in inputs:
            total += sign * runs.inputs[..., inputs.index(name)]
        else:
            window = slice(0, -1) if name in balanced else slice(1, None)
            total += sign * runs.outputs[:, window, outputs.index(name)]
    return total


def _change(runs: Trajectories, output: str) -> Array:
    return np.diff(runs.outputs[..., runs.names(Causality.OUTPUT).index(output)], axis=1)


def _range(runs: Trajectories, output: str) -> float:
    return max(float(np.ptp(runs.outputs[..., runs.names(Causality.OUTPUT).index(output)])), 1e-300)


def _moving(runs: Trajectories, output: str) -> NDArray[np.bool_]:
    change = _change(runs, output)
    moving: NDArray[np.bool_] = np.sqrt((change**2).mean(axis=1)) > _MOVES * _range(runs, output)
    return moving


def _left(gram: Array, product: Array, tried: Sequence[tuple[int, ...]]) -> Array:
    """The share of the squared change that each set of terms leaves, in the median run."""
    places = np.array(tried)
    ridge = 1e-10 * np.eye(places.shape[1])
    left = []
    for part in np.array_split(places, max(1, len(places) // 4000)):
        matrix = gram[:, part[:, :, None], part[:, None, :]] + ridge
        aim = product[:, part]
        solution = np.linalg.solve(matrix, aim[..., None])[..., 0]
        left.append(np.median(1.0 - (solution * aim).sum(axis=-1), axis=0))
    return np.concatenate(left)


def _fit(runs: Trajectories, output: str, terms: tuple[str, ...], balanced: frozenset[str]) -> _Fit | None:
    """Coefficients of every run, near those of all runs together; None where the output forgets itself too fast."""
    moving = _moving(runs, output)
    columns = np.stack([_series(runs, term, balanced)[moving] for term in terms], axis=-1)
    change = _change(runs, output)[moving]
    scale = np.sqrt((change**2).mean(axis=1))
    together, _, rank, _ = np.linalg.lstsq(
        (columns / scale[:, None, None]).reshape(-1, len(terms)), (change / scale[:, None]).ravel(), rcond=1e-9
    )
    if rank < len(terms) or (together == 0.0).any():
        return None
    decay = sum(-sign * c for term, c in zip(terms, together, strict=True) for name, sign in split_term(term) if name == output)
    if not -_DECAY < decay < _DECAY:
        return None
    prior = np.diag(_SHARE / (_INDIVIDUAL * np.abs(together)))
    coefficients, shares = [], []
    for x, y, size in zip(columns, change, scale, strict=True):
        weight = np.sqrt(len(y)) * size
        c, *_ = np.linalg.lstsq(np.vstack([x, weight * prior]), np.concatenate([y, weight * prior @ together]), rcond=None)
        coefficients.append(c)
        shares.append(np.sqrt(((y - x @ c) ** 2).mean()) / size)
    return _Fit(terms, np.array(coefficients), np.array(shares))


def _oddity(runs: Trajectories, terms: tuple[str, ...]) -> tuple[int, int]:
    """Of terms that say the same those are preferred that have more inputs, then those that name fewer variables."""
    names = [name for term in terms for name, _ in split_term(term)]
    return -len(set(names) & set(runs.names(Causality.INPUT))), len(names)


def _describe(runs: Trajectories, output: str, fit: _Fit, balanced: frozenset[str]) -> Integrator:
    width, moving = _range(runs, output), runs.select(_moving(runs, output))
    mean = fit.coefficients.mean(axis=0)
    path = _path(moving, output, fit, balanced)
    place = runs.names(Causality.OUTPUT).index(output)
    error = float(np.median(np.abs(path - moving.outputs[..., place]).max(axis=1))) / width
    terms, coefficients = list(fit.terms), list(mean)
    for k, term in enumerate(terms):
        names = [name for name, _ in split_term(term)]
        if len(names) == 2 and coefficients[k] < 0.0:
            terms[k], coefficients[k] = f"{names[1]} - {names[0]}", -coefficients[k]
    return Integrator(
        output,
        tuple(terms),
        tuple(map(float, coefficients)),
        float(fit.coefficients[:, 0].std() / abs(mean[0])),
        _start(runs, place, width),
        fit.share,
        error,
        _linear_share(runs, output),
    )


def _path(runs: Trajectories, output: str, fit: _Fit, balanced: frozenset[str]) -> Array:
    """The output over the runs (run, point) as the balance gives it from its start, all others as they were observed."""
    place = runs.names(Causality.OUTPUT).index(output)
    rest, own = np.zeros(runs.inputs.shape[:2]), np.zeros(len(runs))
    for k, term in enumerate(fit.terms):
        for name, sign in split_term(term):
            if name == output:
                own += sign * fit.coefficients[:, k]
            else:
                rest += sign * fit.coefficients[:, k, None] * _series(runs, name, balanced)
    points = [runs.outputs[:, 0, place]]
    for step in rest.T:
        points.append(points[-1] * (1.0 + own) + step)
    return np.stack(points, axis=1)


def _start(runs: Trajectories, place: int, width: float) -> str:
    """The parameter that the output begins at in every run; one that never moved must be it exactly."""
    first = runs.outputs[:, 0, place]
    for k, name in enumerate(runs.names(Causality.PARAMETER)):
        values = runs.parameters[:, k]
        near = _STARTS if np.ptp(values) > 10 * _STARTS * width else _EXACT
        if (np.abs(first - values) <= near * width).all():
            return name
    return ""


def _linear_share(runs: Trajectories, output: str) -> float:
    """What an affine step of all outputs and inputs leaves of the change, in the median run."""
    runs, place = runs.select(_moving(runs, output)), runs.names(Causality.OUTPUT).index(output)
    before, change = runs.outputs[:, :-1], np.diff(runs.outputs[..., place], axis=1)
    matrix = np.concatenate([before, runs.inputs, np.ones((*change.shape, 1))], axis=-1)
    size = np.maximum(np.sqrt((matrix**2).mean(axis=(0, 1))), 1e-300)
    flat = (matrix / size).reshape(-1, matrix.shape[-1])
    solution, *_ = np.linalg.lstsq(flat, change.ravel(), rcond=1e-9)
    left = change - (flat @ solution).reshape(change.shape)
    return float(np.median(np.sqrt((left**2).mean(axis=1) / (change**2).mean(axis=1))))
