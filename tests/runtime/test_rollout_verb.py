"""`surrogate-fmu rollout`: what it writes, and what it refuses."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle, write_archive
from surrogate_fmu.cli.main import main
from surrogate_fmu.runtime.session import Session
from tests.service.conftest import FIELD_MANIFEST, Field


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "out.npz"


def rollout(bundle: Path, out: Path, *arguments: str) -> dict[str, np.ndarray]:
    assert main(["rollout", str(bundle), "-o", str(out), *arguments]) == 0
    with np.load(out) as arrays:
        return dict(arrays)


def test_members_have_seeds_times_and_the_numbers_of_sessions(toy_bundle: Bundle, toy_bundle_path: Path, out: Path, capsys):
    settings = ("--set", "power=12.5", "--set", "temperature_start=300")
    arrays = rollout(toy_bundle_path, out, "--members", "3", "--steps", "5", "--seed", "40", *settings)
    assert set(arrays) == {"time", "seed", "domain_distance", "temperature", "flow"}
    assert arrays["seed"].tolist() == [40, 41, 42] and arrays["time"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert arrays["temperature"].shape == (3, 6)
    with Session(toy_bundle, seed=41, parameters={"temperature_start": 300.0}) as session:
        session.set_values({"power": 12.5})
        rows = [session.initialize(), *(session.do_step() for _ in range(5))]
    np.testing.assert_allclose(arrays["flow"][1], [row["flow"] for row in rows], atol=1e-4)
    assert "3 runs of 5 steps" in capsys.readouterr().out
    assert [file.name for file in out.parent.iterdir()] == ["out.npz"]


def test_inputs_come_from_a_table_and_varied_values_are_written(toy_bundle_path: Path, out: Path, tmp_path: Path):
    table = tmp_path / "inputs.csv"
    table.write_text("ambient_temperature, power\n" + "".join(f"290,{power}\n" for power in (0.0, 30.0, -30.0)))
    fields = ("--members", "100", "--inputs", str(table), "--vary", "temperature_start=280:310", "--z-mode", "mean")
    arrays = rollout(toy_bundle_path, out, *fields, "--outputs", "temperature")
    assert set(arrays) == {"time", "seed", "domain_distance", "temperature", "temperature_start"}
    starts = arrays["temperature_start"]
    assert starts.shape == (100,) and 280.0 <= starts.min() < 285.0 and 305.0 < starts.max() < 310.0
    np.testing.assert_allclose(arrays["temperature"][:, 0], starts, rtol=1e-6)
    assert (np.diff(arrays["temperature"].mean(axis=0)) > 0).tolist() == [False, True, False]


def test_arrays_keep_their_shape(field_bundle_path: Path, out: Path, tmp_path: Path):
    table = tmp_path / "inputs.csv"
    table.write_text('"profile[3]"\n1.5\n2.5\n')
    arrays = rollout(field_bundle_path, out, "--members", "2", "--inputs", str(table), "--z-mode", "mean")
    assert arrays["field"].shape == (2, 3, 2, 3) and arrays["total"].shape == (2, 3)
    np.testing.assert_allclose(arrays["field"][0, 2], [[2.0, 2.0, 5.0], [4.0, 4.0, 10.0]], rtol=1e-6)


def test_the_count_of_workers_changes_no_bit(toy_bundle_path: Path, out: Path):
    fields = ("--members", "50", "--steps", "20", "--chunk-members", "8", "--vary", "power=-40:40", "--workers")
    one, three = (rollout(toy_bundle_path, out, *fields, count) for count in ("1", "3"))
    assert all(np.array_equal(one[name], three[name]) for name in one)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (pip install 'surrogate-fmu[ray]')")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_cluster_of_two_workers_writes_the_bits_of_this_process(toy_bundle_path: Path, out: Path):
    fields = ("--members", "50", "--steps", "20", "--chunk-members", "8", "--vary", "power=-40:40", "--workers", "2", "--engine")
    local, spread = (rollout(toy_bundle_path, out, *fields, engine) for engine in ("local", "ray"))
    assert all(np.array_equal(local[name], spread[name]) for name in local)


MANY = ("--members", "2", "--steps", "2")
REFUSALS = [
    (("--members", "0", "--steps", "1"), 2, "--members 0 must be at least 1"),
    ((*MANY, "--workers", "0"), 2, "--workers 0 must be at least 1"),
    (("--members", "2"), 2, "give --steps T, or --inputs CSV"),
    ((*MANY, "--seed", "-1"), 2, "--seed -1 must be 0 or more"),
    ((*MANY, "--set", "power"), 2, "give NAME=VALUE"),
    ((*MANY, "--set", "power=warm"), 2, "give NAME=VALUE"),
    ((*MANY, "--set", "power=500"), 9, "outside the allowed range [-100, 100] W"),
    ((*MANY, "--set", "pressure=1"), 9, "'pressure'"),
    ((*MANY, "--set", "flow=1"), 9, "'flow'"),
    ((*MANY, "--vary", "power=1"), 2, "give NAME=LOW:HIGH"),
    ((*MANY, "--vary", "power=2:1"), 2, "LOW must be below HIGH"),
    ((*MANY, "--vary", "power=0:500"), 9, "outside the allowed range"),
    ((*MANY, "--vary", "power=0:1", "--set", "power=1"), 2, "'power' is given twice"),
    ((*MANY, "--set", "power=0", "--set", "power=1"), 2, "'power' is given twice"),
    ((*MANY, "--outputs", "temperature,heat"), 9, "--outputs has 'heat'; the outputs are 'temperature', 'flow'"),
    ((*MANY, "--device", "tpu"), 9, "'tpu' is not a device name"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSALS)
def test_what_cannot_be_used_is_refused(toy_bundle_path: Path, out: Path, arguments: tuple, code: int, said: str, capsys):
    assert main(["rollout", str(toy_bundle_path), "-o", str(out), *arguments]) == code
    assert said in capsys.readouterr().err
    assert not out.exists()


TABLES = [
    ("", 9, "names in its head"),
    ("power\n", 9, "at least one row"),
    ("power\n1\nx\n", 9, "numbers below"),
    ("power,flow\n1,2\n", 9, "has 'flow'; the inputs are 'power', 'ambient_temperature'"),
    ("power,power\n1,2\n", 9, "different names"),
    ("power,ambient_temperature\n1\n", 9, "numbers"),
    ("power\n1\n101\n", 9, "row 2: 'power' is 101, expected [-100, 100]"),
    ("power\nnan\n", 9, "row 1: 'power' is nan"),
    ("temperature_start\n300\n", 9, "has 'temperature_start'"),
]


@pytest.mark.parametrize(("text", "code", "said"), TABLES)
def test_a_table_that_cannot_be_used_is_refused(toy_bundle_path: Path, out: Path, text: str, code: int, said: str, capsys):
    table = out.parent.parent / "inputs.csv"
    table.write_text(text)
    assert main(["rollout", str(toy_bundle_path), "-o", str(out), "--members", "1", "--inputs", str(table)]) == code
    assert said in capsys.readouterr().err


def test_settings_that_a_table_gives_too_are_refused(toy_bundle_path: Path, out: Path, capsys):
    table = out.parent.parent / "inputs.csv"
    table.write_text("power\n1\n2\n")
    common = ["rollout", str(toy_bundle_path), "-o", str(out), "--members", "1", "--inputs", str(table)]
    assert main([*common, "--set", "power=1"]) == 2
    assert main([*common, "--steps", "3"]) == 2
    errors = capsys.readouterr().err
    assert "'power' is given twice" in errors and "--steps is 3" in errors and "has 2 rows; leave --steps out" in errors


def test_a_place_that_cannot_be_written_is_refused(toy_bundle_path: Path, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["rollout", str(toy_bundle_path), "-o", str(tmp_path / "file" / "out.npz"), *MANY]) == 2
    assert main(["rollout", str(toy_bundle_path), "-o", str(tmp_path / "out.csv"), *MANY]) == 2
    assert "must end with .npz" in capsys.readouterr().err


@pytest.fixture(scope="session")
def field_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from surrogate_fmu.bundle.torchscript import export_bundle

    path = tmp_path_factory.mktemp("field") / "field.bundle"
    write_archive(export_bundle(Field(), FIELD_MANIFEST), path)
    return path
