"""What the FMU refuses: the FMI status, the sentence, and that the instance lives on and can be freed.

The raw FMI calls run in processes of their own: PythonFMU drops references when an exception reaches it, which a slave
that did not see to it would pay for with a crash at fmi2FreeInstance.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fmpy import read_model_description

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import CallOrderError, DeviceError, DomainError, InputError, SessionError, StepSizeError
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.interface import INTEGER_MAX, LONG_MAX
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.manifest import DomainPolicy

OK, DISCARD, FATAL = 0, 2, 4


@pytest.fixture
def running(toy_fmu: Path) -> Iterator[FmuSession]:
    with FmuSession(toy_fmu, seed=5) as session:
        session.initialize()
        yield session


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"power": float("nan")}, "'power': expected a finite number in 'W'"),
        ({"power": float("inf")}, "'power': expected a finite number"),
        ({"power": 500.0}, r"'power': 500.0 is outside the allowed range \[-100, 100\] W"),
        ({"ambient_temperature": 290.0, "power": -500.0}, "'power'"),
        ({"temperature": 1.0}, "output"),
        ({"no such": 1.0}, "no variable is called"),
        ({"power": "much"}, "expected a number"),
    ],
)
def test_bad_inputs_are_refused_and_undone(running: FmuSession, inputs: dict, sentence: str) -> None:
    before, values = running.do_step({"power": 20.0}), running.values
    with pytest.raises(InputError, match=sentence):
        running.do_step(inputs)
    assert running.outputs == before and running.values == values
    running.do_step()
    running.reset()
    running.initialize()
    assert running.do_step({"power": 20.0}) == before


@pytest.mark.parametrize("size", [3.0, 0.0, -2.0, 1e-9, float("nan"), float("inf")])
def test_step_sizes_that_do_not_fit_are_refused(running: FmuSession, size: float) -> None:
    before = running.outputs
    with pytest.raises(StepSizeError, match="2 s"):
        running.do_step(communication_step_size=size)
    assert running.outputs == before
    running.do_step()


def test_a_step_from_another_time_is_refused(running: FmuSession) -> None:
    running.do_step()
    with pytest.raises(StepSizeError, match="the run stands at t = 2 s"):
        running._call(running._fmu.doStep, 0.0, 2.0)
    with pytest.raises(StepSizeError):
        running._call(running._fmu.doStep, float("nan"), 2.0)
    running._call(running._fmu.doStep, 2.0 + 1e-9, 2.0)  # masters sum floats


def test_domain_policy_refuse(toy_fmu: Path) -> None:
    with FmuSession(toy_fmu, domain_policy=DomainPolicy.REFUSE) as session:
        session.initialize()
        before = session.do_step()
        with pytest.raises(DomainError, match="power = 60"):
            session.do_step({"power": 60.0})
        assert session.outputs == before and session.values["power"] == 0.0
        session.do_step({"power": 40.0})


def test_a_refused_initialization_can_be_tried_again(toy_fmu: Path) -> None:
    with FmuSession(toy_fmu, seed=5, domain_policy=DomainPolicy.REFUSE, parameters={"temperature_start": 350.0}) as session:
        session.set_values({"power": 12.0})
        for _ in range(3):
            with pytest.raises(DomainError, match="temperature_start = 350"):
                session.initialize()
        with pytest.raises(CallOrderError):
            session.do_step()
        session.set_values({"temperature_start": 310.0})
        assert session.initialize()["temperature"] == 310.0
        assert session.values["power"] == 12.0
        session.do_step()


def test_absent_device_is_refused_with_a_sentence(toy_fmu: Path) -> None:
    for device in ("cuda:7", "abacus"):
        with FmuSession(toy_fmu, device=device) as session, pytest.raises(DeviceError, match=device):
            session.initialize()


def test_calls_out_of_order_are_refused(running: FmuSession, toy_fmu: Path) -> None:
    with FmuSession(toy_fmu) as fresh:
        with pytest.raises(CallOrderError, match="initialize first"):
            fresh.do_step()
        with pytest.raises(CallOrderError, match="initialize first"):
            _ = fresh.outputs
    for call in (fresh.do_step, fresh.snapshot, fresh.reset, lambda: fresh.values, lambda: fresh.in_domain):
        with pytest.raises(CallOrderError, match="closed"):
            call()
    fresh.close()
    for call in (running.initialize, lambda: running.configure(seed=1), lambda: running.set_values({"temperature_start": 300.0})):
        with pytest.raises(CallOrderError):
            call()
    running.do_step()


@pytest.mark.parametrize("seed", [-1, "too large", True, 1.0])
def test_seeds_outside_an_fmi_integer_are_refused(toy_fmu: Path, fmi: FmiVersion, seed: object) -> None:
    largest = INTEGER_MAX if fmi is FmiVersion.V2 else LONG_MAX
    with pytest.raises(InputError, match=str(largest)):
        FmuSession(toy_fmu, seed=largest + 1 if seed == "too large" else seed)  # type: ignore[arg-type]
    with FmuSession(toy_fmu, seed=largest) as session:
        session.initialize()


def test_an_fmu_whose_bundle_was_changed_is_not_instantiated(toy_bundle: Bundle, tmp_path: Path) -> None:
    import zipfile

    path = build_python_fmu(toy_bundle, tmp_path / "a.fmu", model_identifier="changed")
    folder = tmp_path / "unpacked"
    zipfile.ZipFile(path).extractall(folder)
    bundle = folder / "resources" / "thermal_mass.bundle"
    bundle.write_bytes(bundle.read_bytes()[:-100])
    with pytest.raises(SessionError, match=r"BundleError: .*thermal_mass.bundle is damaged"):
        FmuSession(folder)


_RAW = """
import json, sys
from fmpy import extract, read_model_description
from fmpy.fmi1 import FMICallException
from fmpy.fmi2 import FMU2Slave, fmi2CallbackFunctions, fmi2CallbackLoggerTYPE
from surrogate_fmu.fmu.fmi3_slave import Fmi3Slave
from surrogate_fmu.fmu.instance import sizes_of

