"""modelDescription.xml and buildDescription.xml as FMI 3.0.2 wants them."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from surrogate_fmu.fmu.fmi2_xml import add_items, add_log_categories, add_units, units_of, written
from surrogate_fmu.fmu.model_description import ModelDescription, enumerations, text_of, type_of
from surrogate_fmu.fmu.scalar import Kind, Scalar

_ELEMENTS = {
    Kind.REAL: "Float64",
    Kind.INTEGER: "Int64",
    Kind.BOOLEAN: "Boolean",
    Kind.STRING: "String",
    Kind.ENUMERATION: "Enumeration",
}


def model_description_xml(description: ModelDescription) -> bytes:
    """The file, UTF-8."""
    root = Element(
        "fmiModelDescription",
        fmiVersion="3.0",
        modelName=description.name,
        instantiationToken=description.guid,
        generationTool=f"surrogate-fmu {description.version}",
        variableNamingConvention=description.naming_convention,
    )
    if description.description:
        root.set("description", description.description)
    _add_co_simulation(root, description)
    add_units(root, description.scalars, "s")
    _add_types(root, description.scalars)
    add_log_categories(root)
    SubElement(root, "DefaultExperiment", startTime="0.0", stepSize=repr(description.step_size))
    variables = SubElement(root, "ModelVariables")
    for scalar in description.scalars:
        element = _add_variable(variables, scalar, type_of(scalar, description.scalars))
        for alias in () if description.face is None else description.face.aliases:
            if alias.of == scalar.name:
                texts = {"name": alias.name, "description": alias.description, "displayUnit": alias.display_unit}
                SubElement(element, "Alias", {name: text for name, text in texts.items() if text})
    SubElement(
        variables,
        "Float64",
        name=description.time_name,
        valueReference=str(description.time_reference),
        description="simulation time",
        causality="independent",
        variability="continuous",
        unit="s",
    )
    _add_structure(root, description)
    return written(root)


def build_description_xml(description: ModelDescription) -> bytes:
    """`sources/buildDescription.xml` (FMI 3.0.2, section 2.5.4)."""
    root = Element("fmiBuildDescription", fmiVersion="3.0")
    configuration = SubElement(root, "BuildConfiguration", modelIdentifier=description.model_identifier)
    sources = SubElement(configuration, "SourceFileSet", language="C11")
    for file in description.source_files:
        SubElement(sources, "SourceFile", name=file)
    return written(root)


def _add_co_simulation(root: Element, description: ModelDescription) -> None:
    capabilities = description.capabilities
    attributes: dict[str, float | int | bool | str] = {
        "modelIdentifier": description.model_identifier,
        "needsExecutionTool": capabilities.needs_execution_tool,
        "canBeInstantiatedOnlyOncePerProcess": False,
        "canGetAndSetFMUState": capabilities.can_get_and_set_state,
        "canSerializeFMUState": capabilities.can_serialize_state,
        "providesDirectionalDerivatives": capabilities.provides_directional_derivative,
        "providesAdjointDerivatives": capabilities.provides_adjoint_derivative,
        "canHandleVariableCommunicationStepSize": True,
        "fixedInternalStepSize": description.step_size,
        "providesIntermediateUpdate": False,
        "mightReturnEarlyFromDoStep": False,
        "hasEventMode": False,
    }
    element = SubElement(root, "CoSimulation")
    for name, value in attributes.items():
        element.set(name, text_of(value))


def _add_types(root: Element, scalars: Sequence[Scalar]) -> None:
    types = enumerations(scalars)
    if not types:
        return
    definitions = SubElement(root, "TypeDefinitions")
    for name, items in types.items():
        add_items(SubElement(definitions, "EnumerationType", name=name), items)


def _add_variable(variables: Element, scalar: Scalar, declared_type: str | None) -> Element:
    name = scalar.fmi3_type or _ELEMENTS[scalar.kind]
    element = SubElement(variables, name, name=scalar.name, valueReference=str(scalar.value_reference))
    unit, display_unit = units_of(scalar)
    attributes: dict[str, float | int | bool | str | None] = {
        "description": scalar.description or None,
        "causality": scalar.described_causality,
        "variability": scalar.variability.value,
        "initial": None if scalar.initial is None else scalar.initial.value,
        "declaredType": declared_type,
        "unit": unit,
        "displayUnit": display_unit,
        "relativeQuantity": True if scalar.relative else None,
        "min": scalar.min,
        "max": scalar.max,
        "nominal": scalar.nominal,
    }
    for name, content in attributes.items():
        if content is not None:
            element.set(name, text_of(content))
    for size in scalar.shape:
        SubElement(element, "Dimension", start=str(size))
    if scalar.kind is Kind.STRING and scalar.start is not None:
        SubElement(element, "Start", value=text_of(scalar.start))
    elif scalar.start is not None:
        element.set("start", " ".join(map(text_of, scalar.starts)))
    return element


def _add_structure(root: Element, description: ModelDescription) -> None:
    structure = SubElement(root, "ModelStructure")
    references = [str(scalar.value_reference) for scalar in description.scalars]
    for index in description.outputs:
        # A new input changes nothing before the next fmi3DoStep, so no output depends on one directly.
        SubElement(structure, "Output", valueReference=references[index], dependencies="")
    for index in description.calculated:
        knowns = " ".join(references[i] for i in description.initial_knowns[index])
        SubElement(structure, "InitialUnknown", valueReference=references[index], dependencies=knowns)
