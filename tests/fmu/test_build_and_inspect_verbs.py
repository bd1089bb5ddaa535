"""`surrogate-fmu build` and `surrogate-fmu inspect`."""

import argparse
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli import build, inspect
from surrogate_fmu.dataset.store import write_trajectories
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import BuildError, BundleError, ConfigError
from surrogate_fmu.fmu.master import FmuSession
from tests.fmu.test_plant_fmu import SOURCE
from tests.toy import MANIFEST


def run(verb: ModuleType, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.mark.parametrize("backend", ["native", "python"])
def test_build_writes_and_describes_an_fmu(
    backend: str, toy_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "Mass.fmu"
    options = ("--external-latents", "--model-identifier", "Mass", "--backend", backend)
    assert run(build, toy_bundle_path, "-o", path, *options) == 0
    answer = capsys.readouterr().out
    assert ("torch" in answer) == (backend == "python") and ("the host needs: nothing" in answer) == (backend == "native")
    assert str(path) in answer and "FMI 2.0" in answer and re.search(r"GUID \{[0-9a-f-]{36}\}", answer)
    with FmuSession(path, z_mode="external") as session:
        session.initialize(z=[0.0, 0.0, 0.0])


def test_build_takes_a_plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tank.py").write_text(SOURCE)
    assert run(build, "--plant", "tank.py:Tank") == 0
    assert "Tank.fmu" in capsys.readouterr().out and Path("Tank.fmu").is_file()


@pytest.mark.parametrize(
    "arguments", [[], ["a.bundle", "--plant", "a.py:A"], ["--plant", "a.py:A", "--external-latents"], ["--plant", "a.py:A"]]
)
def test_build_refuses_arguments_that_do_not_go_together(arguments: list[str]) -> None:
    with pytest.raises(ConfigError):
        run(build, *arguments)


def test_native_is_the_default_and_takes_its_options(
    toy_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Mass.fmu"
    options = (
        "--fmi",
        "3.0",
        "--ensemble",
        4,
        "--quantiles",
        "0.1,0.9",
        "--platform",
        "linux-x86_64",
        "--platform",
        "linux-aarch64",
    )
    assert run(build, toy_bundle_path, "-o", path, *options) == 0
    assert "FMI 3.0 co-simulation, token {" in capsys.readouterr().out
    with FmuSession(path) as session:
        session.initialize()
        assert {"flow.mean", "flow.std", "flow.q10", "flow.q90"} <= set(session._references)


def test_build_takes_torchscript_that_was_trained_elsewhere(
    toy_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pt").write_bytes(toy_bundle.payload)
    manifest = json.loads(toy_bundle.manifest.to_json()) | {"payload_sha256": ""}
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="--manifest"):
        run(build, tmp_path / "model.pt")
    assert run(build, tmp_path / "model.pt", "--manifest", tmp_path / "m.json", "-o", tmp_path / "Any.fmu") == 0
    with FmuSession(tmp_path / "Any.fmu", seed=3) as session:
        assert session.initialize()["temperature"] == pytest.approx(293.15)
    (tmp_path / "model.pt").write_bytes(b"no TorchScript")
    with pytest.raises(BundleError, match="cannot read"):
        run(build, tmp_path / "model.pt", "--manifest", tmp_path / "m.json")
    with pytest.raises(BundleError, match=r"none\.json"):
        run(build, tmp_path / "model.pt", "--manifest", tmp_path / "none.json")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--backend", "python", "--with-sources", "--float64"), "with_sources, float64 are for the native backend"),
        (("--platform", "amiga"), "amiga.*linux-x86_64, .* and all"),
        (("--ensemble", 0), "ensemble 0"),
        (("--quantiles", "0.5"), "quantiles are over the members"),
        (("--model-identifier", "a b"), "model_identifier"),
    ],
)
def test_build_refuses_options_that_make_no_sense(toy_bundle_path: Path, options: tuple, sentence: str) -> None:
    with pytest.raises(BuildError, match=sentence):
        run(build, toy_bundle_path, *options)


def test_build_refuses_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.bundle"):
        run(build, tmp_path / "none.bundle")


def test_inspect_shows_bundle_fmu_and_dataset(
    toy_bundle_path: Path, toy_fmu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "runs.nc"
    shape = (3, 4)
    write_trajectories(
        Trajectories(
            MANIFEST.variables,
            2.0,
            np.full((*shape, 2), 290.0),
            np.full((3, 1), 280.0),
            np.full((3, 5, 2), 300.0),
            np.arange(3),
            np.zeros(3, dtype=np.int64),
        ),
        dataset,
    )
    for path, kind in ((toy_bundle_path, "bundle"), (toy_fmu, "FMU"), (dataset, "dataset")):
        assert run(inspect, path) == 0
        answer = capsys.readouterr().out
        assert kind in answer and "temperature_start" in answer and "heating power" in answer
        assert run(inspect, path, "--json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["kind"] == kind
        assert facts["variables"][0]["name"] == "power"


def test_inspect_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    for name, error in (("a.txt", ConfigError), ("a.fmu", ConfigError)):
        with pytest.raises(error, match=re.escape(name)):
            run(inspect, tmp_path / name)
    (tmp_path / "b.fmu").write_bytes(b"PK")
    with pytest.raises(BuildError, match=r"b\.fmu"):
        run(inspect, tmp_path / "b.fmu")