folder = extract(sys.argv[1])
description = read_model_description(folder)
references = {v.name: v.valueReference for v in description.modelVariables}
messages = []
callbacks = fmi2CallbackFunctions()
callbacks.logger = fmi2CallbackLoggerTYPE(lambda env, name, status, category, text: messages.append((status, text.decode())))
facts = dict(guid=description.guid, unzipDirectory=folder, modelIdentifier="thermal_mass", instanceName="one")


def instance():
    if description.fmiVersion == "2.0":
        fmu = FMU2Slave(**facts)
        fmu.instantiate(callbacks=callbacks, loggingOn=True)
        return fmu
    fmu = Fmi3Slave(sizes_of(description), **facts)
    fmu.instantiate(loggingOn=True, logMessage=lambda env, status, category, text: messages.append((status, text.decode())))
    return fmu


def call(function, *arguments):
    messages.clear()
    try:
        function(*arguments)
        status = 0
    except FMICallException as error:
        status = error.status
    return [status, [text for _, text in messages]]


def initialized():
    fmu = instance()
    fmu.setupExperiment(startTime=0.0)
    fmu.enterInitializationMode()
    fmu.exitInitializationMode()
    return fmu


seen = {}
"""


def test_statuses_and_sentences_of_the_raw_calls(toy_fmu: Path, run_python: Callable[..., str]) -> None:
    script = (
        _RAW
        + """
power = [references["power"]]
fmu = instance()
seen["do_step before initialization"] = call(fmu.doStep, 0.0, 2.0)
seen["exit before enter"] = call(fmu.exitInitializationMode)
seen["exit again"] = call(fmu.exitInitializationMode)
fmu.freeInstance()

fmu = initialized()
seen["nan"] = call(fmu.setReal, power, [float("nan")])
seen["step after nan"] = call(fmu.doStep, 0.0, 2.0)
seen["step after nan again"] = call(fmu.doStep, 0.0, 2.0)
seen["good value"] = call(fmu.setReal, power, [1.0])
seen["step after good value"] = call(fmu.doStep, 0.0, 2.0)
seen["unknown reference"] = call(fmu.getReal, [4711])
seen["wrong type"] = call(fmu.setInteger, power, [1])
fmu.setReal(power, [1.0])
seen["wrong type read"] = call(fmu.getBoolean, power)
seen["boolean output"] = call(fmu.setBoolean, [references["in_domain"]], [1])
seen["step after output"] = call(fmu.doStep, 2.0, 2.0)
seen["string in a run"] = call(fmu.setString, [references["device"]], ["cuda"])
fmu.setString([references["device"]], ["cpu"])
seen["step 3 s"] = call(fmu.doStep, 2.0, 3.0)
seen["step 2 s"] = call(fmu.doStep, 2.0, 2.0)
fmu.terminate()
seen["step after terminate"] = call(fmu.doStep, 2.0, 2.0)
fmu.freeInstance()

