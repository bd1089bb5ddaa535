"""The FMUs of this project in masters that others wrote: one coupled system, one trajectory.

The reference is the trajectory of FMPy's classes with the native FMUs of the same version. Native and Python FMUs agree to the
accuracy of float32, so bits are compared within a backend.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.fmu.config import Backend, FmiVersion
from tests.masters.conftest import BuildController, BuildPlant
from tests.masters.masters import FMPY, Master, MasterError
from tests.masters.system import System, Trajectory, controlled

SEEDS = {"first": 7, "second": 8}


def two_plants(plant: Path, controller: Path) -> System:
    return controlled({name: (plant, seed) for name, seed in SEEDS.items()}, controller)


@pytest.fixture(scope="module")
def reference(
    plant: BuildPlant, controller: BuildController, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Backend], Trajectory]:
    """What FMPy gets from two plants of a backend under control, in FMI 2.0."""
    known: dict[Backend, Trajectory] = {}

    def run(backend: Backend) -> Trajectory:
        if backend not in known:
            system = two_plants(plant(backend, FmiVersion.V2), controller(FmiVersion.V2))
            known[backend] = FMPY.run(system, tmp_path_factory.mktemp("reference"))
        return known[backend]

    return run


def test_every_master_gets_the_trajectory_of_fmpy(
    master: Master,
    backend: Backend,
    fmi: FmiVersion,
    plant: BuildPlant,
    controller: BuildController,
    reference: Callable[[Backend], Trajectory],
    tmp_path: Path,
) -> None:
    """Two plants with different seeds, each controlled: coupled, two instances of one FMU in a process, equal over masters."""
    system = two_plants(plant(backend, fmi), controller(fmi))
    if fmi not in master.versions:
        with pytest.raises(MasterError):
            master.run(system, tmp_path)
        pytest.skip(f"{master.name} does not take FMI {fmi}, and says so")
    trajectory = master.run(system, tmp_path)
    trajectory.assert_equal(reference(backend))
    first, second = trajectory.values[:, :3], trajectory.values[:, 3:]
    assert np.abs(first - second).max() > 0.1


def test_backends_agree_and_the_controller_controls(reference: Callable[[Backend], Trajectory]) -> None:
    native, python = reference(Backend.NATIVE), reference(Backend.PYTHON)
    np.testing.assert_allclose(native.values, python.values, rtol=1e-5, atol=1e-3)
    heating = native.values[:, 2]
    assert heating[0] == 30.0 and abs(heating[-1]) < 10.0  # 3 (300 - 290) at the start, then near the setpoint


def test_versions_of_the_standard_mix_in_one_system(
    master: Master,
    backend: Backend,
    plant: BuildPlant,
    controller: BuildController,
    reference: Callable[[Backend], Trajectory],
    tmp_path: Path,
) -> None:
    if not master.mixed:
        pytest.skip(f"{master.name} takes one version of FMI")
    system = two_plants(plant(backend, FmiVersion.V2), controller(FmiVersion.V3))
    master.run(system, tmp_path).assert_equal(reference(backend))


def test_rollback_replays(
    master: Master, backend: Backend, fmi: FmiVersion, plant: BuildPlant, controller: BuildController, tmp_path: Path,
    reference: Callable[[Backend], Trajectory],
) -> None:  # fmt: skip
    if not master.rollback:
        pytest.skip(f"{master.name} does not save states")
    system = two_plants(plant(backend, fmi), controller(fmi)).with_rollback()
    master.run(system, tmp_path).assert_equal(reference(backend))
