"""Systems in the master of this project: the numbers, and what a comparison says of them."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.ssp.compare import compare
from surrogate_fmu.ssp.master import SystemMaster
from surrogate_fmu.ssp.structure import read_structure
from surrogate_fmu.ssp.swap import swap
from tests.ssp.conftest import FACTOR, HEATER, OFFSET, SEED, SETPOINT, SLOW, START
from tests.ssp.systems import component, connection, connector, system, write_ssp
from tests.toy import STEP_SIZE

STEPS = 12


def by_hand(heaters: dict[str, Path], seed: int) -> np.ndarray:
    """(point, 2): temperature and heating, the same system in ten lines."""
    heater = FmuSession(heaters["slow"], seed=seed, parameters={"temperature_start": START})
    control = FmuSession(heaters["thermostat"], parameters={"setpoint": SETPOINT})
    with heater, control:
        room, heat = heater.initialize(), control.initialize()
        rows = [(room["temperature"], heat["heating"])]
        for _ in range(STEPS):
            power, measured = FACTOR * heat["heating"] + OFFSET, room["temperature"]
            room, heat = heater.do_step({"power": power}), control.do_step({"measured": measured})
            rows.append((room["temperature"], heat["heating"]))
    return np.array(rows)


def test_a_nested_system_gives_the_numbers_of_its_parts(house: Path, heaters: dict[str, Path]) -> None:
    with SystemMaster(read_structure(house)) as master:
        first = master.run(STEP_SIZE, STEPS * STEP_SIZE)
        second = master.run(STEP_SIZE, STEPS * STEP_SIZE)
        other = master.run(STEP_SIZE, STEPS * STEP_SIZE, values={"house.heater": {"seed": SEED + 1.0}})
    seen = np.stack([first.signals["house.heater.temperature"], first.signals["control.heating"]], axis=-1)
    np.testing.assert_array_equal(seen, by_hand(heaters, SEED))
    for name, signal in first.signals.items():
        np.testing.assert_array_equal(signal, second.signals[name])
    expected = by_hand(heaters, SEED + 1)
    np.testing.assert_array_equal(other.signals["house.heater.temperature"], expected[:, 0])
    assert np.abs(expected - seen).max() > 0.01


def test_the_same_law_compares_as_equal_and_the_other_component_as_unchanged(
    house: Path, heaters: dict[str, Path], tmp_path: Path
) -> None:
    swap(house, "heater", heaters["fast"], tmp_path / "fast.ssp")
    result = compare(house, tmp_path / "fast.ssp", STEP_SIZE, runs=3)
    assert result.swapped == ("house.heater",)
    assert result.times[-1] == 24.0  # of the default experiment
    assert {signal.name for signal in result.signals} == {"house.heater.temperature", "house.heater.flow", "control.heating"}
    for signal in result.signals:
        assert signal.rmse == 0.0  # both FMUs hold one bundle: equal bits
        assert signal.spread_before == signal.spread_after > 0.0
    assert set(result.seconds_after) == {"house.heater", "control"}


def test_another_law_is_seen(heaters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A weaker controller, in the place of a component that gives other numbers."""
    root = system(
        "loop",
        [component("heater", "resources/A.fmu", HEATER), component("control", "resources/T.fmu", [connector("heating", "output")])],
        [connection("control.heating", "heater.power"), connection("heater.temperature", "control.measured")],
    )
    files = {"resources/A.fmu": heaters["slow"], "resources/T.fmu": heaters["thermostat"]}
    first = write_ssp(tmp_path / "first.ssp", root, files, stop=40.0)
    weaker = root.replace("</ssd:Connection>", '<ssd:LinearTransformation factor="0.2"/></ssd:Connection>', 1)
    second = write_ssp(tmp_path / "second.ssp", weaker, files, stop=40.0)
    assert main(["compare", str(first), str(second), "--step-size", "2", "--runs", "2", "-o", str(tmp_path / "report")]) == 0
    said = capsys.readouterr().out
    assert "heater.temperature" in said and "spread" in said and "the system:" in said
    page = (tmp_path / "report" / "compare.html").read_text()
    assert page.count("<svg") == 3 and "No component has another source." in page
    result = compare(first, second, 2.0, runs=2)
    assert result.signals[0].rmse > 0.01


def test_what_cannot_be_compared_is_refused(house: Path, heaters: dict[str, Path], tmp_path: Path) -> None:
    other = system("other", [component("oven", "resources/Slow%20Heater.fmu", HEATER)], [])
    apart = write_ssp(tmp_path / "apart.ssp", other, {SLOW: heaters["slow"]})
    with pytest.raises(ConfigError, match=r"have no output in common; they are not one system before and after"):
        compare(house, apart, STEP_SIZE)
    with pytest.raises(ConfigError, match="a step of 100 s does not fit a run from 0 to 24 s"):
        compare(house, house, 100.0)
    with pytest.raises(PlantError, match=r"the step at 0 s failed"):
        compare(house, house, 0.7)
    lost = write_ssp(tmp_path / "lost.ssp", other, {}, stop=24.0)
    with pytest.raises(ConfigError, match=r"'oven' is 'resources/Slow%20Heater\.fmu', no FMU in the archive"):
        compare(lost, lost, STEP_SIZE)
    bound = other.replace(
        "</ssd:Component>", '<ssd:ParameterBindings><ssd:ParameterBinding source="x.ssv"/></ssd:ParameterBindings></ssd:Component>'
    )
    with pytest.raises(ConfigError, match=r"the parameter set 'x\.ssv' that SystemStructure\.ssd names is not in the archive"):
        read_structure(write_ssp(tmp_path / "bound.ssp", bound, {SLOW: heaters["slow"]}))
