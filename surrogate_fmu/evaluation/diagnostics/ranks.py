"""Where the plant's individuals stand among the members: flat rank histograms, or what their shape says."""

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation import metrics
from surrogate_fmu.evaluation.diagnostics.case import Case
from surrogate_fmu.evaluation.diagnostics.finding import Finding, Level

Array = NDArray[np.float64]


def find_misplaced_ranks(case: Case) -> Finding:
    """Kolmogorov-Smirnov distance of dithered ranks (Hamill, MWR 129, 2001) from uniform, the worst of leads and outputs."""

    def positions(plant: Array, surrogate: Array) -> Array:
        return metrics.rank_positions(plant, surrogate, case.resolution, case.leads, case.rng)

    chance = case.chance(lambda a, b: float(metrics.uniform_distance(positions(a, b)).max()))
    found = positions(case.plant, case.surrogate)
    distances = metrics.uniform_distance(found)
    lead, output = np.unravel_index(distances.argmax(), distances.shape)
    distance = float(distances[lead, output])
    level = Level.OK if distance <= max(0.06, chance) else Level.WARN if distance <= max(0.15, chance) else Level.FAIL
    where = f"{case.outputs[output]} at step {case.leads[lead]}"
    sentence = (
        "the plant's individuals stand anywhere among the members"
        if level is Level.OK
        else f"ranks of the plant's {where} among the members {_shape(found[lead, :, output])}"
    )
    return Finding("ranks", level, distance, chance, sentence)


def _shape(positions: Array) -> str:
    """What a histogram of positions (run,) that is not flat says."""
    offset, width = float(positions.mean() - 0.5), float(positions.var() * 12.0)
    if abs(offset) > 0.03 + 0.1 * abs(width - 1.0):
        plant, members = ("high", "low") if offset > 0 else ("low", "high")
        return f"lie {plant}: members lie too {members}; look for a bias, train longer"
    if width > 1.0:
        return "pile up at both ends: members scatter too little; add a term that rewards spread (energy, crps, repulsion)"
    return "pile up in the middle: members scatter too much; train longer, or on a score (energy, crps)"
