"""Parameters that are tunable: set between steps, in every runtime and both versions of FMI."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import CallOrderError, DomainError, InputError, SnapshotError
from surrogate_fmu.fmu.build import build_python_fmu, build_remote_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import DomainPolicy
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from tests.contract.tunable import MANIFEST, make_tuned_bundle

RUNTIMES = ("session", "service", "native 2.0", "native 3.0", "python 2.0", "python 3.0", "remote 2.0", "remote 3.0")
Open = Callable[..., Any]
MOVED = "gain = 2 was 1 when the run began, and in training it was constant over a run"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_tuned_bundle()


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[Server]:
    with Server([bundle], ServeConfig(listen="127.0.0.1:0")) as started:
        yield started


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(
    request: pytest.FixtureRequest, bundle: Bundle, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    """Opens a session of a runtime; its attribute `fmu` says whether it is one."""
    kind, _, version = request.param.partition(" ")
    if kind == "session":
        yield lambda **options: Session(bundle, **options)
        return
    if kind == "service":
        with connect(server.address) as service:
            yield lambda **options: service.open(MANIFEST.name, initialize=False, **options)
        return
    path, fmi = tmp_path_factory.mktemp("tuned") / f"{kind}.fmu", FmiVersion(version)
    if kind == "native":
        build_native_fmu(bundle, path, BuildConfig(fmi=fmi, external_latents=True))
    elif kind == "python":
        build_python_fmu(bundle, path, fmi=fmi, external_latents=True)
    else:
        build_remote_fmu(bundle, server.address, path, fmi=fmi, external_latents=True)
    yield lambda **options: FmuSession(path, **options)


def test_every_runtime_keeps_the_contract(runtime: Open) -> None:
    assert len(check_session(runtime, MANIFEST).kept) == 15


def test_the_model_gets_the_new_value_from_the_next_step_on(runtime: Open) -> None:
    """With the power doubled the temperature rises as with the gain doubled; the noise is the same."""
    sessions = [runtime(seed=3) for _ in range(3)]
    for session in sessions:
        session.initialize()
        session.do_step({"power": 20.0})
    tuned, powered, plain = (
        session.do_step(values)["temperature"]
        for session, values in zip(sessions, ({"gain": 2.0}, {"power": 40.0}, {}), strict=True)
    )
    assert tuned == pytest.approx(powered, rel=1e-6) and tuned - plain == pytest.approx(1.0, abs=1e-3)
    assert sessions[0].values["gain"] == 2.0
    assert sessions[0].domain_distance == pytest.approx(0.5)  # 1 of a range of 2
    assert [session.in_domain for session in sessions] == [False, True, True]
    for session in sessions:
        session.close()


def test_what_it_was_at_most_stays_the_distance_of_the_run(runtime: Open) -> None:
    session = runtime()
    session.initialize()
    for gain, distance in ((2.0, 0.5), (1.5, 0.5), (1.0, 0.5), (2.25, 0.625), (1.0, 0.625)):
        session.do_step({"gain": gain})
        assert session.domain_distance == pytest.approx(distance)
    session.reset()
    session.initialize()
    session.do_step({})
    assert session.in_domain
    session.close()


def test_a_value_before_the_run_is_where_it_begins(runtime: Open) -> None:
    session = runtime(parameters={"gain": 2.0})
    session.initialize()
    session.do_step({"gain": 2.0})
    assert session.in_domain
    session.do_step({"gain": 1.0})
    assert session.domain_distance == pytest.approx(0.5)
    session.close()


def test_a_parameter_of_the_start_changes_nothing_but_the_domain(runtime: Open) -> None:
    session, plain = runtime(seed=2), runtime(seed=2)
    session.initialize()
    plain.initialize()
    assert session.do_step({"temperature_start": 310.0}) == plain.do_step({})
    assert not session.in_domain and plain.in_domain
    session.close()
    plain.close()


def test_outside_of_its_range_counts_if_it_is_farther(runtime: Open) -> None:
    session = runtime(parameters={"gain": 2.5})
    session.initialize()
    session.do_step({"gain": 4.0})
    assert session.domain_distance == pytest.approx(0.75)
    with pytest.raises(InputError, match="outside the allowed range"):
        session.do_step({"gain": 5.0})
    session.set_values({"gain": 4.0})
    session.do_step({})
    session.close()


def test_fixed_ones_are_fixed_still(runtime: Open) -> None:
    session = runtime()
    session.initialize()
    with pytest.raises(CallOrderError, match="'loss' is a parameter and fixed during a run"):
        session.set_values({"loss": 1.0})
    session.do_step({})
    assert session.in_domain
    session.close()


def test_policies(runtime: Open) -> None:
    refusing, clamping, plain = (runtime(seed=4, domain_policy=policy) for policy in ("refuse", "clamp", "warn"))
    for session in (refusing, clamping, plain):
        session.initialize()
    with pytest.raises(DomainError, match=f"{MOVED}; set it back, or choose the domain policy 'warn' or 'clamp'"):
        refusing.do_step({"power": 10.0, "gain": 2.0})
    expected = plain.do_step({"power": 10.0})
    assert clamping.do_step({"power": 10.0, "gain": 2.0}) == expected and clamping.domain_distance == pytest.approx(0.5)
    assert refusing.do_step({"power": 10.0, "gain": 1.0}) == expected and refusing.in_domain
    for session in (refusing, clamping, plain):
        session.close()


@pytest.mark.parametrize("fmi", list(FmiVersion), ids=str)
@pytest.mark.parametrize("backend", ["native", "python"])
def test_it_is_told_once_and_described_as_tunable(bundle: Bundle, tmp_path: Path, fmi: FmiVersion, backend: str) -> None:
    path = tmp_path / "told.fmu"
    fmu = build_native_fmu(bundle, path, BuildConfig(fmi=fmi)) if backend == "native" else build_python_fmu(bundle, path, fmi=fmi)
    with FmuSession(fmu) as session:
        variables = {v.name: (v.causality, v.variability) for v in session._unpacked.description.modelVariables}
        assert variables["gain"] == variables["temperature_start"] == ("parameter", "tunable")
        assert variables["loss"] == ("parameter", "fixed")
        page = (session._unpacked.folder / "documentation" / "index.html").read_text()
        assert "Tunable parameters (<code>gain</code>, <code>temperature_start</code>) may be set between steps" in page
        session.initialize()
        for gain in (1.0, 2.0, 2.0, 1.5, 1.0):
            session.do_step({"gain": gain})
        assert [message.text.partition(": ")[2] or message.text for message in session.log] == [MOVED]
        assert [message.status for message in session.log] == [1]


@pytest.mark.parametrize("fmi", list(FmiVersion), ids=str)
def test_ensembles_of_both_backends_have_it(bundle: Bundle, tmp_path: Path, fmi: FmiVersion) -> None:
    seen = []
    for fmu in (
        build_native_fmu(bundle, tmp_path / "native.fmu", BuildConfig(fmi=fmi, ensemble=3)),
        build_python_fmu(bundle, tmp_path / "python.fmu", fmi=fmi, ensemble=3),
    ):
        with FmuSession(fmu, seed=1) as session:
            session.initialize()
            session.do_step({"power": 20.0, "gain": 2.0})
            assert session.domain_distance == pytest.approx(0.5)
            session.restore(session.snapshot())
            seen.append(session.do_step({"gain": 1.0})["temperature"])
            assert session.domain_distance == pytest.approx(0.5)
    assert seen[0] == pytest.approx(seen[1], rel=1e-6)


def test_a_derivative_by_it_ends_with_the_first_step(bundle: Bundle, tmp_path: Path) -> None:
    with FmuSession(build_native_fmu(bundle, tmp_path / "native.fmu"), domain_policy=DomainPolicy.CLAMP) as session:
        session.initialize()
        references = [session._references[name] for name in ("temperature", "temperature_start", "power")]

        def derivative(known: int) -> float:
            return session._call(session._fmu.getDirectionalDerivative, references[:1], [known], [1.0])[0]

        assert derivative(references[1]) == pytest.approx(1.0)
        session.do_step({"power": 10.0, "gain": 2.0})
        assert derivative(references[2]) == pytest.approx(0.05)  # the gain with which the run began
        with pytest.raises(InputError, match="no derivative by the parameter 'temperature_start' once the run has begun"):
            derivative(references[1])


def test_snapshots_of_one_model_are_none_of_the_other(bundle: Bundle, toy_bundle: Bundle) -> None:
    with Session(bundle) as tuned, Session(toy_bundle) as plain:
        tuned.initialize()
        with pytest.raises(SnapshotError):
            plain.restore(tuned.snapshot())


def test_columns_of_many_runs_have_it_too(bundle: Bundle) -> None:
    from surrogate_fmu.runtime.stepper import Stepper

    stepper = Stepper(bundle)
    runs, draws = [], []
    for _ in range(3):
        run = stepper.declared()
        draws.append(stepper.draws(run))
        runs.append(stepper.start(run, draws[-1]))
    columns = {"power": np.array([10.0, 10.0, 20.0]), "gain": np.array([1.0, 2.0, 1.0])}
    plans = stepper.plan_columns(runs, draws, columns)
    alone = stepper.plan(runs[1], draws[1], {"power": 10.0, "gain": 2.0})
    assert plans[1].tuned_distance == alone.tuned_distance == 0.5 and plans[1].message == alone.message == MOVED
    after = stepper.advance(plans)
    assert [run.domain_distance for run in after] == [0.0, 0.5, 0.0]
    back = stepper.plan_columns(after, draws, {"gain": np.ones(3)})
    assert [plan.distance for plan in back] == [0.0, 0.5, 0.0]
