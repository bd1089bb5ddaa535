"""Cards of plants without randomness: errors in place of laws."""

import numpy as np
import pytest

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.evaluation.card import Artefact
from surrogate_fmu.evaluation.config import Metric, Verdict, VerifyConfig
from surrogate_fmu.evaluation.plots import draw_all
from surrogate_fmu.evaluation.verify import Verification, verify
from surrogate_fmu.variables import Causality, Variable

SCHEDULES, STEPS = 6, 30
CONFIG = VerifyConfig(leads=(5, 10), rollout_count=0)


def lag(conditions: np.ndarray) -> np.ndarray:
    """(run, step, 1) -> (run, step + 1, 1): a first-order lag."""
    y = np.zeros((len(conditions), conditions.shape[1] + 1, 1))
    for k in range(conditions.shape[1]):
        y[:, k + 1] = 0.9 * y[:, k] + 0.1 * conditions[:, k]
    return y


def recorded(individuals: int = 1, noise: float = 0.0) -> Trajectories:
    rng = np.random.default_rng(1)
    inputs = np.repeat(rng.normal(size=(SCHEDULES, STEPS, 1)).cumsum(axis=1), individuals, axis=0)
    outputs = lag(inputs)
    outputs += noise * rng.normal(size=outputs.shape)
    count = SCHEDULES * individuals
    return Trajectories(
        (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT)),
        1.0,
        inputs,
        np.zeros((count, 0)),
        outputs,
        np.arange(count),
        np.repeat(np.arange(SCHEDULES), individuals),
        {},
    )


def verified(runs: Trajectories, error: float = 0.0, only: int | None = None) -> Verification:
    width = np.ptp(runs.outputs)

    def members(conditions: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        result = lag(conditions)
        result[slice(None) if only is None else only] += error * width
        return result

    return verify(members, runs, CONFIG, Artefact("lag.fmu", "fmu", "0" * 64), "2026-01-01", latent_dim=0)


@pytest.mark.parametrize(
    ("error", "verdict"), [(0.0, Verdict.REPLACE), (0.009, Verdict.REPLACE), (0.02, Verdict.ASSIST), (0.06, Verdict.REJECT)]
)
def test_the_error_decides(error: float, verdict: Verdict) -> None:
    card = verified(recorded(), error).card
    assert card.verdict is verdict
    (gate,) = (gate for gate in card.gates if gate.metric is Metric.ERROR)
    assert gate.value == pytest.approx(error, abs=1e-12)
    assert (card.counts.individuals, card.counts.members) == (1, 1)


def test_one_bad_schedule_does_not_hide_in_the_mean() -> None:
    card = verified(recorded(), 0.022, only=2).card
    by_metric = {gate.metric: gate for gate in card.gates}
    assert by_metric[Metric.ERROR].value == pytest.approx(0.022 / np.sqrt(SCHEDULES))
    assert by_metric[Metric.ERROR_SCHEDULE].value == pytest.approx(0.022)
    assert verified(recorded(), 0.04, only=2).card.verdict is Verdict.ASSIST


def test_repeated_runs_that_are_equal_count_once_and_those_that_differ_need_the_gates_of_spread() -> None:
    assert verified(recorded(individuals=3)).card.counts.individuals == 1
    with pytest.raises(DatasetError, match="at least 8 individuals"):
        verified(recorded(individuals=3, noise=0.1))
    assert verified(recorded(individuals=10, noise=0.5)).card.verdict is Verdict.REJECT  # a spread that the surrogate has not


def test_its_pictures_show_runs_and_errors() -> None:
    pictures = draw_all(verified(recorded(), 0.02))
    assert list(pictures) == ["Runs of plant and surrogate under the same schedules", "Error over time"]
    assert "% of its range" in pictures["Error over time"]


def test_a_run_that_is_not_finite_is_rejected() -> None:
    runs = recorded()
    verification = verify(
        lambda conditions, seeds: np.full((len(conditions), STEPS + 1, 1), np.nan),
        runs,
        CONFIG,
        Artefact("lag.fmu", "fmu", "0" * 64),
        "2026-01-01",
        latent_dim=0,
    )
    assert verification.card.verdict is Verdict.REJECT
    assert draw_all(verification) == {}
