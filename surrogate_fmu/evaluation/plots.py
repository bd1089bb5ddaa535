"""The pictures of the card: SVG text by name, drawn from the ensembles. Plant blue, surrogate orange, thresholds grey."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation import metrics
from surrogate_fmu.evaluation.card import Card
from surrogate_fmu.evaluation.config import Metric
from surrogate_fmu.evaluation.drawing import INPUT, LIMIT, PLANT, SURROGATE, draw, make_grid
from surrogate_fmu.evaluation.ensembles import Ensembles, PlantEnsemble
from surrogate_fmu.units import parse_unit
from surrogate_fmu.variables import Causality, with_causality

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from surrogate_fmu.evaluation.verify import Verification

Array = NDArray[np.float64]
_SHOWN_SCHEDULES = 3


def draw_all(verification: "Verification") -> dict[str, str]:
    """All pictures that the evidence allows: title to SVG text, in reading order."""
    ensembles, card = verification.ensembles, verification.card
    pictures: dict[str, Callable[[], Figure]] = {}
    if ensembles.surrogate.shape[1] == 1 and np.isfinite(ensembles.surrogate).all():
        pictures["Runs of plant and surrogate under the same schedules"] = lambda: fan_charts(ensembles)
        pictures["Error over time"] = lambda: errors_over_time(ensembles)
    if card.crps_by_schedule:  # the ensembles are finite
        pictures["Runs of plant and surrogate under the same schedules"] = lambda: fan_charts(ensembles)
        pictures["CRPS ratio by schedule"] = lambda: crps_bars(card, ensembles.plant.schedules)
        pictures["Spread and skill over time"] = lambda: spread_against_skill(ensembles)
        pictures["Ranks of plant individuals among surrogate members"] = lambda: rank_histograms(ensembles, verification.leads)
    if card.speeds:
        pictures["Wall time per step"] = lambda: speed_bars(card)
    return draw(pictures)


def fan_charts(ensembles: Ensembles) -> "Figure":
    """Median and 5 to 95 % band of every output over time, three schedules side by side, the first input that moves underneath."""
    plant = ensembles.plant
    chosen = _typical_schedules(plant)
    time, time_unit = _time_axis(plant)
    names, inputs = plant.output_names, with_causality(plant.variables, Causality.INPUT)
    moving = int(np.argmax(np.ptp(plant.conditions[..., : len(inputs)], axis=(0, 1)) > 0.0)) if inputs else 0
    inputs = inputs[moving : moving + 1]
    figure, axes = make_grid(len(names) + len(inputs), len(chosen), 3.7, 1.75)
    for column, schedule in enumerate(chosen):
        axes[0, column].set_title(f"schedule {plant.schedules[schedule]}")
        for row, variable in enumerate(with_causality(plant.variables, Causality.OUTPUT)):
            axis, (scale, offset, unit) = axes[row, column], _display(variable.unit, variable.display_unit)
            for runs, colour, label in (
                (plant.outputs[schedule, :, :, row], PLANT, "plant"),
                (ensembles.surrogate[schedule, :, :, row], SURROGATE, "surrogate"),
            ):
                low, middle, high = np.quantile(runs * scale + offset, (0.05, 0.5, 0.95), axis=0)
                axis.fill_between(time, low, high, color=colour, alpha=0.25, linewidth=0)
                axis.plot(time, middle, color=colour, linewidth=1.4, linestyle="-" if label == "plant" else "--", label=label)
            if column == 0:
                axis.set_ylabel(f"{variable.name}\n[{unit}]")
        for variable in inputs:
            axes[-1, column].step(time[:-1], plant.conditions[schedule, :, moving], color=INPUT, where="post", linewidth=1.2)
            if column == 0:
                axes[-1, column].set_ylabel(f"{variable.name}\n[{variable.unit}]")
        axes[-1, column].set_xlabel(f"time [{time_unit}]")
    axes[0, 0].legend(ncols=2, fontsize=8)
    figure.align_ylabels(axes[:, 0])
    return figure


def errors_over_time(ensembles: Ensembles) -> "Figure":
    """Root mean square and largest error over the schedules, per output, as a share of the plant's range."""
    plant = ensembles.plant
    low, high = plant.range
    errors = np.abs(ensembles.surrogate - plant.outputs)[:, 0] / np.maximum(high - low, 1e-12)
    time, time_unit = _time_axis(plant)
    figure, axes = make_grid(1, len(plant.output_names), 2.9, 2.4)
    for column, name in enumerate(plant.output_names):
        axis = axes[0, column]
        axis.plot(time, 100.0 * np.sqrt((errors[..., column] ** 2).mean(axis=0)), color=SURROGATE, label="root mean square")
        axis.plot(time, 100.0 * errors[..., column].max(axis=0), color=SURROGATE, linestyle=":", label="largest")
        axis.set_title(f"{name} [% of its range]")
        axis.set_xlabel(f"time [{time_unit}]")
        axis.set_ylim(bottom=0.0)
    axes[0, 0].legend(fontsize=7)
    return figure


