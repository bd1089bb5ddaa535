"""What cannot be tapped, and how a tap says what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fmpy import extract

from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import SurrogateError
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.tap.inner import InnerFmu
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig
from tests.fmu.tap.conftest import BuildTap, Run
from tests.fmu.tap.plants import LighterMass, rewritten
from tests.masters.thermostat import make_thermostat_bundle
from tests.toy import MANIFEST

Refused = Callable[..., str]


@pytest.fixture(scope="session", params=[FmiVersion.V2], ids=["FMI 2.0"])
def fmi(request: pytest.FixtureRequest) -> FmiVersion:
    """Building looks at names; one version is enough here."""
    return request.param


@pytest.fixture
def refused(plant: Path, surrogate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """The sentence that the command line refuses with."""

    def run(*arguments: object, fmu: Path = plant, output: Path = tmp_path / "o.fmu", code: int = 7) -> str:
        assert main(["tap", str(fmu), "-o", str(output), *map(str, arguments)]) == code
        assert not (tmp_path / "o.fmu").exists()
        return capsys.readouterr().err

    return run


def test_plants_that_cannot_be_tapped(refused: Refused, plant: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.fmu"
    text.write_text("no archive")
    assert "there is no FMU at" in refused(fmu=tmp_path / "none.fmu", code=2)
    assert "is no FMU, or damaged" in refused(fmu=text, code=2)
    exchange = rewritten(plant, tmp_path / "me.fmu", {"<CoSimulation": "<ModelExchange"})
    assert "is for model exchange only, without a solver of its own; export it for co-simulation" in refused(fmu=exchange, code=2)
    assert "is one of the FMUs that go into the tap; give the tap another name" in refused(output=plant)


def test_modes_and_surrogates_belong_together(refused: Refused, surrogate: Path) -> None:
    assert "there is no mode 'watch'; the modes are record, shadow, guarded" in refused("--mode", "watch", code=2)
    assert "mode shadow needs a surrogate; give one with --surrogate" in refused("--mode", "shadow")
    assert "mode record runs the plant alone; leave --surrogate out" in refused("--surrogate", surrogate)
    assert "--inside, --agree are for mode guarded, and the mode is shadow" in refused(
        "--mode", "shadow", "--surrogate", surrogate, "--inside", 3, "--agree", "flow=1", code=2
    )


def test_surrogates_that_do_not_fit(refused: Refused, plant: Path, surrogate: Path, tmp_path: Path) -> None:
    def guarded(fmu: Path, *options: object, code: int = 7) -> str:
        return refused("--mode", "guarded", "--surrogate", fmu, *options, code=code)

    thermostat = build_native_fmu(make_thermostat_bundle(), tmp_path / "Thermostat.fmu", BuildConfig())
    lacking = guarded(thermostat)
    assert "Thermostat.fmu cannot stand in for Slow.fmu: it lacks the input 'power', the input 'ambient_temperature'" in lacking
    assert "Give the surrogate that was made of this plant, with all its inputs and outputs" in lacking
    said = guarded(plant)
    assert "Slow.fmu has no variable 'in_domain' that says where the solver must take over" in said
    assert "there is no FMU at" in guarded(tmp_path / "none.fmu", code=2)
    units = tuple(replace(v, unit="kW") if v.name == "flow" else v for v in MANIFEST.variables)
    other = export_bundle(LighterMass(), replace(MANIFEST, variables=units))
    kilo = build_native_fmu(other, tmp_path / "Kilo.fmu", BuildConfig())
    assert "it lacks 'flow' in W (there it is in kW)" in guarded(kilo)
    assert "has no output 'flow.std', so it has no spread to limit; build it with" in guarded(surrogate, "--spread", "flow=1")
    assert "--agree names 'speed', which is no output of Slow.fmu; it has temperature, flow" in guarded(
        surrogate, "--agree", "speed=1"
    )
    assert "--spread 'flow' must be OUTPUT=VALUE, such as --spread temperature=0.5" in guarded(
        surrogate, "--spread", "flow", code=2
    )
    assert "agree of 'flow' is -1; it must be above 0" in guarded(surrogate, "--agree", "flow=-1")
    assert "inside is 0 steps; the surrogate leads again after at least 1" in guarded(surrogate, "--inside", 0)


def test_the_command_line_wants_one_thing(plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wants = "tap takes SLOW.fmu, --to-dataset LOGS or --to-report LOGS, one of them, and -o PATH"
    for arguments in ([], [str(plant)], [str(plant), "--to-report", "x", "-o", "y"], ["-o", "y"]):
        assert main(["tap", *arguments]) == 2
        assert wants in capsys.readouterr().err
    assert main(["tap", "--to-report", "x", "-o", "y", "--log", "z", "--mode", "shadow"]) == 2
    assert "--mode, --log are for building a tap; leave them out with logs" in capsys.readouterr().err
    assert main(["tap", str(plant), "-o", "y", "--steps", "3"]) == 2
    assert "--steps is for --to-dataset" in capsys.readouterr().err


def test_settings_of_other_modes_are_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match="spread is for mode guarded, and the mode is shadow"):
        TapConfig(Mode.SHADOW, spread={"flow": 1.0})
    with pytest.raises(ValueError, match="the log folder has no name"):
        TapConfig(log="")


def test_a_log_folder_that_cannot_be_written_is_told_at_instantiation(
    tap: BuildTap, drive: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "file" / "logs"))
    with pytest.raises(SurrogateError, match=rf"the log folder .*file/logs, which {LOG_VARIABLE} names, cannot be written"):
        drive(tap(), [1.0])
    monkeypatch.delenv(LOG_VARIABLE)
    with pytest.raises(
        SurrogateError, match=rf"which the FMU was built to write to, cannot be written .*; set {LOG_VARIABLE} to one"
    ):
        drive(tap(log=str(tmp_path / "file")), [1.0])


def test_a_value_that_the_plant_refuses_holds_the_step(tap: BuildTap, tmp_path: Path) -> None:
    extract(str(tap()), str(tmp_path / "unpacked"))
    instance = InnerFmu(tmp_path / "unpacked", "room", False, lambda message: None)
    power = instance.place("power")
    instance.setup_experiment(0.0)
    with pytest.raises(SurrogateError, match="before the FMU is initialized"):
        instance.advance(0.0, 2.0)
    instance.enter_initialization_mode()
    instance.exit_initialization_mode()
    instance.set(power.type, [power.reference], [1000.0])  # its max is 100
    with pytest.raises(SurrogateError, match="outside the allowed range"):
        instance.advance(0.0, 2.0)
    instance.set(power.type, [power.reference], [10.0])
    instance.advance(0.0, 2.0)
    instance.set(power.type, [instance.place("temperature").reference], [300.0])  # an output, which can never be made good
    with pytest.raises(SurrogateError, match="'temperature' is calculated and cannot be set"):
        instance.advance(2.0, 2.0)
    instance.advance(2.0, 2.0)
