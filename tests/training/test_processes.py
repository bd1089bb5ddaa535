"""Training by torchrun in two processes on the CPU."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from surrogate_fmu.dataset.store import write_trajectories
from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import GeneratorConfig, Objective, Structure, TermConfig, TrainingConfig
from surrogate_fmu.training.loop import train
from surrogate_fmu.training.processes import Processes
from tests.training.test_linear_part import DETERMINISTIC, oscillator

SCRIPT = """
import sys
from pathlib import Path

import torch

from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.training.loop import train
from surrogate_fmu.training.processes import joined_processes
from tests.training.test_processes import CONFIG

folder = Path(sys.argv[1])
with joined_processes() as processes:
    result = train(read_trajectories(folder / "train.nc"), read_trajectories(folder / "validation.nc"), CONFIG)
    weights = result.generator.state_dict()
    torch.save({"weights": weights, "score": result.best.crps_ratio}, folder / f"{processes.rank}.pt")
"""
CONFIG = dataclasses.replace(
    DETERMINISTIC, updates=80, batch_size=16, generator=dataclasses.replace(DETERMINISTIC.generator, width=8)
)


@pytest.mark.timeout(300)
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    """Without latents nothing is drawn, so the mean of two half batches is the batch."""
    training, validation = oscillator(32, 1, cubic=0.01), oscillator(8, 2, cubic=0.01)
    write_trajectories(training, tmp_path / "train.nc")
    write_trajectories(validation, tmp_path / "validation.nc")
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(tmp_path / "script.py"), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, weights in first["weights"].items():
        assert torch.equal(weights, second["weights"][name]), name
    alone = train(training, validation, CONFIG)
    np.testing.assert_allclose(first["score"], alone.best.crps_ratio, rtol=0.05)
    for name, weights in alone.generator.state_dict().items():
        torch.testing.assert_close(first["weights"][name], weights, rtol=0.05, atol=5e-3)


def test_what_cannot_be_shared_is_refused() -> None:
    processes = Processes()
    assert (processes.rank, processes.count) == (0, 1)
    processes.count = 2
    game = TrainingConfig(objective=Objective.TERMS, terms=(TermConfig("energy"), TermConfig("hinge")))
    with pytest.raises(TrainingError, match="a game cannot be shared by 2 processes"):
        processes.check(game)
    with pytest.raises(TrainingError, match="a game cannot be shared"):
        processes.check(TrainingConfig(objective=Objective.R3GAN))
    with pytest.raises(TrainingError, match="a Wiener generator cannot be trained by 2 processes"):
        processes.check(TrainingConfig(generator=GeneratorConfig(structure=Structure.WIENER)))
    with pytest.raises(TrainingError, match="batch_size 1 gives 2 processes nothing to share"):
        processes.check(TrainingConfig(batch_size=1))
    processes.check(TrainingConfig())
