"""A house with a heater in a system of its own, as an SSP archive with all that makes swapping hard."""

from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from tests.masters.thermostat import make_thermostat_bundle
from tests.ssp.systems import component, connection, connector, parameters, system, write_ssp

SETPOINT, START, SEED = 300.0, 290.0, 5
FACTOR, OFFSET = 0.5, 2.0  # of the connection from the heating to the power
SLOW = "resources/Slow Heater.fmu"
SSV = """<?xml version="1.0" encoding="UTF-8"?>
<ssv:ParameterSet xmlns:ssv="http://ssp-standard.org/SSP1/SystemStructureParameterValues" version="1.0" name="start">
  <ssv:Parameters><ssv:Parameter name="temperature_start"><ssv:Real value="290.0"/></ssv:Parameter></ssv:Parameters>
</ssv:ParameterSet>
"""
HEATER = [
    connector("power", "input", unit="W"),
    connector("temperature", "output", unit="K"),
    connector("flow", "output", unit="W"),
    connector("seed", "parameter", "Integer"),
]


@pytest.fixture(scope="session")
def heaters(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The slow one (FMI 2.0), and another one to put in its place (FMI 3.0)."""
    folder = tmp_path_factory.mktemp("heaters")
    return {
        "slow": build_native_fmu(toy_bundle, folder / "Slow Heater.fmu", BuildConfig()),
        "fast": build_native_fmu(toy_bundle, folder / "Fast & Small.fmu", BuildConfig(fmi=FmiVersion.V3)),
        "thermostat": build_native_fmu(make_thermostat_bundle(), folder / "Thermostat.fmu", BuildConfig()),
    }


@pytest.fixture
def house(heaters: dict[str, Path], tmp_path: Path) -> Path:
    """control.heating -> house.power -> heater.power; heater.temperature -> house.temperature -> control.measured."""
    source = '<ssd:ParameterBindings><ssd:ParameterBinding source="start%20values.ssv"/></ssd:ParameterBindings>'
    inner = system(
        "house",
        [component("heater", "resources/Slow%20Heater.fmu", HEATER, source)],
        [connection(".power", "heater.power"), connection("heater.temperature", ".temperature")],
        [connector("power", "input"), connector("temperature", "output")],
    )
    control = component(
        "control",
        "resources/Thermostat.fmu",
        [connector("measured", "input"), connector("setpoint", "parameter"), connector("heating", "output")],
        parameters({"setpoint": SETPOINT}),
    )
    change = f'<ssd:LinearTransformation factor="{FACTOR}" offset="{OFFSET}"/>'
    root = system(
        "building",
        [inner, control],
        [connection("control.heating", "house.power", change), connection("house.temperature", "control.measured")],
        more=parameters({"house.heater.seed": SEED}),
    )
    files = {
        SLOW: heaters["slow"],
        "resources/Thermostat.fmu": heaters["thermostat"],
        "start values.ssv": SSV,
        "extra/notes.bin": b"\0\1",
    }
    return write_ssp(tmp_path / "building.ssp", root, files, stop=24.0)
