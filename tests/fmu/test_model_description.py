"""modelDescription.xml as FMPy reads it."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fmpy import read_model_description
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.interface import plant_interface, surrogate_interface
from surrogate_fmu.fmu.scalar import Kind, Role
from surrogate_fmu.variables import Causality, Variable
from tests.fmu.conftest import FIELD_MANIFEST
from tests.toy import MANIFEST


@pytest.fixture(scope="module")
def toy_fmu(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(toy_bundle, tmp_path_factory.mktemp("fmus") / "thermal_mass.fmu")


@pytest.fixture(scope="module")
def latent_fmu(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(toy_bundle, tmp_path_factory.mktemp("fmus") / "z.fmu", external_latents=True)


@pytest.fixture(scope="module")
def field_fmu(field_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(field_bundle, tmp_path_factory.mktemp("fmus") / "field.fmu")


@pytest.mark.parametrize("name", ["toy_fmu", "latent_fmu", "field_fmu"])
def test_fmpy_validation_reports_nothing(name: str, request: pytest.FixtureRequest) -> None:
    assert validate_fmu(str(request.getfixturevalue(name))) == []


def test_description_says_what_the_manifest_says(toy_fmu: Path) -> None:
    description = read_model_description(str(toy_fmu))
    assert description.fmiVersion == "2.0"
    assert description.modelName == MANIFEST.name
    assert re.fullmatch(r"\{[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\}", description.guid)
    assert float(description.defaultExperiment.stepSize) == MANIFEST.step_size
    listed = {variable.name: variable for variable in description.modelVariables}
    for variable in MANIFEST.variables:
        scalar = listed[variable.name]
        assert (scalar.causality, scalar.variability, scalar.unit) == (variable.causality, variable.variability, variable.unit)
        assert scalar.description == variable.description
        for attribute in ("start", "min", "max", "nominal"):
            written, expected = getattr(scalar, attribute), getattr(variable, attribute)
            assert (written is None and expected is None) or float(written) == expected
    flags = description.coSimulation
    assert flags.canGetAndSetFMUstate and flags.canSerializeFMUstate and flags.canHandleVariableCommunicationStepSize
    assert flags.needsExecutionTool and not flags.canBeInstantiatedOnlyOncePerProcess and not flags.providesDirectionalDerivative


def test_extra_variables_have_their_types(toy_fmu: Path) -> None:
    listed = {variable.name: variable for variable in read_model_description(str(toy_fmu)).modelVariables}
    seed = listed["seed"]
    assert (seed.type, seed.causality, seed.start, seed.min, seed.max) == ("Integer", "parameter", "0", "0", "2147483647")
    assert [item.name for item in listed["z_mode"].declaredType.items] == ["sampled", "mean", "held", "external"]
    assert [item.name for item in listed["domain_policy"].declaredType.items] == ["warn", "clamp", "refuse"]
    assert (listed["device"].type, listed["device"].start) == ("String", "cpu")
    assert (listed["in_domain"].type, listed["in_domain"].causality) == ("Boolean", "output")
    assert (listed["domain_distance"].type, listed["domain_distance"].causality) == ("Real", "output")


def test_units_carry_exponents_and_display_units(toy_fmu: Path, field_fmu: Path) -> None:
    units = {unit.name: unit for unit in read_model_description(str(toy_fmu)).unitDefinitions}
    assert (units["W"].baseUnit.kg, units["W"].baseUnit.m, units["W"].baseUnit.s) == (1, 2, -3)
    (celsius,) = units["K"].displayUnits
    # FMI 2.0.4, section 2.2.3: shown = factor * value + offset
    assert celsius.name == "degC"
    assert celsius.factor * 293.15 + celsius.offset == pytest.approx(20.0, abs=1e-12)
    units = {unit.name: unit for unit in read_model_description(str(field_fmu)).unitDefinitions}
    assert (units["mm"].baseUnit.m, units["mm"].baseUnit.factor) == (1, 1e-3)
    assert (units["W/(m2.K)"].baseUnit.kg, units["W/(m2.K)"].baseUnit.s, units["W/(m2.K)"].baseUnit.K) == (1, -3, -1)


def test_structure_has_no_direct_feedthrough_and_exact_initial_dependencies(toy_fmu: Path) -> None:
    description = read_model_description(str(toy_fmu))
    outputs = ["temperature", "flow", "in_domain", "domain_distance"]
    assert [unknown.variable.name for unknown in description.outputs] == outputs
    assert all(unknown.dependencies == [] for unknown in description.outputs)
    assert [unknown.variable.name for unknown in description.initialUnknowns] == outputs
    for unknown in description.initialUnknowns:
        assert [known.name for known in unknown.dependencies] == [
            "power",
            "ambient_temperature",
            "temperature_start",
            "seed",
            "z_mode",
            "domain_policy",
        ]


def test_start_does_not_depend_on_step_latents(latent_fmu: Path, field_fmu: Path) -> None:
    (first, *_) = read_model_description(str(latent_fmu)).initialUnknowns
    names = [known.name for known in first.dependencies]
    assert "z[1]" in names and "z[2]" not in names and "device" not in names
    (first, *_) = read_model_description(str(field_fmu)).initialUnknowns
    assert "surrogate.seed" not in [known.name for known in first.dependencies]


def test_arrays_become_scalars_and_collisions_are_renamed(field_fmu: Path) -> None:
    listed = {variable.name: variable for variable in read_model_description(str(field_fmu)).modelVariables}
    assert [name for name in listed if name.startswith("force")] == [f"force[{i},{j}]" for i in (1, 2) for j in (1, 2, 3)]
    assert listed["seed"].unit == "mm" and listed["surrogate.seed"].type == "Integer"
    assert listed["force[1,1]"].valueReference == 100 and listed["seed"].valueReference == 0
    references = [variable.valueReference for variable in listed.values()]
    assert len(set(references)) == len(references)


def test_value_references_are_those_of_the_manifest() -> None:
    interface = surrogate_interface(FIELD_MANIFEST)
    assert [scalar.value_reference for scalar in interface][:7] == [100, 1, 2, 3, 4, 5, 0]
    variables = (
        Variable("a", Causality.INPUT, start=0.0, value_reference=7),
        Variable("b", Causality.OUTPUT, value_reference=7),
    )
    assert [scalar.value_reference for scalar in plant_interface(variables)] == [7, 0, 1]


def test_latent_inputs_are_there_only_when_asked_for() -> None:
    assert all(scalar.role is not Role.LATENT for scalar in surrogate_interface(MANIFEST))
    latents = [scalar for scalar in surrogate_interface(MANIFEST, external_latents=True) if scalar.role is Role.LATENT]
    assert [scalar.name for scalar in latents] == ["z[1]", "z[2]", "z[3]"]
    assert all(scalar.kind is Kind.REAL and scalar.causality is Causality.INPUT for scalar in latents)


def test_description_has_no_date(toy_fmu: Path) -> None:
    import zipfile

    root = ElementTree.fromstring(zipfile.ZipFile(toy_fmu).read("modelDescription.xml"))
    assert "generationDateAndTime" not in root.attrib


def test_description_is_written_without_torch(run_python: Callable[..., str]) -> None:
    script = """
