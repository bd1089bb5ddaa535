"""modelDescription.xml of a tap: the plant's, with the identity and the abilities of the FMU around it."""

import io
from collections.abc import Mapping
from xml.etree import ElementTree

from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.fmi2_xml import written
from surrogate_fmu.fmu.model_description import LOG_CATEGORIES, text_of

_STATES = {FmiVersion.V2: "canGetAndSetFMUstate", FmiVersion.V3: "canGetAndSetFMUState"}
_TOKENS = {FmiVersion.V2: "guid", FmiVersion.V3: "instantiationToken"}
_OTHER_KINDS = ("ModelExchange", "ScheduledExecution")
_AFTER_CATEGORIES = ("DefaultExperiment", "VendorAnnotations", "ModelVariables")
# What a Python FMU that passes calls on can and cannot do, whatever the plant can.
_ABILITIES: Mapping[FmiVersion, Mapping[str, str]] = {
    FmiVersion.V2: {
        "needsExecutionTool": "true",
        "canNotUseMemoryManagementFunctions": "true",
        "canSerializeFMUstate": "false",
        "providesDirectionalDerivative": "false",
        "canInterpolateInputs": "false",
        "maxOutputDerivativeOrder": "0",
        "canRunAsynchronuously": "false",
    },
    FmiVersion.V3: {
        "needsExecutionTool": "true",
        "canSerializeFMUState": "false",
        "providesDirectionalDerivatives": "false",
        "providesAdjointDerivatives": "false",
        "maxOutputDerivativeOrder": "0",
        "providesIntermediateUpdate": "false",
        "mightReturnEarlyFromDoStep": "false",
        "canReturnEarlyAfterIntermediateUpdate": "false",
        "hasEventMode": "false",
        "providesEvaluateDiscreteStates": "false",
    },
}


def tap_description(plant: bytes, fmi: FmiVersion, token: str, model_identifier: str, version: str, can_save: bool) -> bytes:
    """The description of the tap; variables, units, types, structure and default experiment are the plant's.

    Args:
        plant: its modelDescription.xml.
        fmi: the version that it is of.
        token: GUID, or instantiation token, of the tap.
        model_identifier: name of the tap's libraries.
        version: of this package.
        can_save: whether all FMUs inside can get and set their states.
    """
    for _, (prefix, uri) in ElementTree.iterparse(io.BytesIO(plant), ("start-ns",)):
        if not prefix.startswith("ns"):
            ElementTree.register_namespace(prefix, uri)
    root = ElementTree.fromstring(plant)
    root.set(_TOKENS[fmi], token)
    root.set("generationTool", f"surrogate-fmu {version}")
    root.attrib.pop("numberOfEventIndicators", None)
    for kind in _OTHER_KINDS:
        for element in root.findall(kind):
            root.remove(element)
    co_simulation = root.find("CoSimulation")
    assert co_simulation is not None
    co_simulation.attrib.update({**_ABILITIES[fmi], _STATES[fmi]: text_of(can_save), "modelIdentifier": model_identifier})
    for element in co_simulation.findall("SourceFiles"):
        co_simulation.remove(element)
    _add_categories(root)
    return written(root)


def _add_categories(root: ElementTree.Element) -> None:
    categories = root.find("LogCategories")
    if categories is None:
        categories = ElementTree.Element("LogCategories")
        places = [place for place, element in enumerate(root) if element.tag in _AFTER_CATEGORIES]
        root.insert(min(places), categories)
    known = {category.get("name") for category in categories}
    for name, meaning in LOG_CATEGORIES.items():
        if name not in known:
            ElementTree.SubElement(categories, "Category", name=name, description=meaning)
