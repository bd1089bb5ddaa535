"""How far an ensemble of surrogate runs is from an ensemble of plant runs under equal schedules.

Everywhere: plant P (schedule, individual, point, output), surrogate S (schedule, member, point, output), physical units,
point 0 the start. Both are samples: P of the true law p(y | schedule), S of the surrogate's. Ratios are pooled as a ratio
of sums, because at rest and in the first steps the true spread is nearly nothing and a ratio there means nothing.

`resolution` (output,), in output units: a difference that counts as nothing. It keeps ratios finite where the plant does
not scatter at all, and makes a surrogate that scatters there by more than the resolution fail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TAIL_LEVELS = (0.05, 0.95)
_DITHER = 0.1  # of the plant's pooled spread: breaks ties and atoms, and hides what is less than any gate's concern


@dataclass(frozen=True)
class Distances:
    """Mean distances between runs, averaged over steps; all that CRPS, energy score and their resamplings need.

    Attributes:
        plant: (schedule, individual, individual, column).
        cross: (schedule, individual, member, column).
        surrogate: (schedule, member, member, column).

    A column is an output (absolute differences), or the one joint vector of outputs (Euclidean distances).
    """

    plant: Array
    cross: Array
    surrogate: Array


def output_distances(plant: Array, surrogate: Array) -> Distances:
    """Absolute differences per output, mean over steps 1 to the last."""
    return Distances(*(_pairwise(a, b, joint=False) for a, b in _pairs(plant[:, :, 1:], surrogate[:, :, 1:])))


def joint_distances(plant: Array, surrogate: Array, resolution: Array) -> Distances:
    """Euclidean distances of the output vector, mean over steps 1 to the last; one column.

    Each output is scaled by its conditional spread: the plant's standard deviation over individuals, root mean square
    over the steps of the schedule.
    """
    scale = np.sqrt(plant[:, :, 1:].var(axis=1, ddof=1).mean(axis=1) + resolution**2)[:, None, None]
    return Distances(*(_pairwise(a, b, joint=True) for a, b in _pairs(plant[:, :, 1:] / scale, surrogate[:, :, 1:] / scale)))


def _pairs(plant: Array, surrogate: Array) -> list[tuple[Array, Array]]:
    return [(plant, plant), (plant, surrogate), (surrogate, surrogate)]


def _pairwise(first: Array, second: Array, joint: bool) -> Array:
    rows = []
    for index in range(first.shape[1]):  # one row at a time bounds the memory to one ensemble
        difference = first[:, index : index + 1] - second
        rows.append(np.sqrt((difference**2).sum(axis=-1)).mean(axis=2)[..., None] if joint else np.abs(difference).mean(axis=2))
    return np.stack(rows, axis=1)


def scores(distances: Distances) -> tuple[Array, Array]:
    """Score of the surrogate and of the plant itself: two arrays (schedule, column), in units of the distances.

    The fair estimator of the continuous ranked probability score (Ferro, QJRMS 140, 2014), for vectors of the energy
    score (Gneiting and Raftery, JASA 102, 2007): E|P - S| - E|S - S'| / 2 with independent members, unbiased for any
    ensemble size. The plant's own score is leave-one-out, each individual against the others; its mean is E|P - P'| / 2.
    The difference of the two is half the energy distance of the laws (Szekely and Rizzo, J. Stat. Plan. Inference 143,
    2013): zero for a surrogate that draws from the plant's law, and in expectation positive for every other.
    Tests compare with `scoringrules.crps_ensemble(estimator="fair")`, whose pairs for every individual are redone here once.
    """
    members = distances.surrogate.shape[1]
    individuals = distances.plant.shape[1]
    within = distances.surrogate.sum(axis=(1, 2)) / (members * (members - 1))
    floor = distances.plant.sum(axis=(1, 2)) / (individuals * (individuals - 1))
    return distances.cross.mean(axis=(1, 2)) - 0.5 * within, 0.5 * floor


def resampled_scores(plant_distances: Array, individual_counts: Array, member_counts: Array) -> tuple[Array, Array]:
    """`scores` with individuals and members both drawn from the plant's individuals.

    Args:
        plant_distances: (schedule, individual, individual, column).
        individual_counts, member_counts: (schedule, individual), how often each was drawn.
    """

    def total(a: Array, b: Array) -> Array:
        pairs: Array = np.einsum("si,sijc,sj->sc", a, plant_distances, b, optimize=True)
        return pairs

    individuals, members = (counts.sum(axis=1)[:, None] for counts in (individual_counts, member_counts))
    within = total(member_counts, member_counts) / (members * (members - 1))
    floor = total(individual_counts, individual_counts) / (individuals * (individuals - 1))
    return total(individual_counts, member_counts) / (individuals * members) - 0.5 * within, 0.5 * floor


def pooled_ratio(score: Array, floor: Array, resolution: Array) -> Array:
    """Sum of scores over sum of floors: (column,) from two (schedule, column). 1 is the plant's own law."""
    ratio: Array = (score.sum(axis=0) + len(score) * resolution) / (floor.sum(axis=0) + len(score) * resolution)
    return ratio


