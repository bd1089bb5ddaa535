"""Recording on a Ray cluster of two workers on this machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.distill.replay import record_test_runs
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.plant.process_engine import run_in_processes
from surrogate_fmu.plant.ray_engine import ray_engine
from surrogate_fmu.plant.record import Recording, record
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.ray_cluster import ray_cluster
from tests.plant.plants import PLANT, write_plant
from tests.plant.test_failures import SCHEDULES

pytest.importorskip("ray")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One cluster for all: it takes seconds to start."""
    with ray_cluster(2):
        yield


def on_ray(folder: Path, text: str = PLANT, timeout_s: float = 600.0) -> Recording:
    source = PlantSource("tank.py:Tank", write_plant(folder, text=text), PlantSettings(timeout_s=timeout_s))
    return record(source, SCHEDULES, 2, 4, folder / "runs", 2, engine=ray_engine())


def test_the_same_dataset_comes_out_whatever_the_engine_and_the_number_of_workers(tmp_path: Path) -> None:
    folder = write_plant(tmp_path / "tank")
    plain = record(PlantSource("tank.py:Tank", folder), SCHEDULES, 2, 4, tmp_path / "plain", 1)
    assert on_ray(folder).trajectories.checksum() == plain.trajectories.checksum()


def test_a_verification_replays_the_same_runs(toy_bundle: Bundle, tmp_path: Path) -> None:
    plant = build_native_fmu(toy_bundle, tmp_path / "Plant.fmu", BuildConfig())
    plain, farmed = (record_test_runs(toy_bundle.manifest, plant, 10, 3, 2, 2, e) for e in (run_in_processes, ray_engine()))
    assert plain.checksum() == farmed.checksum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("__import__('os')._exit(3)", "its worker died, 2 times; .*fewer --jobs"),
        ("__import__('time').sleep(600)", "not finished after 3 s"),
    ],
    ids=["dies", "hangs"],
)
def test_a_run_that_loses_its_worker_is_set_aside_and_the_others_go_on(tmp_path: Path, defect: str, reason: str) -> None:
    text = PLANT.replace("self.step += 1", f"self.seed % 2 and {defect}; self.step += 1")
    recording = on_ray(tmp_path / "defect", text, timeout_s=3.0 if "sleep" in defect else 600.0)
    assert 0 < len(recording.failures) < 6
    assert len(recording.trajectories) == 6 - len(recording.failures)
    assert all(failure.plant_seed % 2 and re.search(reason, failure.reason) for failure in recording.failures)
