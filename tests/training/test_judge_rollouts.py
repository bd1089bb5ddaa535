"""The judge's long rollouts on the shipped models: legal ones, so that soundness and divergence are told apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.bundle.torchscript import load_generator, load_rollout
from surrogate_fmu.cli.main import main
from surrogate_fmu.config import load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.dataset.trajectories import Array, Trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.evaluation.ensembles import judge_conditions
from surrogate_fmu.training import race as race_module
from surrogate_fmu.training import trial as trial_module
from surrogate_fmu.training.judge import Judge

MODELS = Path(__file__).parents[2] / "models"
MEMBERS = 16


class Shipped:
    """The generator of a model's bundle as a candidate, its outputs changed as one likes."""

    def __init__(self, model: str, change: Callable[[Tensor], Tensor] = lambda outputs: outputs) -> None:
        bundle = read_bundle(MODELS / model / f"{model}.bundle")
        self._initial, self._rollout = load_generator(bundle).initial, load_rollout(bundle).rollout
        self._change = change

    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        x = x.repeat(len(z) // len(x), 1, 1)
        y, h = self._initial(x[:, 0], z[:, 0])
        outputs, _ = self._rollout(x.transpose(0, 1).contiguous(), z.transpose(0, 1).contiguous(), h)
        return self._change(torch.cat([y[None], outputs]).transpose(0, 1))


def of_model(model: str) -> tuple[Trajectories, tuple[int, int], Array]:
    """Validation runs, run and step latents, and the conditions of long rollouts that the configuration asks for."""
    config = load_config(MODELS / model / "surrogate.toml")
    validation = read_trajectories(config.dataset_path("validation"))
    sizes = config.training.generator
    return validation, (sizes.run_latent_dim, sizes.step_latent_dim), judge_conditions(validation, config.verify)


def test_a_sound_cell_is_not_called_divergent():
    validation, dims, conditions = of_model("dfn_cell")
    assert conditions.shape == (64, 1000, 4)
    charge = conditions[:, 0, 2] - 10.0 * np.cumsum(conditions[..., 0], axis=1).T / 18650.0
    assert -0.02 < charge.min() < 0.1 and 0.9 < charge.max() < 1.02, "a cell is charged and discharged, and not beyond"
    judgement = Judge(validation, *dims, MEMBERS, 0, conditions).judge(Shipped("dfn_cell"))
    assert (judgement.diverged, judgement.long_members) == (0, 64)
    # the same schedule end to end charges it beyond full: no cell could follow
    assert Judge(validation, *dims, MEMBERS, 0).judge(Shipped("dfn_cell")).diverged > 0


def test_a_slow_divergence_is_seen_on_the_double_well():
    validation, dims, conditions = of_model("double_well")
    judge = Judge(validation, *dims, MEMBERS, 0, conditions)
    sound = judge.judge(Shipped("double_well"))
    growing = judge.judge(Shipped("double_well", lambda y: y * 1.004 ** torch.arange(y.shape[1])[:, None]))
    assert sound.diverged == 0 and sound.score < 1.1
    assert growing.score < 1.1 and growing.diverged == growing.long_members, "short runs do not show it"


def test_no_long_rollouts_and_wrong_ones():
    validation, dims, conditions = of_model("double_well")
    judgement = Judge(validation, *dims, MEMBERS, 0, conditions[:0]).judge(Shipped("double_well"))
    assert (judgement.diverged, judgement.long_members) == (0, 0)
    with pytest.raises(TrainingError, match=r"shape \(64, 1000, 1\); expected \(member, step, condition\), 2 conditions"):
        Judge(validation, *dims, MEMBERS, 0, conditions[..., :1])


@pytest.mark.parametrize("verb", [("train", "--race", "energy,crps"), ("search", "--trials", "1", "--vary", "batch_size=32")])
def test_the_verbs_hand_the_configured_rollouts_on(verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    seen = []

    class Watched(Judge):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            seen.append(args[-1])

    monkeypatch.setattr(race_module, "Judge", Watched)
    monkeypatch.setattr(trial_module, "Judge", Watched)
    config = MODELS / "double_well" / "surrogate.toml"
    name, *options = verb
    assert main([name, str(config), "-o", str(tmp_path / "some.bundle"), "--budget", "0.4s", *options]) == 0
    assert seen and all((given == of_model("double_well")[2]).all() for given in seen)
