"""Taps of a plant in C, loaded by FMPy: the plant's interface, its numbers, and its surrogate beside and before it."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fmpy import read_model_description
from fmpy.validation import validate_fmu

from surrogate_fmu.errors import SurrogateError
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.instance import FmuInstance
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.guard import Leader
from surrogate_fmu.fmu.tap.plan import Mode, TapConfig
from surrogate_fmu.fmu.tap.reading import read_logs
from surrogate_fmu.fmu.unpacked import UnpackedFmu
from surrogate_fmu.variables import Causality
from tests.fmu.tap.conftest import CALM, WILD, BuildTap, Run, refusal_of

Drive = Callable[..., Run]
POWERS = [CALM, 20.0, -5.0, 30.0, CALM, 0.0, 15.0, 2.0]
EXCURSION = [CALM, 20.0, 30.0, WILD, 70.0, 20.0, CALM, CALM, 0.0, 5.0, 10.0]
OUT, INSIDE, BACK = 3, 3, 8  # steps: the first outside, those that must be inside, the first that the surrogate leads again


def description_of(fmu: Path) -> ElementTree.Element:
    with zipfile.ZipFile(fmu) as archive:
        return ElementTree.fromstring(archive.read("modelDescription.xml"))


@pytest.mark.parametrize("mode", Mode)
def test_the_interface_is_the_plants(mode: Mode, plant: Path, tap: BuildTap) -> None:
    path = tap(mode)
    assert validate_fmu(str(path)) == []
    first, second = (description_of(file) for file in (plant, path))
    for section in ("UnitDefinitions", "DefaultExperiment", "ModelVariables", "ModelStructure"):
        texts = [ElementTree.tostring(root.find(section), encoding="unicode") for root in (first, second)]
        assert ElementTree.canonicalize(texts[1], strip_text=True) == ElementTree.canonicalize(texts[0], strip_text=True)
    before, after = (read_model_description(str(file)) for file in (plant, path))
    assert after.modelName == before.modelName
    assert after.guid != before.guid and after.coSimulation.modelIdentifier == "thermal_mass_tap"
    assert after.coSimulation.canGetAndSetFMUstate and not after.coSimulation.canSerializeFMUstate  # the C plant can, a tap cannot
    assert not after.coSimulation.providesDirectionalDerivative


def test_equal_builds_have_equal_bytes(tap: BuildTap) -> None:
    first = tap(Mode.GUARDED).read_bytes()
    assert tap(Mode.GUARDED).read_bytes() == first
    assert tap(Mode.GUARDED, inside=7).read_bytes() != first


def test_recorded_runs_are_the_bare_plants(plant: Path, tap: BuildTap, drive: Drive, logs: Path) -> None:
    bare, tapped = drive(plant, POWERS), drive(tap(), POWERS)
    np.testing.assert_array_equal(tapped.outputs, bare.outputs)
    assert tapped.read_back == POWERS
    (run,) = read_logs([logs])
    assert run.path.name == "room_1-001.jsonl"
    np.testing.assert_array_equal(run.plant, bare.outputs)
    np.testing.assert_array_equal(run.inputs[:, 0], POWERS)
    np.testing.assert_array_equal(run.times, 2.0 * np.arange(len(POWERS) + 1))
    assert run.parameters == {"temperature_start": 291.0, "seed": 5.0} and run.seed == "seed"
    assert np.isnan(run.surrogate_outputs).all() and run.handovers == ()


def test_a_shadow_changes_nothing_and_is_logged(plant: Path, surrogate: Path, tap: BuildTap, drive: Drive, logs: Path) -> None:
    bare, tapped = drive(plant, EXCURSION), drive(tap(Mode.SHADOW), EXCURSION)
    np.testing.assert_array_equal(tapped.outputs, bare.outputs)
    (run,) = read_logs([logs])
    np.testing.assert_array_equal(run.surrogate_outputs[1:], drive(surrogate, EXCURSION).outputs[1:])
    assert run.plant_leads.all() and not run.handovers
    assert "outside the training range" in run.path.read_text()


def test_the_solver_takes_over_outside_the_domain_and_gives_back(
    plant: Path, surrogate: Path, tap: BuildTap, drive: Drive, logs: Path
) -> None:
    tapped = drive(tap(Mode.GUARDED, inside=INSIDE), EXCURSION)
    bare, fast = drive(plant, EXCURSION), drive(surrogate, EXCURSION)
    np.testing.assert_array_equal(tapped.outputs[0], bare.outputs[0])  # the start is the plant's
    np.testing.assert_array_equal(tapped.outputs[1 : OUT + 1], fast.outputs[1 : OUT + 1])
    np.testing.assert_array_equal(tapped.outputs[OUT + 1 : BACK + 1], bare.outputs[OUT + 1 : BACK + 1])
    np.testing.assert_array_equal(tapped.outputs[BACK + 1 :], fast.outputs[BACK + 1 :])
    assert np.abs(fast.outputs - bare.outputs)[2:].min() > 0.0
    assert tapped.read_back == EXCURSION  # also while the plant stands still
    told = [message.text for message in tapped.messages if message.category != "logStatusError"]
    assert "from 6 s the solver takes over: power = 80 lies outside the training range [-50, 50]" in told
    assert "from 16 s the surrogate leads: trusted for 3 steps in a row" in told
    (run,) = read_logs([logs])
    assert [h.to for h in run.handovers] == [Leader.PLANT, Leader.SURROGATE]
    out, back = run.handovers
    assert (out.communication_point, out.replayed_steps) == (2.0 * OUT, OUT) and out.seconds > 0.0
    assert out.reason == "power = 80 lies outside the training range [-50, 50]"
    assert back.communication_point == 2.0 * BACK and back.reason == "trusted for 3 steps in a row"
    np.testing.assert_array_equal(run.plant[: BACK + 1], bare.outputs[: BACK + 1])  # what was replayed is known now
    assert np.isnan(run.plant[BACK + 1 :]).all()
    np.testing.assert_array_equal(run.given, tapped.outputs)


def test_a_second_excursion_replays_what_came_after_the_first(plant: Path, tap: BuildTap, drive: Drive, logs: Path) -> None:
    powers = [*EXCURSION, WILD, CALM]
    tapped, bare = drive(tap(Mode.GUARDED, inside=INSIDE), powers), drive(plant, powers)
    np.testing.assert_array_equal(tapped.outputs[-2:], bare.outputs[-2:])
    (run,) = read_logs([logs])
    assert [h.replayed_steps for h in run.handovers] == [OUT, 0, len(EXCURSION) - BACK]
    np.testing.assert_array_equal(run.plant, bare.outputs)


def test_the_surrogate_leads_again_when_it_agrees(tap: BuildTap, drive: Drive, logs: Path) -> None:
    drive(tap(Mode.GUARDED, inside=1, agree={"temperature": 0.05}), EXCURSION)
    drive(tap(Mode.GUARDED, inside=1, agree={"temperature": 5.0}), EXCURSION)
    strict, loose = read_logs([logs])
    assert strict.plant_leads.sum() == len(EXCURSION) - OUT and loose.plant_leads.sum() == 3
    assert "'temperature' differs by 0." in strict.path.read_text()


def test_a_step_that_the_surrogate_cannot_take_is_the_plants(plant: Path, tap: BuildTap, drive: Drive, logs: Path) -> None:
    """The surrogate steps by 2 s; here the plant can no less, so both refuse 3 s and the refusal is the plant's own."""
    with pytest.raises(Exception, match="no whole multiple"):
        drive(tap(Mode.GUARDED), POWERS, 3.0)
    run = json.loads(next(iter(logs.glob("*.jsonl"))).read_text().splitlines()[1])
    assert "start" in run


