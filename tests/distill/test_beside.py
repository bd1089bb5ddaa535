"""The test set, recorded beside the training."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from surrogate_fmu.cli.beside import verb_beside
from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.fmu.build import build_plant_fmu

PLANT = '''
"""A lag that may take its time."""

import time

from surrogate_fmu.variables import Causality, Variable


class Lag:
    """Half of the way in a step."""

    communication_step_size = 1.0
    variables = (
        Variable("u", Causality.INPUT, start=0.0, min=0.0, max=1.0),
        Variable("pause", Causality.INPUT, "s", start=0.0),
        Variable("y", Causality.OUTPUT),
    )

    def reset(self, seed, parameters):
        self.y = 0.0
        return {"y": self.y}

    def do_step(self, inputs, communication_step_size):
        time.sleep(inputs["pause"])
        self.y += 0.5 * (inputs["u"] - self.y)
        return {"y": self.y}
'''
PLAN = """
[surrogate]
name = "Fast"
plant = "Lag.fmu"

[plant]
communication_step_size = 1.0

[variables]
u = "1"
pause = "s"
y = "1"

[recording]
steps = 8

[recording.sets]
train = { schedules = 24, seed = 1 }
validation = { schedules = 4, individuals = 1, seed = 2 }
test = { schedules = 4, individuals = 1, seed = 3 }

[recording.design]
held = { pause = PAUSE }

[recording.design.inputs.u]
min = 0.0
max = 1.0
excitations = ["steps"]
hold_s = [1, 4]

[training]
objective = "terms"
updates = 20
batch_size = 8
window_steps = [2, 8]
validation_members = 2

[[training.terms]]
name = "mean-error"
options = { members = 1 }

[training.generator]
run_latent_dim = 0
memory_dim = 2
width = 8

[verify]
leads = [1, 4]
rollout_count = 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a plan that was made before, so that nothing is surveyed."""
    (tmp_path / "lag.py").write_text(PLANT)
    plans = tmp_path / "Fast.distill"
    plans.mkdir()
    build_plant_fmu("lag.py:Lag", tmp_path, plans / "Lag.fmu")
    (plans / "surrogate.toml").write_text(PLAN.replace("PAUSE", "0.0"))
    return tmp_path


def distill(folder: Path, jobs: int) -> int:
    return main(["distill", str(folder / "Fast.distill" / "Lag.fmu"), "-o", str(folder / "Fast.fmu"), "--jobs", str(jobs)])


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_test_set_is_recorded_beside_the_training_where_there_are_workers(
    folder: Path, capfd: pytest.CaptureFixture[str], jobs: int
) -> None:
    distill(folder, jobs)
    said = capfd.readouterr().out
    plan = folder / "Fast.distill" / "surrogate.toml"
    commands = [line.removeprefix("$ surrogate-fmu ") for line in said.splitlines() if line.startswith("$ ")]
    if jobs == 1:
        expected = [f"record {plan} --set train --set validation --set test --jobs 1", f"train {plan}"]
    else:
        beside = f"record {plan} --set test --jobs 1 &"
        expected = [f"record {plan} --set train --set validation --jobs 2", beside, f"train {plan}"]
        assert "test.nc: 4 runs of 8 steps" in said, "what the process beside said"
    assert commands[: len(expected)] == expected
    assert [len(read_trajectories(plan.parent / "data" / f"{name}.nc")) for name in ("train", "validation", "test")] == [24, 4, 4]
    assert (folder / "Fast.fmu").exists() and "minutes" in said


def test_a_test_set_that_cannot_be_recorded_is_told_and_the_training_is_kept(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = folder / "Fast.distill" / "data"
    data.mkdir()
    (data / "test.runs").write_text("in the way")
    assert distill(folder, 2) == 4
    assert "error: the test set could not be recorded; record" in (said := capfd.readouterr().err) and "test.runs" in said
    bundle = folder / "Fast.distill" / "Fast.bundle"
    made = bundle.stat().st_mtime_ns
    (data / "test.runs").unlink()
    distill(folder, 2)
    assert (folder / "Fast.fmu").exists() and bundle.stat().st_mtime_ns == made


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_what_runs_beside_is_ended_with_its_workers_when_the_work_fails(folder: Path) -> None:
    plan = folder / "Fast.distill" / "surrogate.toml"
    plan.write_text(PLAN.replace("PAUSE", "60.0"))

    def running() -> list[str]:
        return [line for line in _processes() if str(folder) in line]

    def failing_training() -> None:
        with verb_beside(folder / "log", "record", str(plan), "--set", "test"):
            while not (plan.parent / "data" / "test.runs").exists():
                time.sleep(0.05)
            assert running()
            raise ValueError("training failed")

    with pytest.raises(ValueError, match="training failed"):
        failing_training()
    assert not running()


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_ctrl_c_ends_both(folder: Path) -> None:
    plan = folder / "Fast.distill" / "surrogate.toml"
    plan.write_text(PLAN.replace("PAUSE", "0.0").replace("updates = 20", "updates = 1000000"))
    command = [sys.executable, "-m", "surrogate_fmu.cli.main", "distill", str(folder / "Fast.distill" / "Lag.fmu")]
    command += ["-o", str(folder / "Fast.fmu"), "--jobs", "2"]
    # Tests in the background of a shell inherit that Ctrl-C is ignored.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, preexec_fn=listening) as process:
        try:
            while not (plan.parent / "data" / "test.runs").exists():
                time.sleep(0.05)
                assert process.poll() is None
            status = None
            for _ in range(6):  # Python loses one that comes while it frees an object; a person presses again
                os.killpg(process.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(15)
                    break
        finally:
            process.kill()
    assert status == 130, status
    deadline = time.monotonic() + 20
    while left := [line for line in _processes() if str(folder) in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _processes() -> list[str]:
    """Command lines of what runs on this machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if "surrogate_fmu.cli.main" in line]
