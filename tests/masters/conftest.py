"""The FMUs that the masters load, each built once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion, OwnOutputs
from surrogate_fmu.fmu.native.build import build_native_fmu
from tests.masters.environment import EnvironmentMissingError, python_with
from tests.masters.masters import MASTERS, Master
from tests.masters.thermostat import make_thermostat_bundle

BuildPlant = Callable[..., Path]
BuildController = Callable[..., Path]


@pytest.fixture(scope="session")
def plant(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> BuildPlant:
    """The thermal mass of a backend and a version, with its own outputs as a master wants them."""
    folder = tmp_path_factory.mktemp("plants")

    def build(backend: Backend, fmi: FmiVersion, own_outputs: OwnOutputs = OwnOutputs.TYPED) -> Path:
        path = folder / f"{backend}_{own_outputs}_{fmi[0]}.fmu"
        if path.is_file():
            return path
        if backend is Backend.NATIVE:
            return build_native_fmu(toy_bundle, path, BuildConfig(fmi=fmi, own_outputs=own_outputs))
        return build_python_fmu(toy_bundle, path, fmi=fmi, own_outputs=own_outputs)

    return build


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> BuildController:
    """The thermostat of a version, with its own outputs as a master wants them."""
    folder = tmp_path_factory.mktemp("controllers")

    def build(fmi: FmiVersion, own_outputs: OwnOutputs = OwnOutputs.TYPED) -> Path:
        path = folder / f"thermostat_{own_outputs}_{fmi[0]}.fmu"
        config = BuildConfig(fmi=fmi, own_outputs=own_outputs)
        return path if path.is_file() else build_native_fmu(make_thermostat_bundle(), path, config)

    return build


def parameter(master: Master) -> ParameterSet:
    """A master as a parameter of a test: slow, with time to install it, where it has an environment of its own."""
    marks = (pytest.mark.slow, pytest.mark.timeout(1200)) if master.own_environment else ()
    return pytest.param(master, id=master.name, marks=marks)


@pytest.fixture(params=map(parameter, MASTERS))
def master(request: pytest.FixtureRequest) -> Master:
    chosen: Master = request.param
    if chosen.missing:
        pytest.skip(f"{chosen.name} needs {', '.join(chosen.missing)}; install the extra: pip install 'surrogate-fmu[masters]'")
    if chosen.own_environment:
        try:
            python_with(chosen.own_environment)
        except EnvironmentMissingError as error:
            pytest.skip(f"{chosen.name} cannot be installed here: {error}")
    return chosen


@pytest.fixture(params=[Backend.NATIVE, Backend.PYTHON], ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture(params=list(FmiVersion), ids=lambda fmi: f"fmi{fmi[0]}")
def fmi(request: pytest.FixtureRequest) -> FmiVersion:
    return request.param
