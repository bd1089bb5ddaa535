"""modelDescription.xml of FMI 2.0.4 co-simulation, from the scalars of an FMU. Needs neither torch nor a runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from surrogate_fmu.fmu.interface import DOMAIN_POLICIES, Z_MODES, Role, Scalar, plant_interface, surrogate_interface
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.units import BASE_UNITS, parse_unit
from surrogate_fmu.variables import Causality, Variable

LOG_CATEGORIES = {
    "logStatusWarning": "the step was taken, but the result deserves a look: outside the training domain",
    "logStatusDiscard": "the step was not taken",
    "logStatusError": "the call was refused; the state is as it was",
    "logStatusFatal": "the call was refused and has no other way to say so than fmi2Fatal",
    "logAll": "all messages",
}

_TYPES: dict[Role, tuple[str, tuple[tuple[str, str], ...]]] = {
    Role.Z_MODE: (
        "ZMode",
        tuple(
            (
                mode.value,
                {
                    ZMode.SAMPLED: "drawn from the seed and the step index",
                    ZMode.MEAN: "zero",
                    ZMode.HELD: "the step latents of the first step are kept",
                    ZMode.EXTERNAL: "given by the inputs z",
                }[mode],
            )
            for mode in Z_MODES
        ),
    ),
    Role.DOMAIN_POLICY: (
        "DomainPolicy",
        tuple(
            (
                policy.value,
                {
                    DomainPolicy.WARN: "take the step and say so",
                    DomainPolicy.CLAMP: "move inputs and parameters to the nearest value inside",
                    DomainPolicy.REFUSE: "refuse the step",
                }[policy],
            )
            for policy in DOMAIN_POLICIES
        ),
    ),
}


@dataclass(frozen=True)
class Capabilities:
    """The flags of the CoSimulation element (FMI 2.0.4, section 4.3.1) that differ between backends."""

    needs_execution_tool: bool
    can_get_and_set_state: bool = True
    can_serialize_state: bool = True
    provides_directional_derivative: bool = False


@dataclass(frozen=True)
class ModelDescription:
    """All that the XML file says.

    Attributes:
        step_size: the preferred communication step [s].
        guid: ties the description to the binary's resources, as "{...}".
        initial_knowns: indices into `scalars` of what the outputs at the start depend on.
    """

    name: str
    model_identifier: str
    description: str
    guid: str
    version: str
    scalars: tuple[Scalar, ...]
    step_size: float
    capabilities: Capabilities
    initial_knowns: tuple[int, ...]

    def to_xml(self) -> bytes:
        """The file, UTF-8; equal descriptions give equal bytes, so there is no date in it."""
        root = Element(
            "fmiModelDescription",
            fmiVersion="2.0",
            modelName=self.name,
            guid=self.guid,
            generationTool=f"surrogate-fmu {self.version}",
            variableNamingConvention="structured",
        )
        if self.description:
            root.set("description", self.description)
        self._add_co_simulation(root)
        _add_units(root, self.scalars)
        _add_types(root, self.scalars)
        categories = SubElement(root, "LogCategories")
        for name, meaning in LOG_CATEGORIES.items():
            SubElement(categories, "Category", name=name, description=meaning)
        SubElement(root, "DefaultExperiment", startTime="0.0", stepSize=repr(self.step_size))
        variables = SubElement(root, "ModelVariables")
        for scalar in self.scalars:
            _add_scalar(variables, scalar)
        self._add_structure(root)
        ElementTree.indent(root)
        text: str = ElementTree.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()

    def _add_co_simulation(self, root: Element) -> None:
        flags = {
            "needsExecutionTool": self.capabilities.needs_execution_tool,
            "canHandleVariableCommunicationStepSize": True,
            "canBeInstantiatedOnlyOncePerProcess": False,
            "canNotUseMemoryManagementFunctions": True,
            "canGetAndSetFMUstate": self.capabilities.can_get_and_set_state,
            "canSerializeFMUstate": self.capabilities.can_serialize_state,
            "providesDirectionalDerivative": self.capabilities.provides_directional_derivative,
        }
        element = SubElement(root, "CoSimulation", modelIdentifier=self.model_identifier)
        for name, value in flags.items():
            element.set(name, _text(value))

    def _add_structure(self, root: Element) -> None:
        structure = SubElement(root, "ModelStructure")
        outputs = [i + 1 for i, scalar in enumerate(self.scalars) if scalar.causality is Causality.OUTPUT]
        element = SubElement(structure, "Outputs")
        for index in outputs:
            # A new input changes nothing before the next fmi2DoStep, so no output depends on one directly.
            SubElement(element, "Unknown", index=str(index), dependencies="")
        knowns = " ".join(str(i + 1) for i in self.initial_knowns)
        element = SubElement(structure, "InitialUnknowns")
        for index in outputs:
            SubElement(element, "Unknown", index=str(index), dependencies=knowns)


def describe_surrogate(
    manifest: Manifest,
    guid: str,
    version: str,
    capabilities: Capabilities,
    external_latents: bool = False,
    model_identifier: str | None = None,
) -> ModelDescription:
    """The description of a surrogate's FMU."""
    scalars = surrogate_interface(manifest, external_latents)
    knowns, latent = [], 0
    for index, scalar in enumerate(scalars):
        if scalar.role is Role.LATENT:
            latent += 1  # the step part of z plays no role at the start
        random = scalar.role in (Role.SEED, Role.Z_MODE) and manifest.run_latent_dim > 0
        of_run = scalar.role is Role.LATENT and latent <= manifest.run_latent_dim
        chosen = scalar.variable is not None and scalar.causality is not Causality.OUTPUT
        if chosen or random or of_run or scalar.role is Role.DOMAIN_POLICY:
            knowns.append(index)
    name = model_identifier or manifest.name
    return ModelDescription(
        manifest.name, name, manifest.description, guid, version, scalars, manifest.step_size, capabilities, tuple(knowns)
    )


