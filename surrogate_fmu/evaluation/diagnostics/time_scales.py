"""How long deviations last: autocorrelation and power spectrum of what a run deviates from the plant's mean by.

Everywhere: runs, reference (schedule, run, point, output), physical units; the mean is the reference's under the same schedule.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation.diagnostics.case import Case
from surrogate_fmu.evaluation.diagnostics.finding import Finding, Level

Array = NDArray[np.float64]
_BANDS = 6
_HIDDEN = 0.01  # of the mean power: what a band holds below it counts as nothing


def autocorrelation(runs: Array, reference: Array, resolution: Array) -> Array:
    """Correlation of deviations that are 0, 1, ... steps apart, up to half of a run: (lag, output), 1 at lag 0."""
    deviation = _deviations(runs, reference)
    points = deviation.shape[2]

    def correlation(first: Array, second: Array) -> Array:
        variances = ((some**2).mean(axis=(0, 1, 2)) + resolution**2 for some in (first, second))
        return np.asarray((first * second).mean(axis=(0, 1, 2)) / np.sqrt(np.prod(list(variances), axis=0)))

    found = np.stack([correlation(deviation[:, :, : points - k], deviation[:, :, k:]) for k in range(points // 2 + 1)])
    found[0] = 1.0
    return found


def power_spectrum(runs: Array, reference: Array) -> Array:
    """Mean periodogram of deviations, one-sided, (frequency, output); its sum is the mean square.

    Frequencies are 0, 1, ... cycles per run. The one of 0 is what lasts for a run.
    """
    deviation = _deviations(runs, reference)
    points = deviation.shape[2]
    power = (np.abs(np.fft.rfft(deviation, axis=2)) ** 2).mean(axis=(0, 1)) / points**2
    power[1 : (points + 1) // 2] *= 2.0
    return np.asarray(power)


def band_power(spectrum: Array, resolution: Array) -> Array:
    """Mean power in up to six bands of a spectrum (frequency, output), each twice as wide as the last: (band, output)."""
    edges = np.unique(np.round(np.geomspace(1, len(spectrum), min(_BANDS, len(spectrum)))).astype(int))
    bands = [spectrum[:1], *(spectrum[low:high] for low, high in itertools.pairwise(edges))]
    return np.stack([band.mean(axis=0) for band in bands]) + resolution**2 / len(spectrum)


def find_other_time_scales(case: Case) -> tuple[Finding, Finding]:
    """Findings on autocorrelation and spectrum."""
    return _autocorrelation(case), _spectrum(case)


def _autocorrelation(case: Case) -> Finding:
    def off(plant: Array, surrogate: Array) -> Array:
        ours, own = (autocorrelation(runs, case.plant, case.resolution) for runs in (surrogate, plant))
        return ours - own

    difference = off(case.plant, case.surrogate)
    chance = case.chance(lambda a, b: float(np.abs(off(a, b)).max()))
    lag, output = np.unravel_index(np.abs(difference).argmax(), difference.shape)
    worst = float(difference[lag, output])
    level = Level.OK if abs(worst) <= max(0.1, chance) else Level.WARN if abs(worst) <= max(0.3, chance) else Level.FAIL
    sentence = (
        "deviations last as long as the plant's"
        if level is Level.OK
        else f"deviations of {case.outputs[output]} that are {lag} steps apart correlate by {abs(worst):.2f} "
        + (
            "more than the plant's: too much lasts; fewer run latents, or a shorter memory"
            if worst > 0
            else "less than the plant's: what lasts is forgotten; use run latents for individuals, or a longer memory"
        )
    )
    return Finding("autocorrelation", level, abs(worst), chance, sentence)


def _spectrum(case: Case) -> Finding:
    def off(plant: Array, surrogate: Array) -> Array:
        ours, own = (band_power(power_spectrum(runs, case.plant), case.resolution) for runs in (surrogate, plant))
        hidden = _HIDDEN * own.mean(axis=0)
        return np.asarray(np.log((ours + hidden) / (own + hidden)))

    logs = off(case.plant, case.surrogate)
    chance = case.chance(lambda a, b: float(np.abs(off(a, b)).max()))
    band, output = np.unravel_index(np.abs(logs).argmax(), logs.shape)
    worst = float(logs[band, output])
    level = (
        Level.OK if abs(worst) <= max(np.log(1.5), chance) else Level.WARN if abs(worst) <= max(np.log(3), chance) else Level.FAIL
    )
    where = "what lasts for a whole run" if band == 0 else f"frequency band {band} of {len(logs) - 1}, slow to fast"
    sentence = (
        "slow and fast fluctuations are as strong as the plant's"
        if level is Level.OK
        else f"the power of {case.outputs[output]} in {where} is {np.exp(worst):.2f} times the plant's; "
        + (
            "look at the memory, and at run latents"
            if band <= len(logs) // 2
            else "look at step latents, and train on a score of steps"
        )
    )
    return Finding("spectrum", level, float(np.exp(worst)), float(np.exp(chance)), sentence)


def _deviations(runs: Array, reference: Array) -> Array:
    deviation: Array = runs[:, :, 1:] - reference[:, :, 1:].mean(axis=1, keepdims=True)
    return deviation