def schedule_ratios(score: Array, floor: Array, resolution: Array) -> Array:
    """Score over floor per schedule: (schedule, column).

    A schedule on which the plant scatters by less than a tenth of its mean is measured by that tenth.
    """
    least = np.maximum(floor, 0.1 * floor.mean(axis=0)) + resolution
    result: Array = 1.0 + (score - floor) / least
    return result


def bootstrap_interval(
    distances: Distances, resolution: Array, rng: np.random.Generator, count: int = 300, level: float = 0.95
) -> tuple[Array, Array]:
    """Percentile bootstrap interval of `pooled_ratio` over schedules, individuals and members: low and high (column,).

    Pairs of a run with its own copy are left out, so the resampled score stays unbiased (Efron and Tibshirani, 1993).
    """
    ratios = []
    schedules, individuals, members = distances.cross.shape[:3]
    for _ in range(count):
        chosen = rng.integers(schedules, size=schedules)
        w = draw_counts(rng, schedules, individuals, individuals)
        v = draw_counts(rng, schedules, members, members)
        cross = np.einsum("si,sijc,sj->sc", w, distances.cross[chosen], v, optimize=True) / (individuals * members)
        within = _distinct_pair_mean(distances.surrogate[chosen], v)
        floor = _distinct_pair_mean(distances.plant[chosen], w)
        ratios.append(pooled_ratio(cross - 0.5 * within, 0.5 * floor, resolution))
    low, high = np.quantile(np.array(ratios), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def draw_counts(rng: np.random.Generator, schedules: int, size: int, draws: int) -> Array:
    """How often each of `size` runs is drawn in `draws` draws with replacement: (schedule, size)."""
    return rng.multinomial(draws, np.full(size, 1.0 / size), size=schedules).astype(np.float64)


def _distinct_pair_mean(distances: Array, counts: Array) -> Array:
    total: Array = np.einsum("si,sijc,sj->sc", counts, distances, counts, optimize=True)
    result: Array = total / np.maximum(counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1), 1.0)[:, None]
    return result


def normalised_errors(plant: Array, surrogate: Array, resolution: Array) -> Array:
    """Root mean square error of one run over the plant's range, (schedule, output); all points count, the start too.

    An output that moves by less than its resolution has that for its range.
    """
    width = np.maximum(np.ptp(plant, axis=(0, 1, 2)), resolution)
    result: Array = np.sqrt(((surrogate - plant) ** 2).mean(axis=(1, 2))) / width
    return result


