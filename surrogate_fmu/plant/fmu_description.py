"""The model description of an FMU: what FMPy reads, and what it leaves out."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.fmu_arrays import in_elements

_FILE = "modelDescription.xml"


def read_description(folder: Path, fmu: str) -> Any:
    """FMPy's model description, completed, with the elements of arrays in the place of these.

    Args:
        folder: of the unpacked FMU.
        fmu: its name, for messages.

    Raises:
        ConfigError: it cannot be read, or an array in it cannot be used.
    """
    from fmpy import read_model_description

    try:
        description = read_model_description(str(folder), validate=False)
        root = ElementTree.parse(folder / _FILE).getroot()
    except Exception as error:
        raise ConfigError(f"{fmu}: its {_FILE} cannot be read ({error}); export it again") from error
    variables = {variable.name: variable for variable in description.modelVariables}
    for element in root.iterfind("ModelVariables/*"):
        variable = variables.get(element.get("name", ""))
        if variable is None:
            continue
        value = element.find(variable.type) if element.tag == "ScalarVariable" else element
        if value is None:
            continue
        # FMPy 0.3.32 looks for the first among the children of an element, and for limits of signed numbers alone.
        if value.get("relativeQuantity") is not None:
            variable.relativeQuantity = value.get("relativeQuantity") in ("true", "1")
        if variable.type.startswith("UInt"):
            variable.min, variable.max = value.get("min"), value.get("max")
    description.modelVariables = in_elements(description.modelVariables, fmu)
    return description