def spread_against_skill(ensembles: Ensembles) -> "Figure":
    """Spread (dashed) and skill (solid) of the surrogate, and the spread of the plant's individuals, pooled over schedules."""
    plant = ensembles.plant
    outputs = with_causality(plant.variables, Causality.OUTPUT)
    spread, skill = metrics.spread_and_skill(plant.outputs, ensembles.surrogate)
    individuals = plant.outputs.shape[1]
    own = np.sqrt(plant.outputs.var(axis=1, ddof=1).mean(axis=0) * (individuals + 1) / individuals)
    time, time_unit = _time_axis(plant)
    figure, axes = make_grid(1, len(outputs), 2.9, 2.4)
    for column, variable in enumerate(outputs):
        axis, (scale, offset, unit) = axes[0, column], _display(variable.unit, variable.display_unit)
        if offset:  # a difference of temperatures is in K, not in degC
            scale, unit = 1.0, variable.unit
        axis.plot(time, own[:, column] * scale, color=PLANT, linewidth=1.6, label="plant: spread")
        axis.plot(time, skill[:, column] * scale, color=SURROGATE, linewidth=1.4, label="surrogate: error of its mean")
        axis.plot(time, spread[:, column] * scale, color=SURROGATE, linewidth=1.4, linestyle="--", label="surrogate: spread")
        axis.set_title(f"{variable.name} [{unit}]")
        axis.set_xlabel(f"time [{time_unit}]")
        axis.set_ylim(bottom=0.0)
    axes[0, 0].legend(fontsize=7)
    return figure


def rank_histograms(ensembles: Ensembles, leads: tuple[int, ...]) -> "Figure":
    """Histogram of rank positions at the leads, per output; flat is calibrated. The grey band holds 95 % of flat ones."""
    plant, bins = ensembles.plant, 10
    low, high = plant.range
    positions = metrics.rank_positions(
        plant.outputs, ensembles.surrogate, 1e-4 * (high - low) + 1e-12, leads, np.random.default_rng(0)
    )
    names = plant.output_names
    figure, axes = make_grid(1, len(names), 2.9, 2.3)
    deviation = 1.96 * np.sqrt(bins / positions.shape[1])  # independent runs at one lead
    for column, name in enumerate(names):
        axis = axes[0, column]
        for index, lead in enumerate(leads):
            density, edges = np.histogram(positions[index, :, column], bins=bins, range=(0.0, 1.0), density=True)
            shade = 0.35 + 0.65 * index / max(1, len(leads) - 1)
            axis.stairs(density, edges, color=SURROGATE, alpha=shade, linewidth=1.4, label=f"step {lead}")
        axis.axhspan(1 - deviation, 1 + deviation, color=LIMIT, alpha=0.25, linewidth=0)
        axis.axhline(1.0, color=LIMIT, linewidth=1.0)
        axis.set_title(name)
        axis.set_xlabel("rank position")
        axis.set_ylim(bottom=0.0)
    axes[0, 0].set_ylabel("density")
    axes[0, 0].legend(fontsize=7)
    return figure