def spread_skill(plant: Array, surrogate: Array, resolution: Array, leads: Sequence[int]) -> Array:
    """Spread over skill at each lead, pooled over schedules and individuals: (lead, output). 1 is calibrated.

    Spread is the root of the mean unbiased ensemble variance; skill is the root mean square error of the ensemble mean
    against the individuals, the spread multiplied by sqrt((M + 1) / M) for the finite ensemble (Fortin et al.,
    J. Hydrometeorology 15, 2014). Below 1 the surrogate is too sure of itself.
    """
    spread, skill = spread_and_skill(plant[:, :, list(leads)], surrogate[:, :, list(leads)])
    return np.sqrt((spread**2 + resolution**2) / (skill**2 + resolution**2))


def spread_and_skill(plant: Array, surrogate: Array) -> tuple[Array, Array]:
    """Spread, corrected for the finite ensemble, and skill at every point: two arrays (point, output), in output units."""
    members = surrogate.shape[1]
    spread = np.sqrt((surrogate.var(axis=1, ddof=1)).mean(axis=0) * (members + 1) / members)
    skill = np.sqrt(((plant - surrogate.mean(axis=1, keepdims=True)) ** 2).mean(axis=(0, 1)))
    return spread, skill


def spread_ratio(plant: Array, surrogate: Array, resolution: Array) -> Array:
    """Spread over members by spread over individuals, pooled over schedules and steps: (output,). 0 is an ignored latent."""
    ours, theirs = (e[:, :, 1:].var(axis=1, ddof=1).mean(axis=(0, 1)) + resolution**2 for e in (surrogate, plant))
    result: Array = np.sqrt(ours / theirs)
    return result


def bias(plant: Array, surrogate: Array, resolution: Array) -> Array:
    """Root mean square difference of the ensemble means in units of the plant's spread: (output,). 0 is best.

    Pooled over schedules and steps; what two finite samples of one law would differ by is subtracted.
    """
    ours, theirs = surrogate[:, :, 1:], plant[:, :, 1:]
    variance = theirs.var(axis=1, ddof=1)
    by_chance = variance / theirs.shape[1] + ours.var(axis=1, ddof=1) / ours.shape[1]
    excess = ((ours.mean(axis=1) - theirs.mean(axis=1)) ** 2 - by_chance).mean(axis=(0, 1))
    result: Array = np.sqrt(np.maximum(excess, 0.0) / (variance.mean(axis=(0, 1)) + resolution**2))
    return result


def tail_error(plant: Array, surrogate: Array, resolution: Array, leads: Sequence[int]) -> Array:
    """Error of the 5 % and 95 % quantiles in units of the plant's spread, root mean square over both and the leads: (output,).

    0 is best. Deviations from the plant's mean are pooled over schedules, so that a quantile rests on all runs. Their unit is
    the root mean square of the spread on that schedule and lead and of the spread at that lead over all schedules: a schedule
    at rest then counts little.
    """
    at = list(leads)
    mean = plant[:, :, at].mean(axis=1, keepdims=True)
    variance = plant[:, :, at].var(axis=1, ddof=1, keepdims=True)
    scale = np.sqrt(0.5 * (variance + variance.mean(axis=0)) + resolution**2)
    ours, theirs = (np.quantile((e[:, :, at] - mean) / scale, TAIL_LEVELS, axis=(0, 1)) for e in (surrogate, plant))
    result: Array = np.sqrt(((ours - theirs) ** 2).mean(axis=(0, 1)))
    return result


def rank_positions(plant: Array, surrogate: Array, resolution: Array, leads: Sequence[int], rng: np.random.Generator) -> Array:
    """Place of every individual within the surrogate's ensemble, 0 to 1: (lead, schedule x individual, output).

    The randomised probability integral transform of a finite ensemble (Hamill, MWR 129, 2001): (rank + u) / (M + 1), with
    both sides dithered by a tenth of the plant's spread, pooled over schedules and steps. Uniform if the individuals could
    be members.
    """
    at = list(leads)
    std = np.sqrt(plant[:, :, 1:].var(axis=1, ddof=1).mean(axis=(0, 1)) + resolution**2)
    ours, theirs = (e[:, :, at] + _DITHER * std * rng.standard_normal(e[:, :, at].shape) for e in (surrogate, plant))
    members = np.sort(ours, axis=1)
    ranks = np.empty(theirs.shape)
    for index in np.ndindex(theirs.shape[0], *theirs.shape[2:]):
        line = (index[0], slice(None), *index[1:])
        ranks[line] = np.searchsorted(members[line], theirs[line])
    positions = (ranks + rng.random(ranks.shape)) / (ours.shape[1] + 1)
    result: Array = np.moveaxis(positions, 2, 0).reshape(len(at), -1, plant.shape[-1])
    return result


