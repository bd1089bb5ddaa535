"""`surrogate-fmu verify` on files."""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle, read_bundle, write_archive
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.cli import verify as verb
from surrogate_fmu.config import SurrogateSection
from surrogate_fmu.dataset.store import write_trajectories
from surrogate_fmu.errors import ConfigError, VerdictError
from surrogate_fmu.evaluation.card import Card
from surrogate_fmu.evaluation.config import Verdict, VerifyConfig
from surrogate_fmu.plant.source import PlantSource
from tests.evaluation import worlds
from tests.toy import MANIFEST


class Deaf(torch.nn.Module):
    """A generator that stays where it starts."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        y = x[:, :2] + 0.0 * z[:, :2]
        return y, y

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, h


PLANT = """
import time
from tests.toy import MANIFEST, STEP_SIZE

class Slow:
    variables = MANIFEST.variables
    communication_step_size = STEP_SIZE

    def reset(self, seed, parameters):
        assert set(parameters) == {v.name for v in MANIFEST.parameters}
        return {}

    def do_step(self, inputs, communication_step_size):
        assert set(inputs) == {v.name for v in MANIFEST.inputs} and communication_step_size == STEP_SIZE
        time.sleep(0.02)
        return {}
"""


@dataclass
class Settings:
    folder: Path
    verify: VerifyConfig
    surrogate: SurrogateSection = field(default_factory=lambda: SurrogateSection("toy", plant="slow.py:Slow"))

    @property
    def plant_source(self) -> PlantSource:
        return PlantSource(self.surrogate.plant, self.folder)

    def check_variables(self, variables: object, where: str) -> None:
        assert variables == MANIFEST.variables

    def dataset_path(self, split: str) -> Path:
        return self.folder / f"{split}.nc"


@pytest.fixture
def folder(toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    runs = worlds.toy_runs(toy_bundle)
    write_trajectories(runs, tmp_path / "test.nc")
    (tmp_path / "slow.py").write_text(PLANT)
    config = VerifyConfig(rollout_count=4, rollout_steps=60, resamples=100)
    monkeypatch.setattr("surrogate_fmu.config.load_config", lambda path: Settings(path.parent, config))
    return tmp_path


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args(words)


def test_the_verb_prints_the_verdict_and_writes_the_card(
    toy_bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_archive(toy_bundle, folder / "toy.bundle")
    words = (str(folder / "toy.bundle"), "--config", str(folder / "surrogate.toml"), "-o", str(folder / "out"), "--members", "48")
    assert verb.run(arguments(*words, "--rollouts", "3", "--time-plant", "--embed")) == 0
    assert capsys.readouterr().out.startswith("REPLACE  toy.bundle")
    card = Card.from_json((folder / "out" / "card.json").read_text())
    assert card.verdict is Verdict.REPLACE and (card.counts.members, card.counts.rollouts) == (48, 3)
    assert set(card.speeds) == {"plant", "session"} and (card.speeds["session"].ratio or 0.0) > 1.0
    assert card.speeds["plant"].seconds_per_step >= 0.02
    assert (folder / "out" / "card.html").is_file()
    kept = read_bundle(folder / "toy.bundle")
    assert kept.manifest.card == json.loads(card.to_json()) and kept.payload == toy_bundle.payload


def test_a_rejected_artefact_is_an_error_and_still_has_a_card(folder: Path) -> None:
    write_archive(export_bundle(Deaf(), MANIFEST), folder / "deaf.bundle")
    with pytest.raises(VerdictError, match="was rejected"):
        verb.run(arguments(str(folder / "deaf.bundle"), "--config", str(folder / "surrogate.toml")))
    assert Card.from_json((folder / "card" / "card.json").read_text()).verdict is Verdict.REJECT


def test_what_cannot_be_verified_is_refused(folder: Path) -> None:
    config = ("--config", str(folder / "surrogate.toml"))
    with pytest.raises(ConfigError, match=r"takes a \.fmu or a \.bundle"):
        verb.run(arguments(str(folder / "a.onnx"), *config))
    with pytest.raises(ConfigError, match="there is no file"):
        verb.run(arguments(str(folder / "a.fmu"), *config))
    write_archive(export_bundle(Deaf(), MANIFEST), folder / "deaf.bundle")
    with pytest.raises(ConfigError, match=r"--rollouts: rollout_count -1"):
        verb.run(arguments(str(folder / "deaf.bundle"), *config, "--rollouts", "-1"))
    (folder / "a.fmu").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"--embed writes into a bundle, .*a\.fmu is none"):
        verb.run(arguments(str(folder / "a.fmu"), *config, "--embed"))