def crps_bars(card: Card, schedules: tuple[int, ...]) -> "Figure":
    """CRPS ratio of every schedule and output with the thresholds of the worst schedule."""
    gates = {g.output: g for g in card.gates if g.metric is Metric.CRPS_SCHEDULE}
    names = list(card.crps_by_schedule)
    figure, axes = make_grid(1, len(names), 2.9, 2.4)
    for column, name in enumerate(names):
        axis, gate = axes[0, column], gates[name]
        ratios = np.array(card.crps_by_schedule[name])
        axis.bar(np.arange(len(ratios)), ratios, color=SURROGATE, width=0.7)
        axis.axhline(1.0, color=PLANT, linewidth=1.4, label="plant's own law")
        for band, style, label in ((gate.replace_threshold, "--", "replace"), (gate.assist_threshold, ":", "assist")):
            axis.axhline(band.high, color=INPUT, linewidth=1.1, linestyle=style, label=label)
        axis.set_title(name)
        axis.set_xlabel("schedule")
        ticks = np.arange(0, len(ratios), max(1, len(ratios) // 6))
        axis.set_xticks(ticks, [str(schedules[tick]) for tick in ticks])
        axis.grid(axis="x", visible=False)
        axis.set_ylim(0.0, max(float(ratios.max()), float(gate.assist_threshold.high or 0.0)) * 1.12)
    axes[0, 0].set_ylabel("CRPS / plant's own CRPS")
    axes[0, 0].legend(fontsize=7, loc="lower left", framealpha=0.85, frameon=True)
    return figure


def speed_bars(card: Card) -> "Figure":
    """Wall time per communication step, logarithmic, with the speed-up over the plant."""
    labels = list(card.speeds)[::-1]
    figure, axes = make_grid(1, 1, 7.5, 0.6 + 0.42 * len(labels))
    axis = axes[0, 0]
    times = [1e3 * card.speeds[label].seconds_per_step for label in labels]
    axis.barh(labels, times, color=[PLANT if label == "plant" else SURROGATE for label in labels], height=0.6)
    for row, (label, time) in enumerate(zip(labels, times, strict=True)):
        ratio = card.speeds[label].ratio
        text = f" {time:.3g} ms" + (f", {ratio:,.0f} times faster" if ratio is not None and label != "plant" else "")
        axis.text(time, row, text, va="center", fontsize=8.5)
    axis.set_xscale("log")
    axis.set_xlim(min(times) / 3, max(times) * 12)
    axis.set_xlabel("wall time per step [ms]")
    axis.grid(axis="y", visible=False)
    return figure


def _typical_schedules(plant: PlantEnsemble) -> list[int]:
    """Three schedules from little to much scatter of the plant, so that no choice flatters."""
    variance = plant.outputs.var(axis=1).mean(axis=1)
    order = np.argsort((variance / np.maximum(variance.mean(axis=0), 1e-30)).mean(axis=1))
    picks = np.linspace(0, len(order) - 1, min(_SHOWN_SCHEDULES, len(order))).round().astype(int)
    return [int(order[pick]) for pick in picks]


def _time_axis(plant: PlantEnsemble) -> tuple[Array, str]:
    time = plant.communication_step_size * np.arange(plant.outputs.shape[2], dtype=np.float64)
    return (time / 60.0, "min") if time[-1] > 600.0 else (time, "s")


def _display(unit: str, display_unit: str | None) -> tuple[float, float, str]:
    """Factor, offset and name that turn a value in `unit` into the display unit."""
    if display_unit is None or display_unit == unit:
        return 1.0, 0.0, unit
    source, target = parse_unit(unit), parse_unit(display_unit)
    return source.factor / target.factor, (source.offset - target.offset) / target.factor, display_unit
