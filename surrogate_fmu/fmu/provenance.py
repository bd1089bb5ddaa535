"""Where an FMU comes from: the version that built it, licence texts of what is inside, and a name for its content."""

import importlib.metadata
import uuid
from pathlib import Path

DISTRIBUTION = "surrogate-fmu"
_SOURCE_LICENSE = Path(__file__).resolve().parents[2] / "LICENSE"  # where the package runs from its sources


def package_version() -> str:
    """The version of this package."""
    return importlib.metadata.version(DISTRIBUTION)


def guid_of(digest: str) -> str:
    """The GUID (FMI 3.0: instantiation token) of an FMU whose content has this hexadecimal digest, as "{...}"."""
    return "{" + str(uuid.UUID(digest[:32], version=5)) + "}"


def license_texts(distribution_name: str) -> dict[str, bytes]:
    """Licence texts of an installed distribution, by `<distribution>-<file name>`; none where it is not installed."""
    try:
        distribution = importlib.metadata.distribution(distribution_name)
    except importlib.metadata.PackageNotFoundError:
        return {}
    texts = {}
    for file in distribution.files or ():
        if file.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE")) and ".dist-info" in str(file):
            texts[f"{distribution_name}-{file.name}"] = Path(str(distribution.locate_file(file))).read_bytes()
    if not texts and distribution_name == DISTRIBUTION and _SOURCE_LICENSE.is_file():
        texts[f"{distribution_name}-LICENSE"] = _SOURCE_LICENSE.read_bytes()
    return texts
