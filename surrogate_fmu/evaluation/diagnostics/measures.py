"""Two-sample measures of run properties with the plant's own beside them, and whether these properties see anything at all."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation.diagnostics import two_sample
from surrogate_fmu.evaluation.diagnostics.case import Case
from surrogate_fmu.evaluation.diagnostics.finding import Finding, Level
from surrogate_fmu.evaluation.diagnostics.properties import flat, property_names, run_properties

Array = NDArray[np.float64]
_SAMPLES = 1500  # runs that measures with all pairs are taken of


class Measure(NamedTuple):
    """A measure of two samples.

    Attributes:
        figure: plant against surrogate.
        floor: one half of the plant's individuals against the other.
        sentence: what it is and what it is blind to.
    """

    figure: float
    floor: float
    sentence: str


_OF_BOTH = {
    "classifier AUC (C2ST)": (
        two_sample.classifier_auc,
        "how well a small network tells the two apart; 0.5 is one law, and what it cannot learn it does not see",
    ),
    "1-nearest-neighbour accuracy": (
        two_sample.nearest_neighbour_accuracy,
        "0.5 is one law, 1 are laws apart, below 0.5 are copies; slow to see a small shift",
    ),
    "kernel discrepancy (MMD^2)": (
        two_sample.kernel_discrepancy,
        "0 is one law; kernels about as wide as the sample see shifts and widths, hardly tails",
    ),
    "Frechet distance of properties": (
        two_sample.frechet_distance,
        "0 are equal means and covariances; blind to all else, a collapse to few points included: read it beside recall",
    ),
}
_PRECISION = "share of the surrogate's runs among the plant's; low for runs that the plant could not give"
_RECALL = "share of the plant's runs among the surrogate's; low where the surrogate has lost some: a collapse"
_WASSERSTEIN = "mean distance of quantiles in spreads of the property; one property at a time, blind to how they go together"


def measure(case: Case) -> dict[str, Measure]:
    """All measures by name."""
    plant, surrogate = sampled(case, case.plant, case.surrogate)
    first, second = sampled(case, case.first, case.second)
    found = {
        name: Measure(float(of_both(plant, surrogate)), float(of_both(first, second)), sentence)
        for name, (of_both, sentence) in _OF_BOTH.items()
    }
    ours, own = two_sample.precision_recall(plant, surrogate), two_sample.precision_recall(first, second)
    found["precision"] = Measure(ours[0], own[0], _PRECISION)
    found["recall"] = Measure(ours[1], own[1], _RECALL)
    distances = (two_sample.wasserstein1(*both) for both in ((plant, surrogate), (first, second)))
    for name, distance, floor in zip(property_names(case.outputs), *distances, strict=True):
        found[f"W1 of {name}"] = Measure(float(distance), float(floor), _WASSERSTEIN)
    return found


def sampled(case: Case, first: Array, second: Array) -> tuple[Array, Array]:
    """Properties of some runs of each, as many of both, in units of the first's spread."""
    count = min(_SAMPLES, first.shape[0] * min(first.shape[1], second.shape[1]))
    both = [flat(run_properties(runs, case.plant)) for runs in (first, second)]
    both = [some[case.rng.permutation(len(some))[:count]] for some in both]
    unit = both[0].std(axis=0) + 1e-9
    centre = both[0].mean(axis=0)
    return (both[0] - centre) / unit, (both[1] - centre) / unit


def find_blindness(case: Case) -> Finding:
    """Plant a change in one half of the plant's own runs: properties that do not see it judge nothing."""
    mean = case.plant.mean(axis=1, keepdims=True)
    spread = np.sqrt(((case.plant - mean) ** 2).mean(axis=(0, 1, 2))) + 1e-12
    noise = case.rng.standard_normal(case.second.shape)
    changes = {
        "a shift by one spread": case.second + spread,
        "half the spread": mean + 0.5 * (case.second - mean),
        "noise in place of memory": mean + spread * noise,
    }
    unseen = []
    lowest = 1.0
    for name, changed in changes.items():
        score = two_sample.classifier_auc(*sampled(case, case.first, changed))
        lowest = min(lowest, score)
        if score < 0.65:
            unseen.append(name)
    level = Level.OK if not unseen else Level.WARN
    sentence = (
        "the properties see planted changes"
        if not unseen
        else f"the properties do not see {' and '.join(unseen)} planted in the plant's own runs; their verdicts mean nothing here"
    )
    return Finding("flawed properties", level, lowest, 0.5, sentence)
