"""Native FMUs of both versions in FMPy: numbers, start, reset, state, independence."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fmpy
import numpy as np
import pytest
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import CallOrderError, DeviceError, DomainError, InputError, SnapshotError, StepSizeError
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.interface import INTEGER_MAX
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.session import Session
from tests.fmu.native_fmu.conftest import BuildToy
from tests.toy import MANIFEST, STEP_SIZE

STEPS = 8
# Both compute in float32; the exponential and the order of sums differ: a few units in the last place of 300 K.
TOLERANCE = 3e-6


def inputs_at(step: int) -> dict[str, float]:
    return {"power": 10.0 + step % 30, "ambient_temperature": 290.0 - 0.3 * (step % 30)}


def walk(session: Any, first: int = 0, count: int = STEPS) -> list[dict[str, float]]:
    return [session.do_step(inputs_at(step)) for step in range(first, first + count)]


def close(left: list[dict[str, float]], right: list[dict[str, float]]) -> bool:
    return all(
        np.allclose([a["temperature"], a["flow"]], [b["temperature"], b["flow"]], rtol=TOLERANCE, atol=300 * TOLERANCE)
        for a, b in zip(left, right, strict=True)
    )


@pytest.fixture
def session(native_fmu: Path) -> Iterator[FmuSession]:
    with FmuSession(native_fmu, seed=5) as session:
        yield session


def test_fmpy_validation_reports_nothing(native_fmu: Path, latent_native_fmu: Path) -> None:
    assert validate_fmu(str(native_fmu)) == validate_fmu(str(latent_native_fmu)) == []


@pytest.mark.parametrize("z_mode", [ZMode.SAMPLED, ZMode.MEAN, ZMode.HELD])
def test_trajectory_equals_that_of_the_session(toy_bundle: Bundle, native_fmu: Path, z_mode: ZMode) -> None:
    parameters = {"temperature_start": 305.0}
    with FmuSession(native_fmu, seed=5, z_mode=z_mode, parameters=parameters) as fmu:
        session = Session(toy_bundle, seed=5, z_mode=z_mode, parameters=parameters)
        assert close([fmu.initialize()], [session.initialize()])
        assert close(walk(fmu, count=200), walk(session, count=200))


def test_fmpy_simulates_it(toy_bundle: Bundle, native_fmu: Path) -> None:
    result = fmpy.simulate_fmu(
        str(native_fmu),
        stop_time=STEPS * STEP_SIZE,
        output_interval=STEP_SIZE,
        start_values={"seed": 5, "power": 30.0, "temperature_start": 300.0},
        output=["temperature", "flow", "in_domain", "domain_distance"],
    )
    session = Session(toy_bundle, seed=5, parameters={"power": 30.0, "temperature_start": 300.0})
    expected = [session.initialize()] + [session.do_step() for _ in range(STEPS)]
    for name in ("temperature", "flow"):
        assert result[name] == pytest.approx([outputs[name] for outputs in expected], rel=TOLERANCE, abs=300 * TOLERANCE)
    assert result["in_domain"].all() and not result["domain_distance"].any()


def test_multiples_of_the_step_are_substeps(toy_bundle: Bundle, native_fmu: Path) -> None:
    result = fmpy.simulate_fmu(
        str(native_fmu), start_time=100.0, stop_time=124.0, output_interval=6.0, start_values={"seed": 2}, output=["temperature"]
    )
    session = Session(toy_bundle, seed=2)
    expected = [session.initialize()] + [session.do_step(communication_step_size=6.0) for _ in range(4)]
    assert result["temperature"] == pytest.approx([outputs["temperature"] for outputs in expected], rel=TOLERANCE)


def test_outputs_are_previewed_before_the_run(toy_bundle: Bundle, session: FmuSession) -> None:
    fmu = session._fmu
    references = [session._elements[name][0] for name in ("temperature_start", "temperature")]
    fmu.setupExperiment(startTime=0.0)
    fmu.enterInitializationMode()
    for start in (300.0, 310.0):
        fmu.setReal(references[:1], [start])
        assert fmu.getReal(references[1:]) == [pytest.approx(start, rel=1e-6)]
    fmu.exitInitializationMode()
    assert fmu.getReal(references[1:]) == [310.0]


def test_start_values_and_reset(session: FmuSession) -> None:
    declared = {variable.name: variable.start for variable in MANIFEST.condition}
    assert session.values == declared
    start = session.initialize()
    first = walk(session)
    session.reset()
    assert session.values == declared
    assert session.initialize() == start
    assert walk(session) == first


def test_state_goes_back_and_on_in_another_process(
    native_fmu: Path, session: FmuSession, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    session.initialize()
    walk(session)
    session.set_values({"power": -7.0})  # written, not yet used: part of the state
    snapshot = tmp_path / "snapshot"
    snapshot.write_bytes(session.snapshot())
    expected = [session.do_step() for _ in range(70)]
    session.restore(snapshot.read_bytes())
    assert [session.do_step() for _ in range(70)] == expected
    script = """
