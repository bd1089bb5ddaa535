"""Every known failure is provoked in a surrogate whose law is known, and named; the plant's own law is left alone."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.cli import main as command_line
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.evaluation.config import Balance
from surrogate_fmu.evaluation.diagnostics import measures as module
from surrogate_fmu.evaluation.diagnostics.diagnose import Diagnosis, diagnose
from surrogate_fmu.evaluation.diagnostics.finding import Level
from surrogate_fmu.evaluation.diagnostics.modes import find_modes
from surrogate_fmu.evaluation.diagnostics.page import render_diagnosis
from surrogate_fmu.evaluation.diagnostics.pictures import CAPTIONS
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable

STEPS = 24
VARIABLES = (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT), Variable("m", Causality.OUTPUT))
MANIFEST = Manifest("toy", VARIABLES, 1.0, 1, 2, 1, {name: Interval(-3.0, 3.0) for name in ("u", "y", "m")})


def simulate(
    conditions: np.ndarray,
    seeds: np.ndarray,
    spread: float = 1.0,
    memory: float = 0.9,
    trait: float = 0.5,
    hop: float = 0.08,
    upper: float = 0.0,
    growth: float = 1.0,
    tail: bool = False,
    start: float = 0.0,
) -> np.ndarray:
    """y follows the input with a trait of the individual and coloured noise; m sits in one of two modes and hops."""
    rng = np.random.default_rng(seeds.sum() % 2**32)
    runs, steps = len(seeds), conditions.shape[1]
    individual, noise = trait * rng.standard_normal(runs), rng.standard_normal(runs)
    side = np.where(rng.random(runs) < 0.5 + upper, 1.0, -1.0)
    level = np.zeros(runs)
    path = []
    for step in range(steps + 1):
        kick = rng.standard_t(2, runs) / 2.5 if tail else rng.standard_normal(runs)
        noise = memory * noise + np.sqrt(1.0 - memory**2) * kick
        level = growth * level + (0.2 * (conditions[:, step - 1, 0] - level) if step else 0.0)
        turn = rng.random(runs) < hop * (1.0 - 2.0 * upper * side)
        side = np.where(turn, -side, side)
        path.append(np.stack([level + spread * (individual + 0.5 * noise), side + 0.15 * rng.standard_normal(runs)], axis=1))
    path[0][:, 0] += start
    return np.stack(path, axis=1)


def make_runs(schedules: int, individuals: int, seed: int) -> Trajectories:
    rng = np.random.default_rng(seed)
    inputs = np.repeat(rng.uniform(-2, 2, (schedules, STEPS // 4, 1)), 4, axis=1).repeat(individuals, axis=0)
    seeds = rng.integers(1, 2**31, len(inputs))
    return Trajectories(
        VARIABLES,
        1.0,
        inputs,
        np.zeros((len(inputs), 0)),
        simulate(inputs, seeds),
        seeds,
        np.arange(schedules).repeat(individuals),
    )


TEST = make_runs(12, 48, 1)


def diagnosed(training: Trajectories | None = None, manifest: Manifest = MANIFEST, **changes: object) -> Diagnosis:
    return diagnose(lambda conditions, seeds: simulate(conditions, seeds, **changes), manifest, TEST, training, members=48)


def levels(diagnosis: Diagnosis) -> dict[str, Level]:
    return {finding.name: finding.level for finding in diagnosis.findings if finding.level is not Level.OK}


def test_the_plants_own_law_is_left_alone():
    found = diagnosed(make_runs(100, 1, 5))
    assert levels(found) == {} and found.worst is Level.OK
    assert found.measures["classifier AUC (C2ST)"][0] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("changes", "name", "level"),
    [
        ({"spread": 0.2}, "collapse", Level.FAIL),
        ({"spread": 0.7}, "variance loss", Level.WARN),
        ({"spread": 2.5}, "variance overshoot", Level.FAIL),
        ({"spread": 0.5}, "calibration", Level.FAIL),
        ({"start": 2.0}, "start", Level.FAIL),
        ({"spread": 0.5}, "ranks", Level.FAIL),
        ({"memory": 0.0}, "autocorrelation", Level.WARN),
        ({"memory": 0.0, "trait": 0.0, "spread": 1.41}, "autocorrelation", Level.FAIL),
        ({"memory": 0.0, "trait": 0.0, "spread": 1.41}, "spectrum", Level.FAIL),
        ({"memory": 0.0, "trait": 0.0, "spread": 1.41}, "missing memory", Level.FAIL),
        ({"hop": 0.3}, "mode loss", Level.FAIL),
        ({"upper": 0.3}, "mode loss", Level.FAIL),
        ({"tail": True}, "tails", Level.WARN),
        ({"growth": 1.22}, "divergence", Level.FAIL),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_failures_are_named(changes: dict, name: str, level: Level):
    found = diagnosed(**changes)
    assert levels(found).get(name) in (level, Level.FAIL)
    sentence = next(finding.sentence for finding in found.findings if finding.name == name)
    assert ";" in sentence, "it says what to do"


def test_data_outside_the_domain_are_named():
    narrow = Manifest("toy", VARIABLES, 1.0, 1, 2, 1, {"u": Interval(-1, 1), "y": Interval(-3, 3), "m": Interval(-3, 3)})
    assert levels(diagnosed(manifest=narrow)) == {"domain": Level.FAIL}


def test_runs_known_by_heart_are_named():
    training = make_runs(60, 1, 9)
    known = {run.tobytes(): outputs for run, outputs in zip(training.conditions(), training.outputs, strict=True)}

    def members(conditions: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        fresh = simulate(conditions, seeds)
        for row, condition in enumerate(conditions):
            if condition.tobytes() in known:
                noise = np.random.default_rng(row).standard_normal(fresh[row].shape)
                fresh[row] = known[condition.tobytes()] + 0.3 * noise
        return fresh

    found = diagnose(members, MANIFEST, TEST, training, members=48)
    assert levels(found) == {"overfitting": Level.FAIL}


def test_properties_that_see_nothing_are_named(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module, "run_properties", lambda runs, reference: rng.standard_normal((*runs.shape[:2], 10)))
    found = diagnosed()
    assert levels(found) == {"flawed properties": Level.WARN}


def test_long_runs_keep_the_balances():
    """An output that an input integrates to: without its balance, the long runs would fill it beyond any bound."""
    variables = (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT))
    manifest = Manifest("tank", variables, 1.0, 1, 1, 1, {name: Interval(-9.0, 9.0) for name in ("u", "y")})
    inputs = np.full((6, STEPS), 0.2) * np.array([1.0, -1.0] * 3)[:, None]

    def tank(conditions: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        level = np.concatenate([np.zeros((len(seeds), 1)), np.cumsum(conditions[..., 0], axis=1)], axis=1)
        return (level + 0.1 * np.random.default_rng(seeds[0]).standard_normal((len(seeds), 1)))[..., None]

    inputs = np.repeat(inputs, 8, axis=0)[..., None]
    test = Trajectories(variables, 1.0, inputs, np.zeros((48, 0)), tank(inputs, np.arange(48)), np.arange(48), np.arange(48) // 8)

    def gone(*balances: Balance) -> float:
        found = diagnose(tank, manifest, test, members=8, balances=balances)
        return next(finding.figure for finding in found.findings if finding.name == "divergence")

    assert gone() > 0 and gone(Balance("y", "u", 1.0)) == 0


def test_modes_are_found_where_they_are():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(-1, 0.3, 4000), rng.normal(2, 0.5, 6000)])
    modes = find_modes(two)
    assert modes is not None
    assert (modes.low, modes.high) == pytest.approx((-1, 2), abs=0.15) and modes.occupancy(two) == pytest.approx(0.6, abs=0.02)
    for one in (rng.standard_normal(5000), rng.uniform(-1, 1, 5000), rng.exponential(1, 5000), np.full(100, 3.0)):
        assert find_modes(one) is None
    assert modes.transitions(np.array([[-1.0, 2.0, 0.6, 2.0, -1.0]])) == pytest.approx(2 / 4)


def test_the_page_shows_what_there_is_and_needs_nothing_beside_it():
    found = diagnosed(spread=0.2)
    page = unescape(render_diagnosis(found, "<b>.bundle"))
    assert "<title><b>.bundle: fail</title>" in page
    assert page.count("<svg") == len(CAPTIONS) - 1 and "Singular values" not in page, "no bundle, no derivative"
    assert all(finding.sentence in page for finding in found.findings) and all(m.sentence in page for m in found.measures.values())
    assert page.index(">collapse<") < page.index(">domain<"), "the worst come first"
    assert "hops per step" in page and page.count("in the upper mode") == 2
    assert not re.findall(r"(?:src|href)=.https?:", page)
    assert render_diagnosis(found, "<b>.bundle") == render_diagnosis(found, "<b>.bundle")


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture):
    model = Path(__file__).parents[3] / "models" / "double_well"
    arguments = ["diagnose", str(model / "double_well.bundle"), "--dataset", str(model / "data" / "test.nc"), "--members", "16"]
    assert command_line.main([*arguments, "--json", str(tmp_path / "found.json"), "-o", str(tmp_path / "page")]) == 0
    text = capsys.readouterr().out
    assert (
        "mode loss" in text
        and "latent gain" in text
        and "read it beside recall" in text
        and "classifier AUC" in text
        and "what it means" in text
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert {finding["name"] for finding in found["findings"]} >= {"spread", "mode loss", "divergence", "domain", "latent gain"}
    figure, floor, sentence = found["measures"]["recall"]
    assert 0.0 < figure <= 1.0 and 0.8 < floor <= 1.0 and "collapse" in sentence
    assert (tmp_path / "page" / "diagnosis.json").read_text() == (tmp_path / "found.json").read_text()
    page = (tmp_path / "page" / "diagnosis.html").read_text()
    assert "double_well.bundle" in page and page.count("<svg") == len(CAPTIONS)
    assert all(caption in unescape(page) for caption in CAPTIONS.values())
    assert str(tmp_path / "page" / "diagnosis.html") in text
    assert command_line.main([*arguments[:-1], "1"]) == 2
    assert "must be at least 4" in capsys.readouterr().err
