"""A component recorded in its own system."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig
from surrogate_fmu.fmu.tap.reading import read_logs
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.ssp.compare import compare
from surrogate_fmu.ssp.swap import swap
from surrogate_fmu.ssp.tap import record_in_system
from surrogate_fmu.variables import Causality
from tests.ssp.conftest import FACTOR, OFFSET, START
from tests.ssp.systems import component, connector, system, write_ssp
from tests.toy import STEP_SIZE


def test_what_it_gets_and_gives_is_recorded(
    house: Path, heaters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["record", "--tap", str(house), "--component", "heater", "--step-size", "2", "--runs", "3", "-o", str(tmp_path)]
    assert main(command) == 0
    assert "power moved from" in capsys.readouterr().out
    runs = read_trajectories(tmp_path / "heater.nc")
    assert (len(runs), runs.step_count) == (3, 12)
    assert [v.name for v in runs.variables] == ["power", "temperature", "flow"]
    power = runs.inputs[0, :, 0]
    assert power[0] == pytest.approx(20.55 * FACTOR + OFFSET)  # 3 (300 - 293.15) from the thermostat, through the connection
    settings = PlantSettings(inputs=("power",), outputs=("temperature", "flow"), values={"temperature_start": START})
    plant = PlantSource(heaters["slow"].name, heaters["slow"].parent, settings).load()
    for run in range(3):  # the plant alone, with the inputs that were recorded, gives what was recorded
        seed = int(runs.plant_seed[run])
        alone = simulate(plant, seed, {}, {"power": runs.inputs[run, :, 0]})
        np.testing.assert_array_equal(alone[1:], runs.outputs[run, 1:])
    assert np.abs(runs.outputs[0] - runs.outputs[1]).max() > 0.01


def test_a_tap_stands_in_the_place_of_a_component(
    house: Path, heaters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both heaters are surrogates, the plant too: what every surrogate has means the same in both."""
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "logs"))
    config = TapConfig(Mode.GUARDED)
    tap = build_tap_fmu(heaters["slow"], tmp_path / "Tap.fmu", config, heaters["fast"])
    assert tap.warnings == ()
    swap(house, "heater", tap.path, tmp_path / "tapped.ssp")
    result = compare(house, tmp_path / "tapped.ssp", STEP_SIZE)
    assert [signal.largest for signal in result.signals] == [0.0, 0.0, 0.0]  # one law in two FMUs, whoever leads
    (run,) = read_logs([tmp_path / "logs"])
    assert (run.step_count, run.parameters["seed"]) == (12, 1.0)
    assert not run.plant_leads.any() and run.given[:, run.names(Causality.OUTPUT).index("in_domain")].all()


def test_what_cannot_be_tapped_is_refused(house: Path, heaters: dict[str, Path], tmp_path: Path) -> None:
    assert main(["record", "--tap", str(house), "--step-size", "2"]) == 2
    assert main(["record"]) == 2
    with pytest.raises(ConfigError, match="has no component 'boiler'"):
        record_in_system(house, "boiler", STEP_SIZE)
    alone = system("alone", [component("heater", "resources/A.fmu", [connector("power", "input")])], [])
    ssp = write_ssp(tmp_path / "alone.ssp", alone, {"resources/A.fmu": heaters["slow"]}, stop=10.0)
    with pytest.raises(ConfigError, match="no output of the system is connected to an input of 'heater'"):
        record_in_system(ssp, "heater", STEP_SIZE)