def test_a_reset_is_a_fresh_instance(tap: BuildTap, logs: Path) -> None:
    unpacked = UnpackedFmu(tap(Mode.GUARDED, inside=1))
    instance = FmuInstance(unpacked, "room", messages_refuse=False)
    references = {v.name: v.valueReference for v in unpacked.description.modelVariables}
    fmu, ends = instance.fmu, []
    for _ in range(2):
        fmu.setupExperiment(None, 0.0)
        fmu.enterInitializationMode()
        fmu.exitInitializationMode()
        for step, power in enumerate(EXCURSION):
            fmu.setReal([references["power"]], [power])
            fmu.doStep(2.0 * step, 2.0)
        ends.append(fmu.getReal([references["temperature"]]))
        instance.call(fmu.reset)
    assert ends[0] == ends[1]
    instance.free()
    first, second = read_logs([logs])
    np.testing.assert_array_equal(first.given, second.given)
    assert first.handovers[0].reason == second.handovers[0].reason


def test_a_host_without_fmpy_is_told_so(tap: BuildTap, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = UnpackedFmu(tap(log="another-copy-of-the-code"))
    monkeypatch.setitem(sys.modules, "fmpy", None)  # as good as not installed
    with pytest.raises(SurrogateError, match="the FMU thermal_mass_tap needs 'fmpy' in the Python that the host loads; install it"):
        FmuInstance(unpacked)


def test_a_state_of_another_instance_is_refused(tap: BuildTap, logs: Path) -> None:
    unpacked = UnpackedFmu(tap())
    first, second = (FmuInstance(unpacked, name, messages_refuse=False) for name in ("first", "second"))
    for instance in (first, second):
        instance.call(instance.fmu.setupExperiment, None, 0.0)
        before = instance.call(instance.fmu.getFMUstate)
        instance.call(instance.fmu.enterInitializationMode)
        instance.call(instance.fmu.exitInitializationMode)
        assert "from before the run started; reset the FMU instead" in refusal_of(instance.call, instance.fmu.setFMUstate, before)
        instance.fmu.freeFMUstate(before)
    state = first.call(first.fmu.getFMUstate)
    assert "the FMU state is one of another instance of this tap" in refusal_of(second.call, second.fmu.setFMUstate, state)
    first.call(first.fmu.doStep, 0.0, 2.0)
    first.call(first.fmu.setFMUstate, state)
    first.call(first.fmu.doStep, 0.0, 2.0)
    first.fmu.freeFMUstate(state)
    first.free()
    second.free()


def test_arrays_are_recorded_around(field_fmu: Path, fmi: FmiVersion, tmp_path: Path, logs: Path) -> None:
    """With FMI 3.0 as one variable each, logged by elements; with FMI 2.0 they are scalars."""
    path = build_tap_fmu(field_fmu, tmp_path / "field.fmu", TapConfig()).path
    forces, values = np.arange(6.0), []
    for fmu in (field_fmu, path):
        unpacked = UnpackedFmu(fmu)
        instance = FmuInstance(unpacked, "field", messages_refuse=False)
        listed = {v.name: v.valueReference for v in unpacked.description.modelVariables}
        references = [vr for name, vr in listed.items() if name.startswith("force")]
        outputs = [vr for name, vr in listed.items() if name.startswith(("displacement", "total"))]
        instance.call(instance.fmu.setupExperiment, None, 0.0)
        instance.call(instance.fmu.enterInitializationMode)
        instance.call(instance.fmu.exitInitializationMode)
        instance.call(instance.fmu.setReal, [*references], forces.tolist())
        instance.call(instance.fmu.doStep, 0.0, 1.0)
        values.append(instance.call(instance.fmu.getReal, outputs))
        instance.free()
    assert values[0] == values[1] and len(values[0]) == 7
    (run,) = read_logs([logs])
    assert run.plant[1, run.names(Causality.OUTPUT).index("total")] == values[0][-1]
    assert run.names(Causality.INPUT) == tuple(f"force[{i},{j}]" for i in (1, 2) for j in (1, 2, 3))
    assert run.inputs.tolist() == [forces.tolist()]


def test_instances_have_logs_of_their_own(tap: BuildTap, drive: Drive, logs: Path) -> None:
    path = tap()
    first, second = drive(path, POWERS), drive(path, POWERS[:3], start={"seed": 6})
    assert (first.outputs[:4] != second.outputs).any()
    assert [run.step_count for run in read_logs([logs])] == [len(POWERS), 3]
    assert [run.path.name for run in read_logs([logs])] == ["room_1-001.jsonl", "room_1-002.jsonl"]