import sys
from surrogate_fmu.fmu.model_description import Capabilities, describe_plant
from surrogate_fmu.variables import Causality, Variable
import surrogate_fmu.fmu.package, surrogate_fmu.fmu.config, surrogate_fmu.fmu.build
variables = [Variable("u", Causality.INPUT, "V", start=1.0), Variable("y", Causality.OUTPUT, "A")]
assert b"<ScalarVariable" in describe_plant("p", "", variables, 1.0, "{}", "0", Capabilities(True)).to_xml()
print(sorted({"torch", "grpc", "surrogate_fmu.runtime"} & set(sys.modules)))
"""
    assert run_python(script).strip() == "[]"


@pytest.mark.parametrize("external_latents", [False, True])
@pytest.mark.parametrize("fmi", list(FmiVersion))
def test_both_backends_describe_the_same(field_bundle: Bundle, tmp_path: Path, fmi: FmiVersion, external_latents: bool) -> None:
    """But for what only one of them can do: derivatives of the native one, a device of the Python one."""
    from surrogate_fmu.fmu.native.build import build_native_fmu

    config = BuildConfig(fmi=fmi, external_latents=external_latents)
    native = build_native_fmu(field_bundle, tmp_path / "native.fmu", config)
    python = build_python_fmu(field_bundle, tmp_path / "python.fmu", external_latents=external_latents, fmi=fmi)
    assert validate_fmu(str(python)) == []
    variables, flags = [], []
    for path in (native, python):
        description = read_model_description(str(path))
        listed = [v for v in description.modelVariables if v.name not in ("device", "time")]
        variables.append(
            [
                (
                    v.name,
                    v.type,
                    v.causality,
                    v.variability,
                    v.initial,
                    v.unit,
                    v.start,
                    v.min,
                    v.max,
                    v.dimensions and len(v.dimensions),
                )
                for v in listed
            ]
        )
        simulation = description.coSimulation
        flags.append((simulation.canHandleVariableCommunicationStepSize, simulation.fixedInternalStepSize))
        flags[-1] += (simulation.canGetAndSetFMUstate, simulation.canSerializeFMUstate, simulation.needsExecutionTool)
    assert variables[0] == variables[1]
    assert flags[0][:4] == flags[1][:4]
    assert (flags[0][4], flags[1][4]) == (False, True)
