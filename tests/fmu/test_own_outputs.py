"""`in_domain` and `domain_distance` as typed outputs, as real ones and as local variables, of every backend and version."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fmpy import extract, read_model_description
from fmpy.fmi2 import FMU2Slave
from fmpy.fmi3 import FMU3Slave
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import InputError
from surrogate_fmu.fmu.build import build_python_fmu, build_remote_fmu
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion, OwnOutputs
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server

OUTSIDE = {"power": 60.0}  # the training ended at 50 W, where its range is 100 W wide


@pytest.fixture(params=[Backend.NATIVE, Backend.PYTHON], ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture(scope="module")
def build(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backend, FmiVersion, OwnOutputs], Path]:
    folder = tmp_path_factory.mktemp("own")

    def make(backend: Backend, fmi: FmiVersion, own_outputs: OwnOutputs) -> Path:
        path = folder / f"{backend}_{fmi[0]}_{own_outputs}.fmu"
        if path.is_file():
            return path
        if backend is Backend.NATIVE:
            return build_native_fmu(toy_bundle, path, BuildConfig(fmi=fmi, own_outputs=own_outputs))
        return build_python_fmu(toy_bundle, path, fmi=fmi, own_outputs=own_outputs)

    return make


def described(fmu: Path) -> dict[str, tuple[str, str]]:
    """Type and causality of the own outputs."""
    variables = {v.name: v for v in read_model_description(str(fmu)).modelVariables}
    return {name: (variables[name].type, variables[name].causality) for name in ("in_domain", "domain_distance")}


@pytest.mark.parametrize("own_outputs", list(OwnOutputs), ids=str)
def test_they_are_described_as_they_were_asked_for(
    build: Callable[..., Path], backend: Backend, fmi: FmiVersion, own_outputs: OwnOutputs
) -> None:
    fmu = build(backend, fmi, own_outputs)
    real = "Real" if fmi is FmiVersion.V2 else "Float64"
    kind = real if own_outputs is OwnOutputs.REAL else "Boolean"
    causality = "local" if own_outputs is OwnOutputs.LOCAL else "output"
    assert described(fmu) == {"in_domain": (kind, causality), "domain_distance": (real, causality)}
    assert validate_fmu(str(fmu)) == []
    description = read_model_description(str(fmu))
    listed = {unknown.variable.name for unknown in (*description.outputs, *description.initialUnknowns)}
    assert listed == {"temperature", "flow", *(("in_domain", "domain_distance") if causality == "output" else ())}


@pytest.mark.parametrize("own_outputs", list(OwnOutputs), ids=str)
def test_they_say_the_same(build: Callable[..., Path], backend: Backend, fmi: FmiVersion, own_outputs: OwnOutputs) -> None:
    with FmuSession(build(backend, fmi, own_outputs), seed=3) as session:
        assert session.in_domain and session.domain_distance == 0.0  # a preview of the start
        session.initialize()
        session.do_step(OUTSIDE)
        assert not session.in_domain and session.domain_distance == pytest.approx(0.1)
        snapshot = session.snapshot()
        session.do_step({"power": 0.0})
        assert session.in_domain
        session.restore(snapshot)
        assert session.step_index == 1
        session.do_step()
        assert not session.in_domain
        session.reset()
        assert session.in_domain


def test_leaving_the_domain_is_told_again_after_a_state_from_before(
    build: Callable[..., Path], backend: Backend, fmi: FmiVersion
) -> None:
    """Whoever goes back has not left it yet, and wants to know why he does."""
    for own_outputs in OwnOutputs:
        with FmuSession(build(backend, fmi, own_outputs)) as session:
            session.initialize()
            snapshot = session.snapshot()
            for told in (1, 2):
                session.do_step(OUTSIDE)
                session.do_step()
                assert [message.status for message in session.log] == [1] * told
                outside = session.snapshot()
                session.restore(outside)
                session.do_step()
                assert len(session.log) == told
                session.restore(snapshot)


def test_real_ones_are_read_with_the_other_outputs(
    build: Callable[..., Path], backend: Backend, fmi: FmiVersion, tmp_path: Path
) -> None:
    """A master that reads all outputs by the functions for real numbers, in one call."""
    fmu = build(backend, fmi, OwnOutputs.REAL)
    description = read_model_description(str(fmu))
    third = fmi is FmiVersion.V3
    references = {v.name: v.valueReference for v in description.modelVariables}
    slave = (FMU3Slave if third else FMU2Slave)(
        guid=description.guid,
        unzipDirectory=extract(str(fmu), unzipdir=str(tmp_path / "files")),
        modelIdentifier=description.coSimulation.modelIdentifier,
        instanceName="one",
    )
    slave.instantiate()
    outputs = [v.valueReference for v in description.modelVariables if v.causality == "output"]
    read = slave.getFloat64 if third else slave.getReal

    def seen() -> list[float]:
        return list(read(outputs))[2:]

    if not third:
        slave.setupExperiment()
    slave.enterInitializationMode()
    assert seen() == [1.0, 0.0]
    slave.exitInitializationMode()
    (slave.setFloat64 if third else slave.setReal)([references["power"]], [60.0])
    assert seen() == [1.0, 0.0]  # nothing changes before the step
    slave.doStep(0.0, 2.0)
    assert seen() == [0.0, pytest.approx(0.1)]
    slave.terminate()
    slave.freeInstance()


def test_they_cannot_be_set_whatever_they_are(build: Callable[..., Path], backend: Backend, fmi: FmiVersion) -> None:
    for own_outputs in OwnOutputs:
        with FmuSession(build(backend, fmi, own_outputs)) as session:
            reference = session._references["domain_distance"]
            with pytest.raises(InputError, match="'domain_distance' is calculated and cannot be set"):
                session._call(session._fmu.setReal, [reference], [1.0])


def test_builds_that_differ_in_them_alone_have_tokens_of_their_own(
    build: Callable[..., Path], backend: Backend, fmi: FmiVersion
) -> None:
    tokens = {read_model_description(str(build(backend, fmi, own))).guid for own in OwnOutputs}
    assert len(tokens) == 3


def test_statistics_of_an_ensemble_stay_outputs(toy_bundle: Bundle, tmp_path: Path) -> None:
    config = BuildConfig(ensemble=3, own_outputs=OwnOutputs.LOCAL)
    fmus = [build_native_fmu(toy_bundle, tmp_path / "native.fmu", config)]
    fmus.append(build_python_fmu(toy_bundle, tmp_path / "python.fmu", ensemble=3, own_outputs=OwnOutputs.LOCAL))
    for fmu in fmus:
        outputs = {v.name for v in read_model_description(str(fmu)).modelVariables if v.causality == "output"}
        statistics = {f"{name}.{of}" for name in ("temperature", "flow") for of in ("mean", "std", "q05", "q95")}
        assert outputs == {"temperature", "flow"} | statistics
        with FmuSession(fmu) as session:
            session.initialize()
            session.do_step(OUTSIDE)
            assert not session.in_domain


def test_the_remote_backend_has_them_too(toy_bundle: Bundle, fmi: FmiVersion, tmp_path: Path) -> None:
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server:
        fmu = build_remote_fmu(toy_bundle, server.address, tmp_path / "remote.fmu", fmi=fmi, own_outputs=OwnOutputs.REAL)
        assert described(fmu)["in_domain"][1] == "output" and described(fmu)["in_domain"][0] != "Boolean"
        with FmuSession(fmu) as session:
            session.initialize()
            session.do_step(OUTSIDE)
            assert not session.in_domain


CONFIGURATION = """
[surrogate]
name = "mass"
plant = "plant.py:Plant"
[variables]
power = "W"
[recording]
steps = 10
[recording.sets.train]
schedules = 1
seed = 1
[recording.design.inputs.power]
min = 0.0
max = 1.0
hold_s = [2.0, 4.0]
excitations = ["steps"]
[build]
fmi = "3.0"
own_outputs = "local"
"""


def test_the_command_line_goes_before_the_section_build(
    toy_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fmu, plan = tmp_path / "Mass.fmu", tmp_path / "surrogate.toml"
    plan.write_text(CONFIGURATION)
    assert main(["build", str(toy_bundle_path), "-o", str(fmu), "--own-outputs", "real"]) == 0
    assert described(fmu)["in_domain"] == ("Real", "output")
    assert main(["build", str(toy_bundle_path), "-o", str(fmu), "--config", str(plan)]) == 0
    assert described(fmu)["in_domain"] == ("Boolean", "local")
    assert ElementTree.fromstring(zipfile.ZipFile(fmu).read("modelDescription.xml")).get("fmiVersion") == "3.0"
    assert main(["build", str(toy_bundle_path), "-o", str(fmu), "--config", str(plan), "--own-outputs", "typed"]) == 0
    assert described(fmu)["in_domain"] == ("Boolean", "output")
    plan.write_text(CONFIGURATION.replace('"local"', '"none"'))
    assert main(["build", str(toy_bundle_path), "-o", str(fmu), "--config", str(plan)]) == 2
    assert "own_outputs" in (said := capsys.readouterr().err) and "typed" in said
    assert main(["build", "--plant", "a.py:A", "--own-outputs", "real"]) == 2
    assert "--own-outputs are for bundles" in capsys.readouterr().err
