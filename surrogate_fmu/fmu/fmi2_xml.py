"""modelDescription.xml as FMI 2.0.4 wants it."""

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from surrogate_fmu.fmu.model_description import LOG_CATEGORIES, ModelDescription, enumerations, text_of, type_of
from surrogate_fmu.fmu.scalar import Scalar
from surrogate_fmu.units import BASE_UNITS, parse_unit
from surrogate_fmu.variables import PlantUnit


def model_description_xml(description: ModelDescription) -> bytes:
    """The file, UTF-8."""
    root = Element(
        "fmiModelDescription",
        fmiVersion="2.0",
        modelName=description.name,
        guid=description.guid,
        generationTool=f"surrogate-fmu {description.version}",
        variableNamingConvention=description.naming_convention,
    )
    if description.description:
        root.set("description", description.description)
    _add_co_simulation(root, description)
    add_units(root, description.scalars)
    _add_types(root, description.scalars)
    add_log_categories(root)
    SubElement(root, "DefaultExperiment", startTime="0.0", stepSize=repr(description.step_size))
    variables = SubElement(root, "ModelVariables")
    for scalar in description.scalars:
        _add_scalar(variables, scalar, type_of(scalar, description.scalars))
    _add_structure(root, description)
    return written(root)


def written(root: Element) -> bytes:
    """The document with its declaration."""
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def add_units(root: Element, scalars: Sequence[Scalar], *others: str) -> None:
    """UnitDefinitions of the scalars and of other units, the same in FMI 2.0 and 3.0."""
    displays: dict[str, dict[str, None]] = {name: {} for name in others}
    handed_on: dict[str, list[PlantUnit]] = {}
    for scalar in scalars:
        if scalar.plant_unit is not None:
            if scalar.plant_unit.name:
                handed_on.setdefault(scalar.plant_unit.name, []).append(scalar.plant_unit)
        elif scalar.unit is not None:
            shown = displays.setdefault(scalar.unit, {})
            if scalar.display_unit is not None:
                shown[scalar.display_unit] = None
    if not displays and not handed_on:
        return
    definitions = SubElement(root, "UnitDefinitions")
    for name in sorted({*displays, *handed_on}):
        element = SubElement(definitions, "Unit", name=name)
        if name in displays:
            unit = parse_unit(name)
            _add_base_unit(element, unit.exponents, unit.factor, unit.offset)
        elif handed_on[name][0].exponents is not None:
            given = handed_on[name][0]
            _add_base_unit(element, given.exponents or (), given.factor, given.offset)
        for display_name in sorted(displays.get(name, ())):
            display = parse_unit(display_name)
            # FMI 2.0.4, section 2.2.3: value in the display unit = factor * value in the unit + offset.
            factor = unit.factor / display.factor
            offset = (unit.offset - display.offset) / display.factor
            SubElement(element, "DisplayUnit", name=display_name, factor=repr(factor), offset=repr(offset))
        others_shown = {unit.display_name: unit for unit in handed_on.get(name, ()) if unit.display_name}
        for display_name in sorted(set(others_shown).difference(displays.get(name, ()))):
            of = others_shown[display_name]
            SubElement(element, "DisplayUnit", name=display_name, factor=repr(of.display_factor), offset=repr(of.display_offset))


def _add_base_unit(element: Element, exponents: Sequence[int], factor: float, offset: float) -> None:
    base = SubElement(element, "BaseUnit")
    for name, exponent in zip(BASE_UNITS, exponents, strict=True):
        if exponent:
            base.set(name, str(exponent))
    if factor != 1.0:
        base.set("factor", repr(factor))
    if offset != 0.0:
        base.set("offset", repr(offset))


def units_of(scalar: Scalar) -> tuple[str | None, str | None]:
    """Unit and display unit as the file names them."""
    if scalar.plant_unit is None:
        return scalar.unit, scalar.display_unit
    return scalar.plant_unit.name or None, scalar.plant_unit.display_name or None


def add_log_categories(root: Element) -> None:
    """LogCategories, the same in FMI 2.0 and 3.0."""
    categories = SubElement(root, "LogCategories")
    for name, meaning in LOG_CATEGORIES.items():
        SubElement(categories, "Category", name=name, description=meaning)


def _add_co_simulation(root: Element, description: ModelDescription) -> None:
    capabilities = description.capabilities
    flags = {
        "needsExecutionTool": capabilities.needs_execution_tool,
        "canHandleVariableCommunicationStepSize": True,
        "canBeInstantiatedOnlyOncePerProcess": False,
        "canNotUseMemoryManagementFunctions": True,
        "canGetAndSetFMUstate": capabilities.can_get_and_set_state,
        "canSerializeFMUstate": capabilities.can_serialize_state,
        "providesDirectionalDerivative": capabilities.provides_directional_derivative,
    }
    element = SubElement(root, "CoSimulation", modelIdentifier=description.model_identifier)
    for name, value in flags.items():
        element.set(name, text_of(value))
    if description.source_files:
        files = SubElement(element, "SourceFiles")
        for file in description.source_files:
            SubElement(files, "File", name=file)


def _add_types(root: Element, scalars: Sequence[Scalar]) -> None:
    types = enumerations(scalars)
    if not types:
        return
    definitions = SubElement(root, "TypeDefinitions")
    for name, items in types.items():
        add_items(SubElement(SubElement(definitions, "SimpleType", name=name), "Enumeration"), items)


def add_items(enumeration: Element, items: Sequence[tuple[str, int, str]]) -> None:
    """Items of an enumeration, the same in FMI 2.0 and 3.0."""
    for item, value, text in items:
        element = SubElement(enumeration, "Item", name=item, value=str(value))
        if text:
            element.set("description", text)


def _add_scalar(variables: Element, scalar: Scalar, declared_type: str | None) -> None:
    element = SubElement(variables, "ScalarVariable", name=scalar.name, valueReference=str(scalar.value_reference))
    if scalar.description:
        element.set("description", scalar.description)
    element.set("causality", scalar.described_causality)
    element.set("variability", scalar.variability.value)
    if scalar.initial is not None:
        element.set("initial", scalar.initial.value)
    value = SubElement(element, scalar.kind.value)
    if declared_type is not None:
        value.set("declaredType", declared_type)
    numbers = {"min": scalar.min, "max": scalar.max, "nominal": scalar.nominal}
    relative = True if scalar.relative else None
    unit, display_unit = units_of(scalar)
    attributes = {
        "unit": unit,
        "displayUnit": display_unit,
        "relativeQuantity": relative,
        **numbers,
        "start": scalar.start,
    }
    for name, content in attributes.items():
        if content is not None:
            value.set(name, text_of(content))


def _add_structure(root: Element, description: ModelDescription) -> None:
    structure = SubElement(root, "ModelStructure")
    element = SubElement(structure, "Outputs")
    for index in description.outputs:
        # A new input changes nothing before the next fmi2DoStep, so no output depends on one directly.
        SubElement(element, "Unknown", index=str(index + 1), dependencies="")
    element = SubElement(structure, "InitialUnknowns")
    for index in description.calculated:
        knowns = " ".join(str(i + 1) for i in description.initial_knowns[index])
        SubElement(element, "Unknown", index=str(index + 1), dependencies=knowns)