import sys
from pathlib import Path
from surrogate_fmu.fmu.master import FmuSession
session = FmuSession(sys.argv[1], seed=99)
session.restore(Path(sys.argv[2]).read_bytes())
assert session.values["power"] == -7.0 and session.step_index == 8 and session.seed == 5
print([session.do_step() for _ in range(70)])
session.close()
"""
    assert eval(run_python(script, native_fmu, snapshot)) == expected


def test_damaged_and_foreign_states_are_refused(session: FmuSession, latent_native_fmu: Path) -> None:
    session.initialize()
    before = session.do_step()
    fmu = session._fmu
    state = fmu.getFMUstate()
    serialized = fmu.serializeFMUstate(state)
    fmu.freeFMUstate(state)
    damaged = bytearray(serialized)
    damaged[-5] ^= 1
    for content in (
        bytes(damaged),
        b"",
        b"{}" * 400,
        serialized[:-1],
        serialized + b"\0",
        *(serialized[:n] for n in range(0, 200, 7)),
    ):
        with pytest.raises(SnapshotError, match="damaged or truncated"):
            session._call(fmu.deSerializeFMUstate, content)
    with FmuSession(latent_native_fmu) as other, pytest.raises(SnapshotError, match="of that build"):
        other.restore(session.snapshot())
    assert session.outputs == before
    session.do_step()


def test_external_latents(toy_bundle: Bundle, latent_native_fmu: Path, native_fmu: Path) -> None:
    draws = np.random.default_rng(0).standard_normal((STEPS, 3))
    session = Session(toy_bundle, z_mode=ZMode.EXTERNAL)
    with FmuSession(latent_native_fmu, z_mode=ZMode.EXTERNAL) as fmu:
        assert close([fmu.initialize(z=draws[0])], [session.initialize(z=draws[0])])
        for z in draws:
            assert close([fmu.do_step({"power": 5.0}, z=z)], [session.do_step({"power": 5.0}, z=z)])
    with FmuSession(native_fmu, z_mode=ZMode.EXTERNAL) as fmu, pytest.raises(InputError, match="--external-latents"):
        fmu.initialize()


def test_latents_that_are_not_used_are_warned_of_once(latent_native_fmu: Path) -> None:
    with FmuSession(latent_native_fmu) as fmu:
        fmu.initialize()
        vr = fmu._latents[0]
        fmu._fmu.setReal([vr], [1.0] * fmu._sizes[vr])
        fmu.do_step()
        fmu.do_step()
        assert [message.text for message in fmu.log] == [
            "the latent inputs z are not used: z_mode is sampled; set it to 4 (external)"
        ]


def test_leaving_the_domain_is_said_once_and_shown(session: FmuSession) -> None:
    session.initialize()
    session.do_step({"power": 60.0})
    session.do_step({"power": 61.0})
    assert not session.in_domain and session.domain_distance == pytest.approx(0.11)
    assert [(message.category, message.text) for message in session.log] == [
        ("logStatusWarning", "power = 60 lies outside the training range [-50, 50]")
    ]
    session.do_step({"power": 0.0})
    assert session.in_domain


def test_clamp_and_refuse(native_fmu: Path) -> None:
    with FmuSession(native_fmu, domain_policy=DomainPolicy.CLAMP) as clamped, FmuSession(native_fmu) as inside:
        clamped.initialize(), inside.initialize()
        assert clamped.do_step({"power": 90.0}) == inside.do_step({"power": 50.0})
        assert clamped.values["power"] == 90.0 and not clamped.in_domain
    with FmuSession(native_fmu, domain_policy=DomainPolicy.REFUSE) as session:
        session.initialize()
        before = session.do_step()
        with pytest.raises(DomainError, match=r"power = 60 lies outside .*; stay inside, or choose"):
            session.do_step({"power": 60.0})
        assert session.outputs == before and session.values["power"] == 0.0
        session.do_step({"power": 40.0})


def test_a_refused_initialization_can_be_tried_again(native_fmu: Path) -> None:
    with FmuSession(native_fmu, domain_policy=DomainPolicy.REFUSE, parameters={"temperature_start": 350.0}) as session:
        session.set_values({"power": 12.0})
        for _ in range(3):
            with pytest.raises(DomainError, match="temperature_start = 350"):
                session.initialize()
        session.set_values({"temperature_start": 310.0})
        assert session.initialize()["temperature"] == 310.0
        assert session.values["power"] == 12.0


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"power": float("nan")}, "'power': expected a finite number in 'W', got nan"),
        ({"power": float("-inf")}, "'power': expected a finite number in 'W', got -inf"),
        ({"power": 500.0}, r"'power': 500.0 is outside the allowed range \[-100, 100\] W"),
        ({"ambient_temperature": 290.0, "power": -500.5}, r"'power': -500.5 is outside"),
    ],
)
def test_bad_inputs_are_refused_and_change_nothing(native_fmu: Path, inputs: dict[str, float], sentence: str) -> None:
    with FmuSession(native_fmu, seed=5) as session:
        session.initialize()
        before, values = session.do_step({"power": 20.0}), session.values
        with pytest.raises(InputError, match=sentence):
            session._call(session._fmu.setReal, [session._references[name] for name in inputs], list(inputs.values()))
        assert session.outputs == before and session.values == values
        session.do_step()


@pytest.mark.parametrize("size", [3.0, 0.0, -2.0, 1e-9, 1e18, float("nan"), float("inf")])
def test_step_sizes_that_do_not_fit_are_refused(session: FmuSession, size: float) -> None:
    session.initialize()
    before = session.outputs
    with pytest.raises(StepSizeError, match=r"2 s|smaller"):
        session._call(session._fmu.doStep, 0.0, size)
    assert session.outputs == before
    session.do_step()


def test_a_step_from_another_time_is_refused(session: FmuSession) -> None:
    session.initialize()
    session.do_step()
    for time in (0.0, 4.0, float("nan")):
        with pytest.raises(StepSizeError, match="the run stands at t = 2 s"):
            session._call(session._fmu.doStep, time, 2.0)
    session._call(session._fmu.doStep, 2.0 + 1e-9, 2.0)  # masters sum floats


def test_steps_may_be_differences_of_large_times(native_fmu: Path) -> None:
    with FmuSession(native_fmu, start_time=1e9 / 3) as session:
        session.initialize()
        time = 1e9 / 3
        for k in range(1, 50):
            following = 1e9 / 3 + k * STEP_SIZE * (1 + 1e-15)
            session._call(session._fmu.doStep, time, following - time)
            time = following


def test_calls_out_of_order_and_devices(native_fmu: Path, session: FmuSession) -> None:
    with pytest.raises(CallOrderError, match="while the FMU is instantiated: initialize first"):
        session.do_step()
    with pytest.raises(CallOrderError, match="enter initialization mode first"):
        session._call(session._fmu.exitInitializationMode)
    session.initialize()
    with pytest.raises(CallOrderError, match="while the FMU is stepping: reset the instance first"):
        session._call(session._fmu.enterInitializationMode)
    with pytest.raises(CallOrderError, match="'temperature_start' is a parameter and fixed"):
        session._call(session._fmu.setReal, session._elements["temperature_start"], [300.0])
    session._call(session._fmu.setReal, session._elements["temperature_start"], [293.15])  # what it is already
    with pytest.raises(CallOrderError, match="'seed' is a parameter"):
        session._call(session._fmu.setInteger, [session._references["seed"]], [6])
    session._call(session._fmu.terminate)
    with pytest.raises(CallOrderError, match="while the FMU is terminated"):
        session._call(session._fmu.doStep, 0.0, 2.0)
    for device in ("cuda:7", "abacus", "%s%n"):
        with pytest.raises(DeviceError, match=device):
            FmuSession(native_fmu, device=device)


def test_seeds_reach_as_far_as_the_description_says(native_fmu: Path, fmi: FmiVersion, toy_bundle: Bundle) -> None:
    largest = 2**63 - 1 if fmi is FmiVersion.V3 else INTEGER_MAX
    with FmuSession(native_fmu, seed=largest) as session:
        assert close([session.initialize()], [Session(toy_bundle, seed=largest).initialize()])
    for seed in (-1, largest + 1):
        with pytest.raises(InputError, match=str(largest)):
            FmuSession(native_fmu, seed=seed)


def test_instances_are_independent(native_fmu: Path, latent_native_fmu: Path) -> None:
    with FmuSession(native_fmu, seed=1) as alone:
        alone.initialize()
        expected = walk(alone)
    with FmuSession(native_fmu, seed=1) as first, FmuSession(native_fmu, seed=2) as second, FmuSession(latent_native_fmu) as third:
        for session in (first, second, third):
            session.initialize()
        seen = []
        for step in range(STEPS):
            seen.append(first.do_step(inputs_at(step)))
            second.do_step(inputs_at(step + 1))
            third.do_step()
    assert seen == expected


def test_start_depends_on_what_the_graph_says(build_toy: BuildToy, fmi: FmiVersion) -> None:
    description = fmpy.read_model_description(str(build_toy(fmi=fmi)))
    knowns = {unknown.variable.name: [known.name for known in unknown.dependencies] for unknown in description.initialUnknowns}
    assert knowns["temperature"] == ["temperature_start", "seed", "z_mode", "domain_policy"]
    assert knowns["flow"] == ["ambient_temperature", "temperature_start", "seed", "z_mode", "domain_policy"]
    assert knowns["in_domain"][:3] == ["power", "ambient_temperature", "temperature_start"]
    assert all(unknown.dependencies == [] for unknown in description.outputs)


def test_flags_tell_the_truth(native_fmu: Path, fmi: FmiVersion) -> None:
    root = ElementTree.fromstring(zipfile.ZipFile(native_fmu).read("modelDescription.xml"))
    flags = root.find("CoSimulation").attrib
    plural, state = ("s", "FMUState") if fmi is FmiVersion.V3 else ("", "FMUstate")
    for flag in (
        f"providesDirectionalDerivative{plural}",
        f"canGetAndSet{state}",
        f"canSerialize{state}",
        "canHandleVariableCommunicationStepSize",
    ):
        assert flags[flag] == "true", flag
    assert flags["needsExecutionTool"] == flags["canBeInstantiatedOnlyOncePerProcess"] == "false"
    if fmi is FmiVersion.V3:
        assert flags["providesAdjointDerivatives"] == "true" and float(flags["fixedInternalStepSize"]) == STEP_SIZE
        assert flags["hasEventMode"] == flags["providesIntermediateUpdate"] == flags["mightReturnEarlyFromDoStep"] == "false"
