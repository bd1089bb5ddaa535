"""The pictures of a diagnosis beside those of the card. Plant blue, surrogate orange."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation.diagnostics.diagnose import Diagnosis
from surrogate_fmu.evaluation.diagnostics.latents import LatentGain
from surrogate_fmu.evaluation.diagnostics.modes import Modes, find_modes
from surrogate_fmu.evaluation.diagnostics.time_scales import autocorrelation, power_spectrum
from surrogate_fmu.evaluation.drawing import INPUT, LIMIT, PLANT, SURROGATE, draw, make_grid
from surrogate_fmu.evaluation.ensembles import Ensembles
from surrogate_fmu.evaluation.plots import fan_charts, rank_histograms, spread_against_skill

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_BINS = 60
_SHOWN_LATENTS = 16
_RUNS, _SKILL, _RANKS = "Runs of plant and surrogate under the same schedules", "Spread and skill by lead", "Rank histograms"
_LASTING, _SPECTRUM, _LATENTS = "Autocorrelation of deviations", "Power spectrum of deviations", "Singular values of dG/dz"
_MARGINALS, _MODES = "Marginals and tails", "Modes"

CAPTIONS = {
    _RUNS: "Median and 5 to 95 % band of three schedules, from little to much scatter of the plant.",
    _SKILL: "A calibrated surrogate's spread is the error of its mean; the plant's own spread is what neither can go below.",
    _RANKS: "Places of the plant's individuals among the members, dithered. Flat is calibrated, a U too narrow, a hump too wide, a "
    "slope biased; the grey band holds 95 % of flat ones.",
    _LASTING: "How long a run that is high stays high. A level that does not fall is a trait of the individual.",
    _SPECTRUM: "Left what lasts for a whole run, right what changes from step to step.",
    _LATENTS: "Above: singular values in the plant's conditional standard deviations; the root of the sum of their squares is at "
    "least 1 for a generator that scatters as the plant does. Below: what each latent moves; under the dashed line it is nothing.",
    _MARGINALS: "Deviations from the plant's mean in its spreads, all steps, on a logarithmic scale: where orange ends before "
    "blue, rare values are lost.",
    _MODES: "Density of all points with the modes found in the plant's runs, how often the upper is visited, and hops per step.",
}


def draw_diagnosis(diagnosis: Diagnosis) -> dict[str, str]:
    """All pictures that the diagnosis allows: title to SVG text, in reading order."""
    ensembles, leads = diagnosis.ensembles, diagnosis.case.leads
    gain = diagnosis.gain
    modes = [find_modes(ensembles.plant.outputs[..., column].ravel()) for column in range(ensembles.plant.outputs.shape[-1])]
    pictures: dict[str, Callable[[], Figure]] = {
        _RUNS: lambda: fan_charts(ensembles),
        _SKILL: lambda: spread_against_skill(ensembles),
        _RANKS: lambda: rank_histograms(ensembles, leads),
        _LASTING: lambda: _autocorrelations(ensembles, diagnosis.case.resolution),
        _SPECTRUM: lambda: _spectra(ensembles),
        _MARGINALS: lambda: _marginals(ensembles, diagnosis.case.resolution),
    }
    if gain is not None:
        pictures[_LATENTS] = lambda: _latents(gain)
    if any(modes):
        pictures[_MODES] = lambda: _modes(ensembles, modes)
    return draw(pictures)


def _autocorrelations(ensembles: Ensembles, resolution: Array) -> "Figure":
    plant, names = ensembles.plant.outputs, ensembles.plant.output_names
    figure, axes = make_grid(1, len(names), 2.9, 2.4)
    for runs, colour, label in _both(ensembles):
        found = autocorrelation(runs, plant, resolution)
        for column in range(len(names)):
            axes[0, column].plot(found[:, column], color=colour, marker="o", markersize=2.5, linewidth=1.3, label=label)
    for axis, name in zip(axes[0], names, strict=True):
        axis.axhline(0.0, color=LIMIT, linewidth=1.0)
        axis.set_title(name)
        axis.set_xlabel("steps apart")
        axis.set_ylim(top=1.05)
    axes[0, 0].set_ylabel("correlation")
    axes[0, 0].legend(fontsize=7)
    return figure


def _spectra(ensembles: Ensembles) -> "Figure":
    plant, names = ensembles.plant.outputs, ensembles.plant.output_names
    figure, axes = make_grid(1, len(names), 2.9, 2.4)
    for runs, colour, label in _both(ensembles):
        power = power_spectrum(runs, plant)
        for column in range(len(names)):
            shown = np.where(power[:, column] > 0.0, power[:, column], np.nan)
            axes[0, column].plot(shown, color=colour, marker="o", markersize=2.5, linewidth=1.3, label=label)
    for axis, variable in zip(axes[0], names, strict=True):
        axis.set_yscale("log")
        axis.set_title(variable)
        axis.set_xlabel("cycles per run")
    axes[0, 0].set_ylabel("power [unit^2]")
    axes[0, 0].legend(fontsize=7)
    return figure


def _latents(gain: LatentGain) -> "Figure":
    figure, axes = make_grid(2, len(gain.outputs), 2.9, 2.1, one_time=False)
    for column, name in enumerate(gain.outputs):
        above, below = axes[:, column]
        values = gain.singular_values[column]
        above.bar(np.arange(1, len(values) + 1), values, color=SURROGATE, width=0.7)
        above.axhline(1.0, color=PLANT, linewidth=1.4, label="plant's spread")
        above.axhline(gain.total[column], color=INPUT, linewidth=1.1, linestyle="--", label="all together")
        above.set_title(name)
        above.set_xlabel("direction")
        above.set_xticks(np.arange(1, len(values) + 1))
        strongest = np.sort(np.argsort(-gain.by_latent.max(axis=0))[:_SHOWN_LATENTS])
        below.bar(np.arange(len(strongest)), np.maximum(gain.by_latent[column, strongest], 1e-4), color=SURROGATE, width=0.7)
        below.axhline(0.01, color=INPUT, linewidth=1.1, linestyle="--")
        below.set_yscale("log")
        below.set_ylim(1e-4, max(2.0, 1.5 * float(gain.by_latent.max())))
        below.set_xticks(np.arange(len(strongest)), [gain.latents[i] for i in strongest], rotation=60, fontsize=7)
        for axis in (above, below):
            axis.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("singular value")
    axes[1, 0].set_ylabel("moves by")
    axes[0, 0].legend(fontsize=7)
    return figure


def _marginals(ensembles: Ensembles, resolution: Array) -> "Figure":
    plant, names = ensembles.plant.outputs, ensembles.plant.output_names
    mean = plant[:, :, 1:].mean(axis=1, keepdims=True)
    unit = np.sqrt(((plant[:, :, 1:] - mean) ** 2).mean(axis=(0, 1, 2)) + resolution**2)
    figure, axes = make_grid(1, len(names), 2.9, 2.4)
    for column, name in enumerate(names):
        samples = [((runs[:, :, 1:] - mean) / unit)[..., column].ravel() for runs, _, _ in _both(ensembles)]
        reach = min(12.0, 1.05 * max(float(np.abs(some).max()) for some in samples))
        for some, (_, colour, label) in zip(samples, _both(ensembles), strict=True):
            density, edges = np.histogram(some, bins=_BINS, range=(-reach, reach))
            axes[0, column].stairs(density / (len(some) * np.diff(edges)), edges, color=colour, linewidth=1.3, label=label)
        axes[0, column].set_yscale("log")
        axes[0, column].set_title(name)
        axes[0, column].set_xlabel("deviation [spreads of the plant]")
    axes[0, 0].set_ylabel("density")
    axes[0, 0].legend(fontsize=7)
    return figure


def _modes(ensembles: Ensembles, modes: list[Modes | None]) -> "Figure":
    shown = [(column, found) for column, found in enumerate(modes) if found is not None]
    figure, axes = make_grid(1, len(shown), 5.5, 2.6)
    for axis, (column, found) in zip(axes[0], shown, strict=True):
        low, high = ensembles.plant.range
        for runs, colour, label in _both(ensembles):
            values = runs[..., column].reshape(-1, runs.shape[2])
            density, edges = np.histogram(values, bins=_BINS, range=(low[column], high[column]), density=True)
            figures = f"{label}: {found.occupancy(values):.0%} in the upper mode, {found.transitions(values):.3g} hops per step"
            axis.stairs(density, edges, color=colour, linewidth=1.4, label=figures)
        for centre in (found.low, found.high):
            axis.axvline(centre, color=LIMIT, linewidth=1.1, linestyle="--")
        axis.set_xlabel(ensembles.plant.output_names[column])
        axis.set_ylim(0.0, axis.get_ylim()[1] * 1.3)
        axis.legend(fontsize=7, loc="upper center")
    axes[0, 0].set_ylabel("density")
    return figure


def _both(ensembles: Ensembles) -> tuple[tuple[Array, str, str], ...]:
    return (ensembles.plant.outputs, PLANT, "plant"), (ensembles.surrogate, SURROGATE, "surrogate")
