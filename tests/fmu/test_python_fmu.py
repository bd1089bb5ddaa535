"""The built Python FMU in FMPy: numbers, start, reset, state, independence."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fmpy
import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle, write_archive
from surrogate_fmu.errors import InputError, SnapshotError
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.session import Session
from tests.toy import MANIFEST, STEP_SIZE

STEPS = 8


def inputs_at(step: int) -> dict[str, float]:
    return {"power": 10.0 + step, "ambient_temperature": 290.0 - 0.3 * step}


def walk(session: Any, first: int = 0, count: int = STEPS) -> list[dict[str, float]]:
    return [session.do_step(inputs_at(step)) for step in range(first, first + count)]


@pytest.fixture
def session(toy_fmu: Path) -> Iterator[FmuSession]:
    with FmuSession(toy_fmu, seed=5) as session:
        yield session


@pytest.mark.parametrize("z_mode", [ZMode.SAMPLED, ZMode.MEAN, ZMode.HELD])
def test_trajectory_equals_that_of_the_session(toy_bundle: Bundle, toy_fmu: Path, z_mode: ZMode) -> None:
    parameters = {"temperature_start": 305.0}
    with FmuSession(toy_fmu, seed=5, z_mode=z_mode, parameters=parameters) as fmu:
        session = Session(toy_bundle, seed=5, z_mode=z_mode, parameters=parameters)
        assert fmu.initialize() == session.initialize()
        assert walk(fmu) == walk(session)  # the same TorchScript on the same machine: equal bits


def test_fmpy_simulates_it(toy_bundle: Bundle, toy_fmu: Path) -> None:
    result = fmpy.simulate_fmu(
        str(toy_fmu),
        stop_time=STEPS * STEP_SIZE,
        output_interval=STEP_SIZE,
        start_values={"seed": 5, "power": 30.0, "temperature_start": 300.0, "z_mode": 1},
        output=["temperature", "flow", "in_domain", "domain_distance"],
    )
    session = Session(toy_bundle, seed=5, parameters={"power": 30.0, "temperature_start": 300.0})
    expected = [session.initialize()] + [session.do_step() for _ in range(STEPS)]
    for name in ("temperature", "flow"):
        assert result[name].tolist() == [outputs[name] for outputs in expected]
    assert result["in_domain"].all() and not result["domain_distance"].any()


def test_communication_step_of_a_multiple_is_done_by_substeps(toy_bundle: Bundle, toy_fmu: Path) -> None:
    result = fmpy.simulate_fmu(
        str(toy_fmu), start_time=100.0, stop_time=124.0, output_interval=6.0, start_values={"seed": 2}, output=["temperature"]
    )
    session = Session(toy_bundle, seed=2)
    expected = [session.initialize()] + [session.do_step(communication_step_size=6.0) for _ in range(4)]
    assert result["temperature"].tolist() == [outputs["temperature"] for outputs in expected]


def test_start_values_read_back_as_declared(session: FmuSession) -> None:
    assert session.values == {variable.name: variable.start for variable in MANIFEST.condition}


def test_outputs_are_valid_in_initialization_mode_and_after(toy_bundle: Bundle, session: FmuSession) -> None:
    fmu = session._fmu  # the raw FMI calls, which the session hides
    references = [session._elements[name][0] for name in ("temperature_start", "temperature")]
    fmu.setupExperiment(startTime=0.0)
    fmu.enterInitializationMode()
    for start in (300.0, 310.0):
        fmu.setReal(references[:1], [start])
        assert fmu.getReal(references[1:]) == [pytest.approx(start, rel=1e-6)]
    fmu.exitInitializationMode()
    expected = Session(toy_bundle, seed=5, parameters={"temperature_start": 310.0}).initialize()
    assert fmu.getReal(references[1:]) == [expected["temperature"]]


def test_reading_and_writing_never_advance(session: FmuSession) -> None:
    before = session.initialize()
    for step in range(3):
        session.set_values(inputs_at(step))
        assert session.outputs == before
    with_reads = [session.do_step(inputs_at(step)) for step in range(3) if session.outputs]
    session.reset()
    session.initialize()
    assert walk(session, count=3) == with_reads


def test_reset_equals_a_fresh_instance(session: FmuSession) -> None:
    start = session.initialize()
    first = walk(session)
    session.reset()
    assert session.values == {variable.name: variable.start for variable in MANIFEST.condition}
    assert session.initialize() == start
    assert walk(session) == first


def test_many_instances_and_resets_leave_the_loader_whole(toy_fmu: Path) -> None:
    # PythonFMU drops a reference to the module's globals at every instantiation
    for _ in range(30):
        with FmuSession(toy_fmu) as session:
            session.initialize()
            session.reset()
            session.initialize()
            session.do_step()


def test_two_instances_and_two_fmus_are_independent(toy_fmu: Path, latent_fmu: Path, field_fmu: Path) -> None:
    with FmuSession(toy_fmu, seed=1) as alone:
        alone.initialize()
        expected = walk(alone)
    with (
        FmuSession(toy_fmu, seed=1) as first,
        FmuSession(toy_fmu, seed=2) as second,
        FmuSession(latent_fmu, seed=3) as third,
        FmuSession(field_fmu, seed=1) as other,
    ):
        for session in (first, second, third, other):
            session.initialize()
        seen = []
        for step in range(STEPS):
            seen.append(first.do_step(inputs_at(step)))
            second.do_step(inputs_at(step + 1))
            third.do_step()
            other.do_step()
    assert seen == expected


def test_state_goes_back_within_a_process(session: FmuSession) -> None:
    session.initialize()
    walk(session, count=3)
    fmu = session._fmu
    state = fmu.getFMUstate()
    expected = walk(session, first=3)
    fmu.setFMUstate(state)
    session._step_index = 3
    assert walk(session, first=3) == expected
    fmu.freeFMUstate(state)


def test_state_continues_in_another_process(toy_fmu: Path, session: FmuSession, tmp_path: Path, run_python: Callable) -> None:
    session.initialize()
    walk(session)
    session.set_values({"power": -7.0})  # written, not yet used: part of the state
    snapshot = tmp_path / "snapshot"
    snapshot.write_bytes(session.snapshot())
    expected = [session.do_step() for _ in range(70)]  # past the block of latents that is drawn ahead
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
    assert eval(run_python(script, toy_fmu, snapshot)) == expected


def test_damaged_and_foreign_states_are_refused(session: FmuSession, field_fmu: Path) -> None:
    session.initialize()
    before = session.do_step()
    snapshot = session.snapshot()
    with pytest.raises(SnapshotError, match="damaged"):
        session.restore(snapshot[:-1])
    fmu = session._fmu
    state = fmu.getFMUstate()
    damaged = bytearray(fmu.serializeFMUstate(state))
    damaged[-5] ^= 1
    for content, sentence in ((bytes(damaged), "damaged"), (b"", "damaged"), (b"{}" * 40, "damaged")):
        with pytest.raises(SnapshotError, match=sentence):
            session._call(fmu.setFMUstate, fmu.deSerializeFMUstate(content))
    with FmuSession(field_fmu) as other:
        other.initialize()
        with pytest.raises(SnapshotError, match=r"thermal_mass.*field"):
            other.restore(snapshot)
        other.do_step()
    assert session.outputs == before
    session.restore(snapshot)
    session.do_step()


def test_array_variables_keep_their_shapes(field_bundle: Bundle, field_fmu: Path) -> None:
    force = np.arange(6.0).reshape(2, 3)
    parameters = {"offset": np.array([0.0, 0.5, 1.0]), "seed": 3.0}
    session = Session(field_bundle, seed=4, parameters=parameters)
    with FmuSession(field_fmu, seed=4, parameters=parameters) as fmu:
        assert fmu.values["force"].tolist() == [[0.5] * 3] * 2
        fmu.initialize(), session.initialize()
        for step in range(3):
            mine, theirs = fmu.do_step({"force": force + step}), session.do_step({"force": force + step})
            assert mine["displacement"].shape == (2, 3)
            assert mine["displacement"].tolist() == theirs["displacement"].tolist() and mine["total"] == theirs["total"]
        with pytest.raises(InputError, match="shape"):
            fmu.set_values({"force": [1.0, 2.0]})


def test_external_latents_are_inputs(toy_bundle: Bundle, latent_fmu: Path, toy_fmu: Path) -> None:
    draws = np.random.default_rng(0).standard_normal((STEPS, 3))
    session = Session(toy_bundle, z_mode=ZMode.EXTERNAL)
    with FmuSession(latent_fmu, z_mode=ZMode.EXTERNAL) as fmu:
        assert fmu.initialize(z=draws[0]) == session.initialize(z=draws[0])
        for z in draws:
            assert fmu.do_step({"power": 5.0}, z=z) == session.do_step({"power": 5.0}, z=z)
    with FmuSession(toy_fmu, z_mode=ZMode.EXTERNAL) as fmu, pytest.raises(InputError, match="--external-latents"):
        fmu.initialize()


def test_latents_that_are_not_used_are_warned_of(latent_fmu: Path) -> None:
    with FmuSession(latent_fmu) as fmu:
        fmu.initialize()
        z = [fmu._references[name] for name in ("z", "z[1]", "z[2]", "z[3]") if name in fmu._references]
        fmu._fmu.setReal(z, [0.0, 1.0, 0.0])
        fmu.do_step()
        fmu.do_step()
        assert [message.text for message in fmu.log if "not used" in message.text] == [
            "the latent inputs z are not used: z_mode is sampled; set it to 4 (external)"
        ]


def test_leaving_the_domain_is_said_once_and_shown(session: FmuSession) -> None:
    session.initialize()
    session.do_step({"power": 60.0})
    session.do_step({"power": 61.0})
    assert not session.in_domain and session.domain_distance == pytest.approx(0.11)
    assert [message.text for message in session.log] == ["power = 60 lies outside the training range [-50, 50]"]
    session.do_step({"power": 0.0})
    assert session.in_domain


def test_clamp_moves_to_the_edge(toy_fmu: Path) -> None:
    with (
        FmuSession(toy_fmu, domain_policy=DomainPolicy.CLAMP) as clamped,
        FmuSession(toy_fmu) as inside,
    ):
        clamped.initialize(), inside.initialize()
        assert clamped.do_step({"power": 90.0}) == inside.do_step({"power": 50.0})
        assert clamped.values["power"] == 90.0 and not clamped.in_domain


def test_host_needs_none_of_this_package(toy_bundle: Bundle, toy_fmu: Path, tmp_path: Path, run_python: Callable) -> None:
    write_archive(toy_bundle, tmp_path / "toy.bundle")
    script = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("surrogate_fmu", "grpc", "xarray", "scipy"):
            raise ImportError(f"{name} is not on this host")
sys.meta_path.insert(0, Blocked())
import fmpy
print(fmpy.simulate_fmu(sys.argv[1], stop_time=8.0, output_interval=2.0, start_values={"seed": 5})["flow"].tolist())
assert "surrogate_fmu" not in sys.modules
assert sum(name.startswith("surrogate_fmu_") and "." not in name for name in sys.modules) == 1
"""
    session = Session(toy_bundle, seed=5)
    expected = [session.initialize()["flow"]] + [session.do_step()["flow"] for _ in range(4)]
    assert eval(run_python(script, toy_fmu)) == expected
