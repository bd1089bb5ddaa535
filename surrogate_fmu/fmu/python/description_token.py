"""Whether a Python FMU is what its modelDescription.xml describes; the libraries of PythonFMU and PythonFMU3 do not look."""

from pathlib import Path
from xml.etree import ElementTree

from surrogate_fmu.errors import SessionError

_ATTRIBUTES = {"fmi2": "guid", "fmi3": "instantiationToken"}


def check_description_token(resources: str, token: str, prefix: str) -> None:
    """Compare the GUID, or instantiation token, of the build with that in the modelDescription.xml beside the resources.

    The master takes the one that it passes to instantiation from there, and the slave is not told it.

    Args:
        resources: folder of the FMU's resources; where a host has put it elsewhere, without a description, nothing is compared.
        token: of the build.
        prefix: of the FMI version, "fmi2" or "fmi3".

    Raises:
        SessionError: they differ, or there is none.
    """
    file = Path(resources).parent / "modelDescription.xml"
    if not file.is_file():
        return
    attribute = _ATTRIBUTES[prefix]
    try:
        with file.open("rb") as stream:
            _, root = next(ElementTree.iterparse(stream, ("start",)))
        told = root.get(attribute)
    except ElementTree.ParseError as error:
        raise SessionError(f"modelDescription.xml cannot be read ({error}); build the FMU anew") from None
    if told != token:
        raise SessionError(f"modelDescription.xml has the {attribute} {told}, this FMU is {token}; use the files of one build")