def uniform_distance(positions: Array) -> Array:
    """Kolmogorov-Smirnov distance of positions (lead, run, output) from the uniform law: (lead, output)."""
    ordered = np.sort(positions, axis=1)
    count = ordered.shape[1]
    steps = np.arange(count)[None, :, None]
    distance: Array = np.maximum((steps + 1) / count - ordered, ordered - steps / count).max(axis=1)
    return distance


def persistence_error(plant: Array, surrogate: Array, resolution: Array, leads: Sequence[int]) -> Array:
    """Difference of the correlations over runs between leads, root mean square over schedules and pairs of leads: (output,).

    0 is best. A trait that lasts a run correlates deviations from the ensemble mean at two leads, by +1 or -1 as the inputs
    have it; a latent that is redrawn at every step does not. Correlations are taken per schedule, since their signs differ,
    and what two finite samples of one law would differ by (the variance of a correlation, (1 - r^2)^2 / n) is subtracted.
    """
    pairs = [(a, b) for index, a in enumerate(leads) for b in leads[index + 1 :]]
    ours, theirs = (np.stack([_correlation(e[:, :, a], e[:, :, b], resolution) for a, b in pairs]) for e in (surrogate, plant))
    by_chance = (1 - ours**2) ** 2 / (surrogate.shape[1] - 1) + (1 - theirs**2) ** 2 / (plant.shape[1] - 1)
    excess: Array = ((ours - theirs) ** 2 - by_chance).mean(axis=(0, 1))
    return np.sqrt(np.maximum(excess, 0.0))


def _correlation(first: Array, second: Array, resolution: Array) -> Array:
    """Over runs: (schedule, output) from two (schedule, run, output)."""
    a, b = first - first.mean(axis=1, keepdims=True), second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt(((a**2).mean(axis=1) + resolution**2) * ((b**2).mean(axis=1) + resolution**2))
    correlation: Array = (a * b).mean(axis=1) / scale
    return correlation


def balance_errors(plant: Array, surrogate: Array, expected: Array, min_moved: float, output: int) -> tuple[float, float, float]:
    """Error of a conserved quantity relative to what was moved: pooled, of the worst schedule, and the plant's own pooled.

    Args:
        expected: (schedule, point), gain times the integral of the input since the start, in output units.
        min_moved: points where less was moved are left out, in output units.
        output: column of the balanced output.

    The first two compare the mean over members with the mean over individuals, the third the individuals with `expected`.
    """
    ours, theirs = ((e[..., output] - e[:, :, :1, output]).mean(axis=1) for e in (surrogate, plant))
    counts = np.abs(expected) > min_moved
    moved = np.where(counts, np.abs(expected), 0.0)
    if not counts.any():
        return 0.0, 0.0, 0.0

    def relative(error: Array) -> Any:
        return np.where(counts, np.abs(error), 0.0).sum(axis=1) / np.maximum(moved.sum(axis=1), min_moved)

    weights = moved.sum(axis=1) / moved.sum()
    each = relative(ours - theirs)
    return float(each @ weights), float(each.max()), float(relative(theirs - expected) @ weights)


def diverging_runs(outputs: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    """Runs that are not finite or leave [low, high] (output,) by more than one width: (run,) from (run, point, output)."""
    width = np.maximum(high - low, np.finfo(np.float64).tiny)
    inside = (outputs >= low - width) & (outputs <= high + width)  # False for values that are not finite
    diverging: NDArray[np.bool_] = np.logical_not(np.all(inside, axis=(1, 2)))
    return diverging
