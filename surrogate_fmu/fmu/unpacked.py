"""An FMU as files: unpacked once per process, removed at its end."""

import contextlib
import shutil
import tempfile
import threading
import weakref
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from surrogate_fmu.errors import BuildError
from surrogate_fmu.manifest import Manifest

_MANIFEST = Path("documentation", "manifest.json")


class UnpackedFmu:
    """The files of an FMU in a temporary folder.

    Args:
        path: of the FMU, or of a folder in which one is unpacked already; that folder is left alone.

    Attributes:
        folder: where the files are.
        description: FMPy's model description.

    Raises:
        BuildError: there is no FMU, or it cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        from fmpy import read_model_description

        path = Path(path)
        if not path.exists():
            raise BuildError(f"there is no FMU at {path}; make one with: surrogate-fmu build")
        self._finalizer: Any = None
        if path.is_dir():
            self.folder = path
        else:
            self.folder = Path(tempfile.mkdtemp(prefix="surrogate_fmu_"))
            self._finalizer = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(self.folder)
            except (zipfile.BadZipFile, OSError) as error:
                raise BuildError(f"{path} is no FMU, or damaged ({error}); build it again") from error
        try:
            self.description = read_model_description(str(self.folder), validate=False)
        except Exception as error:
            raise BuildError(f"{path}: its modelDescription.xml cannot be read ({error}); build it again") from error

    @property
    def manifest(self) -> Manifest:
        """The manifest that a surrogate's FMU carries.

        Raises:
            BuildError: there is none: the FMU is not one of a surrogate.
        """
        file = self.folder / _MANIFEST
        if not file.is_file():
            raise BuildError(f"the FMU {self.description.modelName!r} carries no {_MANIFEST.as_posix()}: it is no surrogate")
        return Manifest.from_json(file.read_bytes())

    def close(self) -> None:
        """Remove the files."""
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


_unpacked: dict[tuple[str, int, int], UnpackedFmu] = {}
_unpacking = threading.Lock()


def unpack_fmu(path: Path | str) -> UnpackedFmu:
    """The files of an FMU, unpacked at the first call for this path and content and kept until the process ends."""
    path = Path(path).resolve()
    with contextlib.suppress(OSError):
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_size)
        with _unpacking:
            if key not in _unpacked:
                _unpacked[key] = UnpackedFmu(path)
            return _unpacked[key]
    return UnpackedFmu(path)
