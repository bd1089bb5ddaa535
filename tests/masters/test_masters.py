"""The FMUs of this project in masters that others wrote: one coupled system, one trajectory.

The reference is the trajectory of FMPy's classes with the native FMUs of the same version. Native and Python FMUs agree to the
accuracy of float32, so bits are compared within a backend.
"""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.fmu.config import Backend, FmiVersion, OwnOutputs
from tests.masters.conftest import BuildController, BuildPlant, parameter
from tests.masters.masters import FMPY, MASTERS, Master, MasterError
from tests.masters.system import System, Trajectory, controlled

SEEDS = {"first": 7, "second": 8}


def those_that(can: Callable[[Master], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("master", [parameter(m) for m in MASTERS if can(m)], indirect=True)


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
    system = two_plants(plant(backend, fmi, master.own_outputs), controller(fmi, master.own_outputs))
    if not master.takes(backend, fmi):
        with pytest.raises(MasterError):
            master.run(system, tmp_path)
        pytest.skip(f"{master.name} does not take {backend} FMUs of FMI {fmi}, and says so")
    trajectory = master.run(system, tmp_path)
    trajectory.assert_equal(reference(backend))
    first, second = trajectory.values[:, :3], trajectory.values[:, 3:]
    assert np.abs(first - second).max() > 0.1


def test_backends_agree_and_the_controller_controls(reference: Callable[[Backend], Trajectory]) -> None:
    native, python = reference(Backend.NATIVE), reference(Backend.PYTHON)
    np.testing.assert_allclose(native.values, python.values, rtol=1e-5, atol=1e-3)
    heating = native.values[:, 2]
    assert heating[0] == 30.0 and abs(heating[-1]) < 10.0  # 3 (300 - 290) at the start, then near the setpoint


@those_that(lambda master: len(master.versions) > 1)
def test_versions_of_the_standard_mix_in_one_system(
    master: Master,
    backend: Backend,
    plant: BuildPlant,
    controller: BuildController,
    reference: Callable[[Backend], Trajectory],
    tmp_path: Path,
) -> None:
    own, other = (FmiVersion.V2, FmiVersion.V3) if master.takes(backend, FmiVersion.V2) else (FmiVersion.V3, FmiVersion.V2)
    system = two_plants(plant(backend, own, master.own_outputs), controller(other, master.own_outputs))
    master.run(system, tmp_path).assert_equal(reference(backend))


@those_that(lambda master: master.rollback)
def test_rollback_replays(
    master: Master, backend: Backend, fmi: FmiVersion, plant: BuildPlant, controller: BuildController, tmp_path: Path,
    reference: Callable[[Backend], Trajectory],
) -> None:  # fmt: skip
    if not master.takes(backend, fmi):
        pytest.skip(f"{master.name} does not take {backend} FMUs of FMI {fmi}")
    system = two_plants(plant(backend, fmi, master.own_outputs), controller(fmi, master.own_outputs)).with_rollback()
    master.run(system, tmp_path).assert_equal(reference(backend))


@those_that(lambda master: master.iterates)
def test_iterations_with_rollback_agree(
    master: Master, backend: Backend, fmi: FmiVersion, plant: BuildPlant, controller: BuildController, tmp_path: Path,
    reference: Callable[[Backend], Trajectory],
) -> None:  # fmt: skip
    """Every step is taken again from its start until plant and controller agree; FMPy with FMI 2.0 is the reference."""

    def system(version: FmiVersion, own_outputs: OwnOutputs) -> System:
        seeded = {"first": (plant(backend, version, own_outputs), SEEDS["first"])}
        return controlled(seeded, controller(version, own_outputs)).with_iterations()

    (tmp_path / "fmpy").mkdir()
    expected = FMPY.run(system(FmiVersion.V2, OwnOutputs.TYPED), tmp_path / "fmpy")
    trajectory = master.run(system(fmi, master.own_outputs), tmp_path)
    trajectory.assert_equal(expected)
    explicit = reference(backend).values[:, :3]
    temperature, _, heating = trajectory.values.T
    assert np.abs(heating - 3.0 * (300.0 - temperature)).max() < 0.01  # the controller knows the temperature that it led to
    assert np.abs(explicit[:, 2] - 3.0 * (300.0 - explicit[:, 0])).max() > 0.1


@those_that(lambda master: master.own_outputs is OwnOutputs.REAL)
def test_masters_of_real_outputs_read_where_the_surrogate_is_outside_its_domain(
    master: Master, backend: Backend, fmi: FmiVersion, plant: BuildPlant, controller: BuildController, tmp_path: Path
) -> None:
    """The first plant starts beyond what it has learned, which the master sees as the number 0 in place of 1."""
    system = two_plants(plant(backend, fmi, OwnOutputs.REAL), controller(fmi, OwnOutputs.REAL))
    outside = replace(system.components[0], start={**system.components[0].start, "temperature_start": 321.0})
    system = replace(
        system,
        components=(outside, *system.components[1:]),
        coupled_start=system.coupled_start | {"first_control.measured": 321.0, "first.power": -40.0},
        record=("first.in_domain", "first.domain_distance", "second.in_domain", "second.domain_distance", "second.temperature"),
    )
    (tmp_path / "fmpy").mkdir()
    trajectory = master.run(system, tmp_path)
    trajectory.assert_equal(FMPY.run(system, tmp_path / "fmpy"))
    np.testing.assert_allclose(trajectory.values[:, :4], np.tile([0.0, 0.02, 1.0, 0.0], (system.steps, 1)), atol=1e-12)


@those_that(lambda master: master.own_outputs is OwnOutputs.REAL)
def test_masters_of_real_outputs_take_surrogates_whose_own_outputs_are_local_too(
    master: Master, fmi: FmiVersion, plant: BuildPlant, controller: BuildController, tmp_path: Path,
    reference: Callable[[Backend], Trajectory],
) -> None:  # fmt: skip
    system = two_plants(plant(Backend.NATIVE, fmi, OwnOutputs.LOCAL), controller(fmi, OwnOutputs.LOCAL))
    master.run(system, tmp_path).assert_equal(reference(Backend.NATIVE))


def test_a_description_of_another_build_is_refused(
    master: Master,
    backend: Backend,
    fmi: FmiVersion,
    plant: BuildPlant,
    controller: BuildController,
    reference: Callable[[Backend], Trajectory],
    tmp_path: Path,
) -> None:
    """A modelDescription.xml with another GUID, or instantiation token, than that of the build.

    A crash counts as a refusal: ECOS calls an FMU that gave no instance, which the library of PythonFMU does not survive.
    """
    if not master.takes(backend, fmi):
        pytest.skip(f"{master.name} does not take {backend} FMUs of FMI {fmi}")
    system = controlled(
        {"first": (with_another_token(plant(backend, fmi, master.own_outputs), tmp_path / "other.fmu"), 7)},
        controller(fmi, master.own_outputs),
    )
    try:
        trajectory = master.run(system, tmp_path)
    except MasterError:
        return
    assert master.ignores_refusals, f"{master.name} ran an FMU with a description that is not its own"
    temperature = reference(backend).values[:, 0]
    assert np.abs(trajectory.values[:, 0] - temperature).min() > 1.0  # what it reads is nothing that the surrogate calculated


def with_another_token(fmu: Path, path: Path) -> Path:
    attribute = "instantiationToken" if "_3" in fmu.name else "guid"
    with zipfile.ZipFile(fmu) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "modelDescription.xml":
                before, _, rest = content.decode().partition(f'{attribute}="')
                _, quote, after = rest.partition('"')
                content = f'{before}{attribute}="{{00000000-0000-4000-8000-000000000000}}{quote}{after}'.encode()
            target.writestr(entry, content)
    return path
