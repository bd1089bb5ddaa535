"""The gates on the battery cell itself: the shipped bundle passes, and what was done to it on purpose is found out."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle, read_bundle
from surrogate_fmu.bundle.torchscript import _DeprecationsIgnored, export_bundle
from surrogate_fmu.config import SurrogateConfig, load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.evaluation.card import Artefact, Card
from surrogate_fmu.evaluation.config import Metric, Verdict
from surrogate_fmu.evaluation.members import batched_members
from surrogate_fmu.evaluation.verify import verify
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.loop import train

pytestmark = pytest.mark.slow
CELL = Path(__file__).parents[2] / "models" / "dfn_cell"


class Muted(torch.nn.Module):
    """The generator with its latents ignored: every cell is the median cell."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.inner.initial(x, torch.zeros_like(z))
        return y, h

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.inner(x, torch.zeros_like(z), h)
        return y, h


class Drifting(torch.nn.Module):
    """The generator with a voltage that drifts away, slowly enough to look right at first."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.inner.initial(x, z)
        return y, torch.cat([torch.zeros_like(h[:, :1]), h], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        drift = h[:, :1] + 2e-4  # [V] a step: 24 mV at the end of a run, 200 mV after a thousand steps
        y, inner = self.inner(x, z, h[:, 1:])
        return y + torch.cat([drift, torch.zeros_like(y[:, 1:])], dim=1), torch.cat([drift, inner], dim=1)


@pytest.fixture(scope="module")
def config() -> SurrogateConfig:
    return load_config(CELL / "surrogate.toml")


@pytest.fixture(scope="module")
def test_runs(config: SurrogateConfig) -> Trajectories:
    return read_trajectories(config.dataset_path("test"))


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return read_bundle(CELL / "dfn_cell.bundle")


def changed(shipped: Bundle, wrapper: type[torch.nn.Module], more_hidden: int = 0) -> Bundle:
    with _DeprecationsIgnored():
        inner = torch.jit.load(io.BytesIO(shipped.payload))
    manifest = shipped.manifest
    return export_bundle(wrapper(inner), manifest.replace(hidden_dim=manifest.hidden_dim + more_hidden))


def card_of(bundle: Bundle, runs: Trajectories, config: SurrogateConfig) -> Card:
    settings = dataclasses.replace(config.verify, resamples=100)
    return verify(batched_members(bundle), runs, settings, Artefact("cell.bundle", "bundle", "0" * 64), "2026-01-01").card


def rejecting(card: Card) -> set[tuple[Metric, str | None]]:
    return {(gate.metric, gate.output) for gate in card.gates if gate.verdict is Verdict.REJECT}


def test_the_shipped_bundle_is_not_rejected(shipped: Bundle, test_runs: Trajectories, config: SurrogateConfig):
    card = card_of(shipped, test_runs, config)
    assert card.verdict is not Verdict.REJECT, rejecting(card)


def test_an_ignored_latent_is_rejected_by_the_spread_of_every_output(
    shipped: Bundle, test_runs: Trajectories, config: SurrogateConfig
):
    card = card_of(changed(shipped, Muted), test_runs, config)
    assert card.verdict is Verdict.REJECT
    assert {(Metric.SPREAD, name) for name in ("voltage", "temperature", "soc", "heat")} <= rejecting(card)


def test_a_drift_is_rejected_by_scores_and_bias_of_the_voltage_alone(
    shipped: Bundle, test_runs: Trajectories, config: SurrogateConfig
):
    card = card_of(changed(shipped, Drifting, more_hidden=1), test_runs, config)
    assert card.verdict is Verdict.REJECT
    assert {(Metric.CRPS, "voltage"), (Metric.BIAS, "voltage")} <= rejecting(card)
    assert {output for _, output in rejecting(card)} <= {"voltage", None}


def test_a_tenth_of_the_data_for_a_tenth_of_the_time_is_rejected(test_runs: Trajectories, config: SurrogateConfig):
    runs, validation = (read_trajectories(config.dataset_path(split)) for split in ("train", "validation"))
    tenth = runs.select(range(len(runs) // 10))
    settings = dataclasses.replace(config.training, updates=300, validations=2)
    trained = make_trained_bundle("dfn_cell", "", train(tenth, validation, settings), tenth, validation, settings)
    card = card_of(trained, test_runs, config)
    assert card.verdict is Verdict.REJECT
    assert Metric.CRPS_SCHEDULE in {metric for metric, _ in rejecting(card)}
