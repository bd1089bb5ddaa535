"""A diagnosis as files: one HTML page in the style of the card that needs nothing beside it, and the JSON."""

import dataclasses
import json
from pathlib import Path

from surrogate_fmu.evaluation.diagnostics.diagnose import Diagnosis
from surrogate_fmu.evaluation.diagnostics.finding import Level, worst_first
from surrogate_fmu.evaluation.diagnostics.pictures import CAPTIONS, draw_diagnosis
from surrogate_fmu.evaluation.report import render_page

_COLOURS = {Level.OK: "replace", Level.WARN: "assist", Level.FAIL: "reject"}
_MEANING = {
    Level.OK: "None of the known failures is seen.",
    Level.WARN: "Something is off, within what some uses can bear; the first rows say what, and what to do.",
    Level.FAIL: "A known failure is seen; the first rows say which, and what to do.",
}


def write_page(diagnosis: Diagnosis, name: str, folder: Path) -> tuple[Path, Path]:
    """Write `diagnosis.html` and `diagnosis.json` into a folder, which is made if need be.

    Args:
        diagnosis: what was seen.
        name: of what was looked at.
        folder: where to.

    Returns:
        The paths of the HTML and the JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html_path, json_path = folder / "diagnosis.html", folder / "diagnosis.json"
    html_path.write_text(render_diagnosis(diagnosis, name), encoding="utf-8")
    json_path.write_text(to_json(diagnosis), encoding="utf-8")
    return html_path, json_path


def render_diagnosis(diagnosis: Diagnosis, name: str) -> str:
    """The page: findings, the worst first, pictures, measures. Nothing in it is loaded from elsewhere."""
    return render_page(
        "diagnostics/diagnosis_template.html",
        title=f"{name}: {diagnosis.worst.value}",
        accent=_COLOURS[diagnosis.worst],
        name=name,
        diagnosis=diagnosis,
        meaning=_MEANING[diagnosis.worst],
        findings=worst_first(diagnosis.findings),
        level_counts={level.value: sum(finding.level is level for finding in diagnosis.findings) for level in Level},
        ensembles=diagnosis.ensembles,
        colours=_COLOURS,
        figures=draw_diagnosis(diagnosis),
        captions=CAPTIONS,
    )


def to_json(diagnosis: Diagnosis) -> str:
    """Findings, and measures as [figure, the plant's own, sentence]."""
    data = {"findings": [dataclasses.asdict(finding) for finding in diagnosis.findings], "measures": diagnosis.measures}
    return json.dumps(data, indent=1) + "\n"
