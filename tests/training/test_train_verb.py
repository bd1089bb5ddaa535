"""`surrogate-fmu train`: a bundle from a small configuration, also through Ctrl-C."""

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle, read_bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import write_trajectories
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.runtime.session import Session
from tests.training.runs import make_runs

CONFIG = """
[surrogate]
name = "toy"
description = "a small test"
plant = "plant.py:Toy"

[variables]
power = "W"
ambient_temperature = "K"
temperature_start = "K"
temperature = "K"
flow = "W"

[recording]
steps = 10
sets.train = { schedules = 16 }

[recording.design.inputs.power]
min = -40.0
max = 40.0
excitations = ["steps"]
hold_s = [2, 20]

[training]
updates = 12
batch_size = 4
window_steps = [3, 10]
validations = 3
validation_members = 8

[training.energy]
members = 2
encoder_width = 8

[training.generator]
run_latent_dim = 2
memory_dim = 4
width = 8
initial_parameters = ["temperature_start"]

[[training.generator.balances]]
output = "temperature"
terms = ["power", "flow"]
start = "temperature_start"
"""


@pytest.fixture
def config(toy_bundle: Bundle, tmp_path: Path) -> Path:
    (tmp_path / "surrogate.toml").write_text(CONFIG)
    write_trajectories(make_runs(toy_bundle, 16, 1, 1), tmp_path / "data" / "train.nc")
    write_trajectories(make_runs(toy_bundle, 3, 3, 2), tmp_path / "data" / "validation.nc")
    return tmp_path / "surrogate.toml"


def test_a_bundle_is_made_that_keeps_the_contract(config: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", str(config), "--log", str(config.parent / "log")]) == 0
    bundle = read_bundle(config.parent / "toy.bundle")
    assert bundle.manifest.description == "a small test"
    assert bundle.manifest.training["updates"] == 12
    assert len(check_session(lambda **options: Session(bundle, **options), bundle.manifest).kept) == 15
    assert not (config.parent / "toy.bundle.checkpoint").exists()
    assert list((config.parent / "log").glob("events.*"))
    said = capsys.readouterr().out
    assert "toy.bundle: " in said
    assert "of 12," in said
    assert "validation CRPS over the plant's own: temperature " in said


def test_the_command_line_goes_over_the_file_and_is_written_down(config: Path):
    target = config.parent / "out" / "other.bundle"
    options = ["--updates", "4", "--seed", "9", "--objective", "r3gan", "--budget", "500", "-o", str(target)]
    assert main(["train", str(config), *options]) == 0
    written = read_bundle(target).manifest.training["config"]
    assert (written["updates"], written["seed"], written["objective"], written["budget_cpu_s"]) == (4, 9, "r3gan", 500.0)
    assert not (config.parent / "toy.bundle").exists()


def test_equal_seeds_give_equal_generators(config: Path):
    checksums = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert main(["train", str(config), "--updates", "3", "--seed", str(seed), "-o", str(config.parent / name)]) == 0
        checksums.append(read_bundle(config.parent / name).manifest.payload_sha256)
    assert checksums[0] == checksums[1] != checksums[2]


@pytest.mark.parametrize(
    ("before", "after", "options", "code", "message"),
    [
        ("", "", ["--updates", "0"], 2, "command line: updates 0 must be above 0"),
        ("", "", ["--resume"], 5, "there is no checkpoint at"),
        (
            "window_steps = [3, 10]",
            "window_steps = [3, 11]",
            [],
            5,
            "window_steps reaches 11, the runs have 10 steps; shorten the window",
        ),
        ('flow = "W"', 'flow = "kW"', [], 2, "variables.flow: the unit is 'kW' here, the dataset "),
        ('name = "toy"', 'name = "toy"\ndata = "nowhere"', [], 3, "there is no dataset at"),
        ('terms = ["power", "flow"]', 'terms = ["power", "power"]', [], 2, "cannot be told apart"),
    ],
)
def test_what_cannot_be_trained_exits_with_its_code_and_a_sentence(
    config: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, options: list[str], code: int, message: str
):
    config.write_text(CONFIG.replace(before, after, 1))
    assert main(["train", str(config), *options]) == code
    said = capsys.readouterr().err
    assert message in said
    assert "error: " in said
    assert not (config.parent / "toy.bundle").exists()


def test_validation_runs_without_repetition_are_refused(config: Path, toy_bundle: Bundle, capsys: pytest.CaptureFixture[str]):
    write_trajectories(make_runs(toy_bundle, 6, 1, 2), config.parent / "data" / "validation.nc")
    assert main(["train", str(config)]) == 3
    assert "validation needs at least 3 individuals per schedule" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_resume_completes(config: Path):
    # The first checkpoint is written after the first update, hundreds before the end.
    config.write_text(CONFIG.replace("updates = 12", "updates = 400").replace("validations = 3", "validations = 100"))
    command = [sys.executable, "-m", "surrogate_fmu.cli.main", "train", str(config)]
    checkpoint = config.parent / "toy.bundle.checkpoint"
    # Whoever runs the tests in the background of a shell ignores Ctrl-C, and so would the child.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening)
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert f"stopped; {checkpoint} holds the state, go on with the same command and --resume" in said
    assert "Traceback" not in errors
    assert checkpoint.exists()
    assert not (config.parent / "toy.bundle").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert read_bundle(config.parent / "toy.bundle").manifest.training["updates"] == 400
    assert not checkpoint.exists()
