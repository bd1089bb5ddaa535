"""The card: order of verdicts, JSON, terminal lines, and a page that loads nothing."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import VerdictError
from surrogate_fmu.evaluation.card import Artefact, Card, Counts, GateResult, Speed, format_band, verdict_lines, worst_verdict
from surrogate_fmu.evaluation.config import Balance, Band, Gate, Gates, Metric, Verdict, VerifyConfig
from surrogate_fmu.evaluation.members import batched_members
from surrogate_fmu.evaluation.plots import draw_all
from surrogate_fmu.evaluation.report import write_report
from surrogate_fmu.evaluation.verify import Verification, verify
from surrogate_fmu.schema import SchemaError, decode, encode
from tests.evaluation import worlds


def gate(verdict: Verdict, name: str = "CRPS ratio", **changes) -> GateResult:
    result = GateResult(
        Metric.CRPS, name, "What it is.", 1.05, Band(high=1.1), Band(high=1.25), verdict, "voltage", Band(high=1.04), Band(1.0, 1.1)
    )
    return dataclasses.replace(result, **changes)


def card(*gates: GateResult, **changes) -> Card:
    counts = Counts(12, 24, 96, 120, 64, 1000)
    made = Card(worst_verdict(gates), gates, Artefact("cell.fmu", "fmu", "ab" * 32), "cd" * 32, counts, "2026-01-01", 10.0)
    return dataclasses.replace(made, **changes)


def test_the_worst_gate_decides() -> None:
    replace, assist, reject = (gate(verdict) for verdict in Verdict)
    assert worst_verdict((replace, replace)) is Verdict.REPLACE
    assert worst_verdict((replace, assist)) is Verdict.ASSIST
    assert worst_verdict((assist, reject, replace)) is Verdict.REJECT
    assert worst_verdict(()) is Verdict.REJECT


def test_a_card_survives_json_and_equal_cards_give_equal_bytes() -> None:
    made = card(
        gate(Verdict.REPLACE),
        gate(Verdict.ASSIST, output=None, floor=None, interval=None, decisive=False),
        speeds={"plant": Speed(0.04), "FMU": Speed(2e-4, 200.0)},
        versions={"numpy": "2"},
        crps_by_schedule={"voltage": (1.0, 1.2)},
    )
    again = Card.from_json(made.to_json())
    assert again == made and again.to_json() == made.to_json()


def test_a_card_that_was_changed_is_refused() -> None:
    data = json.loads(card(gate(Verdict.REJECT)).to_json())
    with pytest.raises(VerdictError, match="not that of the gates"):
        Card.from_json(json.dumps(data | {"verdict": "replace"}))
    with pytest.raises(VerdictError, match="version 2"):
        Card.from_json(json.dumps(data | {"card_version": 2}))
    with pytest.raises(VerdictError, match="verdit"):
        Card.from_json(json.dumps(data | {"verdit": "replace"}))
    with pytest.raises(VerdictError, match="not JSON"):
        Card.from_json("{")


def test_the_terminal_sees_ten_lines_with_the_worst_gates_first() -> None:
    gates = [gate(Verdict.ASSIST, f"a{i}") for i in range(9)] + [gate(Verdict.REPLACE), gate(Verdict.REJECT, "bad")]
    lines = verdict_lines(card(*gates))
    assert len(lines) == 10
    assert lines[0].startswith("REJECT  cell.fmu") and "reject  bad of voltage: 1.05, replace <= 1.1, assist <= 1.25" in lines[2]
    assert lines[-2].strip() == "and 4 more gates below replace" and "1 of 11 gates" in lines[-1]
    assert len(verdict_lines(card(gate(Verdict.REPLACE)))) == 3
    assert "too few plant runs" in "".join(verdict_lines(card(gate(Verdict.ASSIST, decisive=False))))


def test_bands() -> None:
    assert [format_band(b) for b in (Band(), Band(0.5), Band(high=2.0), Band(0.5, 2.0))] == [
        "any",
        ">= 0.5",
        "<= 2",
        "0.5 to 2",
    ]
    assert Band(0.5, 2.0).holds(0.5) and Band(0.5, 2.0).holds(2.0) and not Band(0.5, 2.0).holds(2.1)
    assert not Band(high=2.0).holds(float("nan"))
    assert Band(0.5, 2.0).widened(Band(0.7, 3.0)) == Band(0.5, 3.0)
    assert Band(high=1.0).widened(Band(high=2.0)) == Band(high=2.0)


def test_settings_are_read_strictly_and_refused_with_a_reason() -> None:
    config = VerifyConfig(balances=(Balance("soc", "current", -5.45e-5),), gates=Gates(bias=Gate(Band(high=0.1), Band(high=0.2))))
    assert decode(VerifyConfig, encode(config)) == config
    assert set(config.gates.by_metric()) == set(Metric) - {Metric.BALANCE}
    for data, message in (
        ({"member": 20}, "did you mean 'members'"),
        ({"members": 4}, "use at least 8"),
        ({"leads": [30, 10]}, "ascending"),
        ({"gates": {"bias": {"replace": {"high": 2.0}, "assist": {"high": 1.0}}}}, "must hold the replace band"),
        ({"gates": {"spread": {"replace": {"low": 2.0, "high": 1.0}, "assist": {}}}}, "low 2 is above high 1"),
        ({"balances": [{"output": "soc", "input": "current", "gain": 0.0}]}, "gain is 0"),
        ({"balances": [{"output": "s", "input": "i", "gain": 1.0, "tolerance": 0.2}]}, "assist_tolerance"),
        ({"resamples": 3}, "at least 50"),
        ({"resolution": 0.5}, "small fraction"),
        ({"rollout_steps": 0}, "rollout_steps 0"),
    ):
        with pytest.raises(SchemaError, match=message):
            decode(VerifyConfig, data)


@pytest.fixture(scope="module")
def verification(toy_bundle: Bundle) -> Verification:
    speeds = {"plant": Speed(0.04), "FMU <through> FMPy": Speed(2e-4, 200.0)}
    config = VerifyConfig(members=24, rollout_count=2, rollout_steps=30, resamples=50)
    runs = worlds.toy_runs(toy_bundle, schedules=3)
    artefact = Artefact("thermal<mass>.fmu", "fmu", "ab" * 32)
    return verify(batched_members(toy_bundle), runs, config, artefact, "2026-01-01T00:00:00Z", speeds)


def test_the_page_is_one_file_that_loads_nothing(verification: Verification, tmp_path: Path) -> None:
    figures = draw_all(verification)
    assert len(figures) == 5
    html_path, json_path = write_report(verification.card, figures, tmp_path / "new" / "folder")
    page = html_path.read_text(encoding="utf-8")
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http" not in without_namespaces
    for loader in ("<script", "<link", "<iframe", "@import", "src=", "url(file"):
        assert loader not in page
    assert set(re.findall(r'href="(.)', page)) <= {"#"}
    assert page.count("<svg") == 5 and verification.card.verdict.value.upper() in page
    assert "thermal&lt;mass&gt;.fmu" in page and "thermal<mass>" not in page
    assert "0.04" not in page or "40 ms" in page
    assert Card.from_json(json_path.read_text(encoding="utf-8")) == verification.card


def test_equal_evidence_draws_equal_bytes(verification: Verification) -> None:
    assert draw_all(verification) == draw_all(verification)


def test_a_card_on_runs_that_are_not_finite_still_makes_a_page(toy_bundle: Bundle, tmp_path: Path) -> None:
    def broken(conditions, seeds):
        return np.full((len(conditions), conditions.shape[1] + 1, 2), np.nan)

    config = VerifyConfig(members=8, rollout_count=0)
    made = verify(broken, worlds.toy_runs(toy_bundle, schedules=2), config, Artefact("a", "fmu", ""), "2026-01-01")
    assert draw_all(made) == {}
    page = write_report(made.card, {}, tmp_path)[0].read_text(encoding="utf-8")
    assert "REJECT" in page and "diverging members" in page