def describe_plant(
    name: str,
    description: str,
    variables: Sequence[Variable],
    step_size: float,
    guid: str,
    version: str,
    capabilities: Capabilities,
) -> ModelDescription:
    """The description of a plant's FMU: its variables and a seed."""
    scalars = plant_interface(variables)
    knowns = tuple(i for i, s in enumerate(scalars) if s.causality is Causality.PARAMETER)
    return ModelDescription(name, name, description, guid, version, scalars, step_size, capabilities, knowns)


def _add_units(root: Element, scalars: Sequence[Scalar]) -> None:
    displays: dict[str, dict[str, None]] = {}
    for scalar in scalars:
        if scalar.unit is not None:
            shown = displays.setdefault(scalar.unit, {})
            if scalar.display_unit is not None:
                shown[scalar.display_unit] = None
    if not displays:
        return
    definitions = SubElement(root, "UnitDefinitions")
    for name in sorted(displays):
        unit, element = parse_unit(name), SubElement(definitions, "Unit", name=name)
        base = SubElement(element, "BaseUnit")
        for base_name, exponent in zip(BASE_UNITS, unit.exponents, strict=True):
            if exponent:
                base.set(base_name, str(exponent))
        if unit.factor != 1.0:
            base.set("factor", repr(unit.factor))
        if unit.offset != 0.0:
            base.set("offset", repr(unit.offset))
        for display_name in sorted(displays[name]):
            display = parse_unit(display_name)
            # FMI 2.0.4, section 2.2.3: value in the display unit = factor * value in the unit + offset.
            factor = unit.factor / display.factor
            offset = (unit.offset - display.offset) / display.factor
            SubElement(element, "DisplayUnit", name=display_name, factor=repr(factor), offset=repr(offset))


def _add_types(root: Element, scalars: Sequence[Scalar]) -> None:
    used = [scalar.role for scalar in scalars if scalar.role in _TYPES]
    if not used:
        return
    definitions = SubElement(root, "TypeDefinitions")
    for role in used:
        assert role is not None
        name, items = _TYPES[role]
        enumeration = SubElement(SubElement(definitions, "SimpleType", name=name), "Enumeration")
        for value, (item, text) in enumerate(items, start=1):
            SubElement(enumeration, "Item", name=item, value=str(value), description=text)


def _add_scalar(variables: Element, scalar: Scalar) -> None:
    element = SubElement(variables, "ScalarVariable", name=scalar.name, valueReference=str(scalar.value_reference))
    if scalar.description:
        element.set("description", scalar.description)
    element.set("causality", scalar.causality.value)
    element.set("variability", scalar.variability.value)
    if scalar.initial is not None:
        element.set("initial", scalar.initial.value)
    value = SubElement(element, scalar.kind.value)
    if scalar.role in _TYPES and scalar.role is not None:
        value.set("declaredType", _TYPES[scalar.role][0])
    numbers = {"min": scalar.min, "max": scalar.max, "nominal": scalar.nominal}
    attributes = {"unit": scalar.unit, "displayUnit": scalar.display_unit, **numbers, "start": scalar.start}
    for name, content in attributes.items():
        if content is not None:
            value.set(name, _text(content))


def _text(value: float | int | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
