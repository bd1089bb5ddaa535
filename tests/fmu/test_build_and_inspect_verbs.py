"""`surrogate-fmu build` and `surrogate-fmu inspect`."""

import argparse
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

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


def test_build_writes_and_describes_an_fmu(toy_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "Mass.fmu"
    assert run(build, toy_bundle_path, "-o", path, "--external-latents", "--model-identifier", "Mass") == 0
    answer = capsys.readouterr().out
    assert str(path) in answer and "FMI 2.0" in answer and "torch" in answer and re.search(r"GUID \{[0-9a-f-]{36}\}", answer)
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
