"""Logs of taps: what outlives a crash, and what they are made into."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.fmu.tap.dataset import dataset_of
from surrogate_fmu.fmu.tap.plan import Mode
from surrogate_fmu.fmu.tap.reading import read_logs
from tests.fmu.conftest import ROOT
from tests.fmu.tap.conftest import CALM, WILD, BuildTap, Run
from tests.training.test_train_verb import CONFIG

Drive = Callable[..., Run]
POWERS = [CALM, 20.0, -5.0, 30.0, WILD, 0.0, 15.0, 2.0]
HOST = """
import os, resource, signal, sys
from fmpy import extract, read_model_description
from pathlib import Path
from surrogate_fmu.fmu.tap.inner import InnerFmu

folder = extract(sys.argv[1])
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
said = []
instance = InnerFmu(Path(folder), "room", False, said.append)
instance.setup_experiment(0.0)
instance.enter_initialization_mode()
instance.exit_initialization_mode()
for step in range(30):
    if sys.argv[2] == "killed" and step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    instance.advance(2.0 * step, 2.0)
print([message.text for message in said])
"""


def host(fmu: Path, way: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HOST, str(fmu), way]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, check=False)


def test_a_killed_host_leaves_all_steps_that_it_took(tap: BuildTap, logs: Path) -> None:
    assert host(tap(), "killed").returncode == -signal.SIGKILL
    (run,) = read_logs([logs])
    assert run.step_count == 7 and np.isfinite(run.plant).all()
    content = run.path.read_bytes()
    run.path.write_bytes(content[:-20])  # the last line was cut off
    assert read_logs([run.path])[0].step_count == 6


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of POSIX")
def test_a_log_that_cannot_be_written_any_more_does_not_stop_the_run(tap: BuildTap, logs: Path) -> None:
    done = host(tap(), "full")
    assert done.returncode == 0, done.stderr
    assert "ends here, it cannot be written" in done.stdout
    (run,) = read_logs([logs])
    assert 0 < run.step_count < 30


def test_logs_are_a_dataset_with_the_inputs_of_the_system(
    plant: Path, tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tap()
    runs = [drive(path, POWERS), drive(path, POWERS[:5], start={"seed": 8, "temperature_start": 280.0})]
    target = tmp_path / "data" / "train.nc"
    assert main(["tap", "--to-dataset", str(logs), "-o", str(target)]) == 0
    assert "2 runs of 5 steps" in (said := capsys.readouterr().out) and "power moved from -5 to 80 W" in said
    dataset = read_trajectories(target)
    assert [v.name for v in dataset.variables] == ["power", "ambient_temperature", "temperature_start", "temperature", "flow"]
    assert dataset.communication_step_size == 2.0 and dataset.plant_seed.tolist() == [5, 8]
    assert dataset.parameters.tolist() == [[291.0], [280.0]] and dataset.inputs[0, :, 0].tolist() == POWERS[:5]
    for run, outputs in zip(runs, dataset.outputs, strict=True):
        np.testing.assert_array_equal(outputs, run.outputs[:6].astype("float32"))
    assert main(["tap", "--to-dataset", str(logs), "-o", str(target), "--steps", "7"]) == 0
    assert "left out: room_1-002.jsonl: the plant's outputs are known for 5 of its 5 steps, not for 7" in capsys.readouterr().out
    one = read_trajectories(target)
    assert one.names("parameter") == () and one.provenance["held"] == {"temperature_start": 291.0}
    with pytest.raises(DatasetError, match=r"no run has 9 steps of the plant; .* Run longer, or give fewer --steps"):
        dataset_of(read_logs([logs]), 9)


def test_a_dataset_of_logs_is_one_to_train_on(tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path) -> None:
    path, rng = tap(), np.random.default_rng(1)
    for seed in range(8):
        if seed % 4 == 0:
            powers, start = rng.uniform(-40.0, 40.0, 10).tolist(), 285.0 + seed
        drive(path, powers, start={"seed": seed, "temperature_start": start})
    (tmp_path / "surrogate.toml").write_text(CONFIG)
    for split in ("train", "validation"):
        assert main(["tap", "--to-dataset", str(logs), "-o", str(tmp_path / "data" / f"{split}.nc")]) == 0
    assert read_trajectories(tmp_path / "data" / "train.nc").schedule.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert main(["train", str(tmp_path / "surrogate.toml"), "--log", str(tmp_path / "log")]) == 0
    assert read_bundle(tmp_path / "toy.bundle").manifest.domain["power"].max <= 40.0


def test_a_guarded_log_gives_what_the_solver_has_seen(tap: BuildTap, drive: Drive, logs: Path) -> None:
    drive(tap(Mode.GUARDED, inside=2), POWERS)
    dataset, _ = dataset_of(read_logs([logs]))
    assert dataset.step_count == 7  # it led steps 4 to 6 and caught up with those before


def test_steps_of_two_sizes_are_no_dataset(tap: BuildTap, drive: Drive, logs: Path) -> None:
    path = tap()
    drive(path, POWERS)
    drive(path, POWERS, 4.0)
    with pytest.raises(DatasetError, match=r"room_1-002\.jsonl has a step of 4 s, and room_1-001\.jsonl one of 2 s"):
        dataset_of(read_logs([logs]))


def test_logs_are_a_page(tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive(tap(), POWERS)
    assert main(["tap", "--to-report", str(logs), "-o", str(tmp_path / "page")]) == 3
    assert "are of the plant alone; make a dataset of them" in capsys.readouterr().err
    drive(tap(Mode.SHADOW), POWERS)
    drive(tap(Mode.GUARDED, inside=2), POWERS)
    assert main(["tap", "--to-report", str(logs), "-o", str(tmp_path / "page")]) == 0
    said = capsys.readouterr().out
    assert "temperature" in said and "the solver took over 1 x" in said and "at 15 points of 2 runs" in said
    page = (tmp_path / "page" / "tap.html").read_text()
    assert page.count("<svg") == 2 and "power = 80 lies outside the training range" in page


def test_files_that_are_no_logs_are_refused(tap: BuildTap, drive: Drive, logs: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there are no logs .* run a system with the tap first"):
        read_logs([tmp_path])
    other = tmp_path / "other.jsonl"
    other.write_text('{"format": "something"}\n')
    with pytest.raises(DatasetError, match="has the format 'something', this version reads 'surrogate-fmu tap log 1'"):
        read_logs([other])
    drive(tap(), POWERS)
    (log,) = logs.glob("*.jsonl")
    lines = log.read_text().splitlines()
    other.write_text("\n".join([lines[0], lines[1], lines[2][:30], *lines[3:]]))
    with pytest.raises(DatasetError, match=r"line 3: .* the file was changed, leave it out"):
        read_logs([other])
    other.write_text(lines[0] + "\n")
    with pytest.raises(DatasetError, match="no run has started in"):
        read_logs([other])
    other.write_text("\n".join([lines[0].replace('"power"', '"force"'), *lines[1:]]))
    with pytest.raises(DatasetError, match=r"is a log of other variables than .*; give logs of one plant"):
        read_logs([log, other])
    other.write_text("\n".join([lines[0], '{"start": {}}', *lines[2:]]))
    with pytest.raises(DatasetError, match="is damaged"):
        read_logs([other])