fmu = instance()
fmu.setupExperiment()
fmu.enterInitializationMode()
fmu.setString([references["device"]], ["cuda:3"])
seen["device"] = call(fmu.exitInitializationMode)
seen["device again"] = call(fmu.exitInitializationMode)
fmu.reset()
fmu.setupExperiment()
fmu.enterInitializationMode()
seen["after reset"] = call(fmu.exitInitializationMode)
seen["step after reset"] = call(fmu.doStep, 0.0, 2.0)
fmu.freeInstance()

for _ in range(20):
    fmu = instance()
    call(fmu.exitInitializationMode)
    fmu.reset()
    call(fmu.exitInitializationMode)
    fmu.freeInstance()

fmu = instance()
seen["bad enumeration"] = call(fmu.setInteger, [references["z_mode"]], [9])
fmu.setupExperiment()
fmu.enterInitializationMode()
seen["exit after bad enumeration"] = call(fmu.exitInitializationMode)
fmu.freeInstance()
print(json.dumps(seen))
"""
    )
    seen = json.loads(run_python(script, toy_fmu))
    power = next(v.valueReference for v in read_model_description(toy_fmu).modelVariables if v.name == "power")
    expected = {
        "do_step before initialization": (DISCARD, "CallOrderError: "),
        "exit before enter": (FATAL, "CallOrderError: "),
        "exit again": (FATAL, "CallOrderError: "),
        "nan": (OK, "InputError: 'power': expected a finite number"),
        "step after nan": (DISCARD, "InputError: 'power'"),
        "step after nan again": (DISCARD, "InputError: 'power'"),
        "unknown reference": (OK, "InputError: value reference 4711"),
        "wrong type": (OK, f"InputError: value reference {power} is no Integer"),
        "wrong type read": (OK, f"InputError: value reference {power} is no Boolean"),
        "boolean output": (OK, "InputError: 'in_domain' is calculated"),
        "string in a run": (OK, "CallOrderError: 'device' is a parameter"),
        "step after output": (DISCARD, "InputError: 'in_domain' is calculated"),
        "step 3 s": (DISCARD, "StepSizeError: a communication step of 3 s"),
        "step after terminate": (DISCARD, "CallOrderError: "),
        "device": (FATAL, "DeviceError: device 'cuda:3'"),
        "device again": (FATAL, "DeviceError: device 'cuda:3'"),
        "bad enumeration": (OK, "InputError: 'z_mode': 9 is outside the allowed range [1, 4]"),
        "exit after bad enumeration": (FATAL, "InputError: 'z_mode'"),
    }
    for name, (status, sentence) in expected.items():
        assert seen[name][0] == status, (name, seen[name])
        assert sentence in seen[name][1][-1], (name, seen[name])
    for name in ("good value", "step after good value", "step 2 s", "after reset", "step after reset"):
        assert seen[name] == [OK, []], (name, seen[name])


def test_host_without_torch_is_told_so(toy_fmu: Path, run_python: Callable[..., str]) -> None:
    script = (
        """
import sys
sys.modules["torch"] = None
"""
        + _RAW
        + """
try:
    instance()
except Exception as error:
    print(error, messages)
"""
    )
    answer = run_python(script, toy_fmu)
    assert "Failed to instantiate" in answer and "needs 'torch'" in answer.replace("\\", "")


def test_an_fmu_with_the_description_of_another_build_is_not_instantiated(
    toy_bundle: Bundle, fmi: FmiVersion, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """The library of PythonFMU is given the GUID and does not look; in a process of its own, since a refusal stays in it."""
    script = """
import sys, zipfile
from pathlib import Path
from surrogate_fmu.errors import SessionError
from surrogate_fmu.fmu.master import FmuSession

folder = Path(sys.argv[2])
zipfile.ZipFile(sys.argv[1]).extractall(folder)
description = folder / "modelDescription.xml"
text = description.read_text()
description.write_text(text.replace('="{', '="{0', 1))
try:
    FmuSession(folder)
except SessionError as error:
    print(error)
description.write_text(text)
with FmuSession(folder) as session:
    session.initialize()
    print(sorted(session.do_step()))
"""
    path = build_python_fmu(toy_bundle, tmp_path / "a.fmu", fmi=fmi)
    refused, stepped = run_python(script, path, tmp_path / "unpacked").strip().splitlines()
    attribute = "instantiationToken" if fmi is FmiVersion.V3 else "guid"
    assert f"modelDescription.xml has the {attribute} {{0" in refused and "use the files of one build" in refused
    assert stepped == "['flow', 'temperature']"
