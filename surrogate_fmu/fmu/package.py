"""The FMU file: a zip whose bytes depend on nothing but the contents (FMI 2.0.4, section 2.3). Used by every backend."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

MODEL_DESCRIPTION = "modelDescription.xml"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LIBRARIES = (".so", ".dll", ".dylib")


def write_fmu(files: Mapping[str, bytes], path: Path) -> Path:
    """Write an FMU; the file appears whole or not at all.

    Args:
        files: contents by path inside the FMU, with forward slashes; among them modelDescription.xml.
        path: of the FMU; missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files, key=lambda name: (name != MODEL_DESCRIPTION, name)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # Unix, whatever this machine is: the permissions below are Unix ones
            entry.external_attr = (0o755 if name.endswith(_LIBRARIES) else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    partial.replace(path)
    return path
