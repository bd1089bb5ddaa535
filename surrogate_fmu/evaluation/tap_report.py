"""What the logs of a tap say of a surrogate beside its plant, as lines for a terminal and as one HTML page."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surrogate_fmu.errors import DatasetError
from surrogate_fmu.evaluation.card import format_share
from surrogate_fmu.evaluation.drawing import LIMIT, draw
from surrogate_fmu.evaluation.report import render_page
from surrogate_fmu.evaluation.system_report import draw_pair
from surrogate_fmu.fmu.tap.guard import Handover, Leader
from surrogate_fmu.fmu.tap.plan import Mode
from surrogate_fmu.fmu.tap.reading import TapRun
from surrogate_fmu.variables import Causality

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN, _SHOWN = 12, 200


@dataclass(frozen=True)
class OutputError:
    """One output of the surrogate against the plant's, as shares of the plant's range, over all runs.

    Attributes:
        name: of the output.
        mean: of the surrogate minus the plant.
        rmse: root mean square of it.
        spread: standard deviation of it.
        largest: of its absolute values.
        worst_run: which run that is in.
    """

    name: str
    mean: float
    rmse: float
    spread: float
    largest: float
    worst_run: int


@dataclass(frozen=True)
class TapReport:
    """Logs of one plant with one surrogate.

    Attributes:
        runs: that were read.
        points: where the outputs of both are known.
        outputs: largest error first.
        handovers: with the log that they are in.
        led_by_surrogate: share of the steps.
        plant_s, surrogate_s: wall time of a step, mean over those that were taken [s]; 0 where none was.
        replay_s: wall time of all replays [s].
    """

    runs: tuple[TapRun, ...]
    points: int
    outputs: tuple[OutputError, ...]
    handovers: tuple[tuple[str, Handover], ...]
    led_by_surrogate: float
    plant_s: float
    surrogate_s: float
    replay_s: float


def report_of(runs: Sequence[TapRun]) -> TapReport:
    """Compare the two wherever both stepped; of a guarded run also what was replayed.

    Raises:
        DatasetError: no log has a surrogate, or the two stepped together nowhere.
    """
    shared = [run for run in runs if run.mode is not Mode.RECORD]
    if not shared:
        raise DatasetError(
            f"{runs[0].path} and the logs beside it are of the plant alone; make a dataset of them (--to-dataset), or tap "
            "the plant with --mode shadow"
        )
    both = [np.isfinite(run.plant).all(axis=1) & np.isfinite(run.surrogate_outputs).all(axis=1) for run in shared]
    if not any(known.any() for known in both):
        raise DatasetError(f"in {shared[0].path} and the logs beside it plant and surrogate have no step in common; run longer")
    errors = [run.surrogate_outputs[known] - run.plant[known] for run, known in zip(shared, both, strict=True)]
    plant = np.concatenate([run.plant[known] for run, known in zip(shared, both, strict=True)])
    outputs = [_output(name, column, errors, plant) for column, name in enumerate(shared[0].names(Causality.OUTPUT))]
    leads = np.concatenate([run.plant_leads for run in shared])
    plant_s, surrogate_s = (np.concatenate(times) for times in ([r.plant_s for r in shared], [r.surrogate_s for r in shared]))
    return TapReport(
        tuple(shared),
        len(plant),
        tuple(sorted(outputs, key=lambda output: -output.rmse)),
        tuple((run.path.name, handover) for run in shared for handover in run.handovers),
        float((~leads).mean()),
        float(plant_s[leads].mean()) if leads.any() else 0.0,
        float(surrogate_s.mean()),
        sum(handover.seconds for run in shared for handover in run.handovers),
    )


def report_lines(report: TapReport) -> list[str]:
    """The table for a terminal."""
    width = max(len(output.name) for output in report.outputs)
    lines = [f"{'output':{width}}  {'mean error':>10}  {'rms error':>10}  {'largest':>10}"]
    lines += [
        f"{o.name:{width}}  {format_share(o.mean):>10}  {format_share(o.rmse):>10}  {format_share(o.largest):>10}"
        for o in report.outputs
    ]
    lines.append(f"at {report.points} points of {len(report.runs)} runs, as shares of the plant's range there")
    out = sum(handover.to is Leader.PLANT for _, handover in report.handovers)
    lines.append(f"the surrogate led {format_share(report.led_by_surrogate)} of the steps; the solver took over {out} x")
    lines.append(
        f"a step: {report.plant_s:.3g} s of the plant, {report.surrogate_s:.3g} s of the surrogate; replays {report.replay_s:.3g} s"
    )
    return lines


def write_tap_report(report: TapReport, folder: Path) -> Path:
    """Write `tap.html` into a folder, which is made if need be; the file's path."""
    drawn = report.outputs[:_DRAWN]
    page = render_page(
        "tap_template.html",
        title=f"{report.runs[0].fmu}, {report.runs[0].surrogate}",
        accent="soft",
        report=report,
        handovers=report.handovers[:_SHOWN],
        figures=draw({output.name: functools.partial(_picture, report, output) for output in drawn}),
        left_out=len(report.outputs) - len(drawn),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tap.html"
    path.write_text(page, encoding="utf-8")
    return path


def _output(name: str, column: int, errors: Sequence[np.ndarray], plant: np.ndarray) -> OutputError:
    width = max(float(np.ptp(plant[:, column])), 1e-300)
    shares = [error[:, column] / width for error in errors]
    together = np.concatenate(shares)
    largest = [float(np.abs(share).max(initial=0.0)) for share in shares]
    return OutputError(
        name,
        float(together.mean()),
        float(np.sqrt((together**2).mean())),
        float(together.std()),
        max(largest),
        largest.index(max(largest)),
    )


def _picture(report: TapReport, output: OutputError) -> "Figure":
    """The run with the largest error; where the plant leads in a guarded one, the ground is grey."""
    run = report.runs[output.worst_run]
    column = run.names(Causality.OUTPUT).index(output.name)
    pair = {"plant": run.plant[None, :, column], "surrogate": run.surrogate_outputs[None, :, column]}
    figure = draw_pair(f"{output.name}, {run.path.name}", run.times, pair)
    if run.mode is Mode.GUARDED:
        edges = run.times[np.flatnonzero(np.diff(run.plant_leads.astype(int), prepend=0, append=0))]
        spans = [(begin, end - begin) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
        axes = figure.axes[0]
        axes.broken_barh(spans, (0.0, 1.0), transform=axes.get_xaxis_transform(), color=LIMIT, alpha=0.2, linewidth=0)
    return figure
