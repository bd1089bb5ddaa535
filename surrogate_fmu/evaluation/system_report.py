"""A comparison of two systems as lines for a terminal and as one HTML page that needs nothing beside it."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation.card import format_share
from surrogate_fmu.evaluation.drawing import PLANT, SURROGATE, draw
from surrogate_fmu.evaluation.report import render_page
from surrogate_fmu.ssp.compare import Comparison, SignalDifference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_DRAWN = 12


def comparison_lines(comparison: Comparison) -> list[str]:
    """The table for a terminal."""
    width = max(len(signal.name) for signal in comparison.signals)
    random = any(signal.spread_before or signal.spread_after for signal in comparison.signals)
    lines = [f"{'signal':{width}}  {'rms error':>10}  {'largest':>10}" + (f"  {'spread':>18}" if random else "")]
    for signal in comparison.signals:
        spread = f"  {format_share(signal.spread_before)} -> {format_share(signal.spread_after)}" if random else ""
        lines.append(f"{signal.name:{width}}  {format_share(signal.rmse):>10}  {format_share(signal.largest):>10}{spread}")
    lines.append("errors and spread as shares of the signal's range before")
    for path in comparison.swapped:
        before, after = comparison.seconds_before[path], comparison.seconds_after[path]
        lines.append(f"{path}: {before:.3g} s of steps before, {after:.3g} s after: {before / max(after, 1e-9):.0f} times faster")
    lines.append(
        f"the system: {comparison.wall_before:.3g} s before, {comparison.wall_after:.3g} s after: "
        f"{comparison.wall_before / max(comparison.wall_after, 1e-9):.1f} times faster"
    )
    return lines


def write_comparison(comparison: Comparison, before: str, after: str, folder: Path) -> Path:
    """Write `compare.html` into a folder, which is made if need be; the file's path."""
    drawn = comparison.signals[:_DRAWN]
    page = render_page(
        "system_template.html",
        title=f"{before}, {after}",
        accent="soft",
        comparison=comparison,
        before=before,
        after=after,
        figures=draw(
            {
                signal.name: functools.partial(draw_pair, signal.name, comparison.times, _pair(comparison, signal))
                for signal in drawn
            }
        ),
        left_out=len(comparison.signals) - len(drawn),
        shares=[(before, _shares(comparison.seconds_before)), (after, _shares(comparison.seconds_after))],
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "compare.html"
    path.write_text(page, encoding="utf-8")
    return path


def _shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Share of each component in the wall time of all steps."""
    total = max(sum(seconds.values()), 1e-12)
    return {path: value / total for path, value in seconds.items()}


def _pair(comparison: Comparison, signal: SignalDifference) -> dict[str, Array]:
    return {"before": comparison.before[signal.name], "after": comparison.after[signal.name]}


def draw_pair(title: str, times: Array, runs: Mapping[str, Array]) -> "Figure":
    """One signal of the plant and of its surrogate, and the difference of the means.

    Args:
        title: of the picture.
        times: (point,) [s].
        runs: two arrays (run, point) by what they are called, the plant's first.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for (label, values), colour, line in zip(runs.items(), (PLANT, SURROGATE), ("-", "--"), strict=True):
        upper.plot(times, values.mean(axis=0), color=colour, linestyle=line, linewidth=1.4, label=label)
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            upper.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
    upper.set_title(title)
    upper.legend(ncols=2, fontsize=8)
    plant, surrogate = (values.mean(axis=0) for values in runs.values())
    lower.plot(times, surrogate - plant, color=SURROGATE, linewidth=1.0)
    lower.set_ylabel("difference")
    lower.set_xlabel("time [s]")
    lower.ticklabel_format(axis="y", scilimits=(-3, 3))
    return figure
