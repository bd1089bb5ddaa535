"""Building FMUs that run in the host's Python, through PythonFMU's library (FMI 2.0 co-simulation)."""

import hashlib
import importlib.metadata
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surrogate_fmu.bundle.archive import Bundle, archive_bytes
from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import Backend, BuildConfig
from surrogate_fmu.fmu.documentation import plant_page, surrogate_page
from surrogate_fmu.fmu.model_description import Capabilities, ModelDescription, describe_plant, describe_surrogate
from surrogate_fmu.fmu.package import MODEL_DESCRIPTION, write_fmu
from surrogate_fmu.fmu.provenance import DISTRIBUTION, guid_of, license_texts, package_version
from surrogate_fmu.fmu.vendoring import import_closure, renamed, vendored_files
from surrogate_fmu.plant.protocol import load_plant

SURROGATE_HOST_NEEDS = ("Python 3.11 or newer, whose library the host loads", "torch", "numpy")
PLANT_HOST_NEEDS = ("Python 3.11 or newer, whose library the host loads", "numpy", "what the plant itself imports")
_PLATFORMS = {"linux64": ".so", "win64": ".dll"}
_SLAVES = "surrogate_fmu.fmu.python"
_DIGITS = 12  # of the digest, in names inside the FMU


@dataclass(frozen=True)
class _Runtime:
    """What PythonFMU contributes: its Python files and libraries by path inside the FMU, and its licence texts."""

    python: Mapping[str, bytes]
    libraries: Mapping[str, bytes]
    licenses: Mapping[str, bytes]


def build_python_fmu(bundle: Bundle, path: Path, *, external_latents: bool = False, model_identifier: str | None = None) -> Path:
    """Build the FMU of a bundle; equal bundles, options and versions give equal bytes.

    Args:
        bundle: what runs.
        path: of the FMU.
        external_latents: add the inputs `z[1]`, `z[2]`, ... for z_mode = external.
        model_identifier: name of the binaries; None takes the bundle's name.

    Raises:
        BuildError: PythonFMU is not installed, or the options cannot be used.
    """
    try:
        config = BuildConfig(
            Backend.PYTHON, external_latents=external_latents, model_identifier=model_identifier or bundle.manifest.name
        )
    except ValueError as error:
        raise BuildError(str(error)) from error
    manifest, version = bundle.manifest, package_version()
    name = config.model_identifier or manifest.name
    sources = import_closure([f"{_SLAVES}.surrogate_slave"])
    runtime = _pythonfmu()
    digest = _digest([bundle.digest, name, str(external_latents), version], sources, runtime)
    package = f"surrogate_fmu_{digest[:_DIGITS]}"
    description = describe_surrogate(
        manifest, guid_of(digest), version, Capabilities(needs_execution_tool=True), external_latents, name
    )
    bundle_name = f"{manifest.name}.bundle"
    attributes = {"bundle_name": bundle_name, "external_latents": external_latents}
    files = _common_files(description, sources, runtime, package)
    files |= _slave_module(package, "surrogate_slave", "SurrogateSlave", name, attributes)
    files[f"resources/{bundle_name}"] = archive_bytes(bundle)
    files["documentation/index.html"] = surrogate_page(manifest, version, SURROGATE_HOST_NEEDS, external_latents).encode()
    files["documentation/manifest.json"] = manifest.to_json().encode()
    if manifest.card:
        files["documentation/card.json"] = (json.dumps(manifest.card, indent=1, sort_keys=True) + "\n").encode()
    return write_fmu(files, path)


def build_plant_fmu(plant_reference: str, folder: Path, path: Path) -> Path:
    """Build an FMU that runs a plant itself; there is no getting and setting of its state.

    Args:
        plant_reference: `file.py:ClassName`, the file relative to `folder`. The file is copied; what it imports besides
            this package must be installed where the FMU runs.
        folder: where the file is looked for.
        path: of the FMU.

    Raises:
        ConfigError: there is no such plant.
        BuildError: PythonFMU is not installed, or the plant has array variables.
    """
    plant = load_plant(plant_reference, folder)
    arrays = [variable.name for variable in plant.variables if variable.shape]
    if arrays:
        raise BuildError(f"the plant's variables {arrays} are arrays; a plant FMU has scalars only, so give the plant scalars")
    file_name, _, class_name = plant_reference.partition(":")
    source = (folder / file_name).read_text("utf-8")
    version, runtime = package_version(), _pythonfmu()
    sources = import_closure([f"{_SLAVES}.plant_slave"], [source])
    digest = _digest([source, class_name, version], sources, runtime)
    package, module = f"surrogate_fmu_{digest[:_DIGITS]}", f"plant_{digest[:_DIGITS]}"
    text = inspect.getdoc(type(plant)) or ""
    description = describe_plant(
        class_name,
        text.split("\n\n")[0].replace("\n", " "),
        plant.variables,
        plant.communication_step_size,
        guid_of(digest),
        version,
        Capabilities(needs_execution_tool=True, can_get_and_set_state=False, can_serialize_state=False),
    )
    files = _common_files(description, sources, runtime, package)
    attributes = {"plant_reference": f"{module}.py:{class_name}"}
    files |= _slave_module(package, "plant_slave", "PlantSlave", class_name, attributes)
    files[f"resources/{module}.py"] = renamed(source, package).encode()
    page = plant_page(class_name, text, plant.variables, plant.communication_step_size, version, PLANT_HOST_NEEDS)
    files["documentation/index.html"] = page.encode()
    return write_fmu(files, path)


def _common_files(description: ModelDescription, sources: Mapping[str, str], runtime: _Runtime, package: str) -> dict[str, bytes]:
    files = {MODEL_DESCRIPTION: description.to_xml()}
    files |= {f"resources/{name}": content for name, content in vendored_files(sources, package).items()}
    files |= {f"resources/{name}": content for name, content in runtime.python.items()}
    for platform, content in runtime.libraries.items():
        files[f"binaries/{platform}/{description.model_identifier}{_PLATFORMS[platform]}"] = content
    licenses = {**license_texts(DISTRIBUTION), **runtime.licenses}
    return files | {f"documentation/licenses/{name}": content for name, content in licenses.items()}


def _slave_module(package: str, module: str, base: str, class_name: str, attributes: Mapping[str, object]) -> dict[str, bytes]:
    """The module that PythonFMU's library imports, and executes once more at every instantiation."""
    name = f"slave_{package.rpartition('_')[2]}"
    lines = [
        f'"""The slave of {class_name}."""',
        "",
        "import ctypes as _ctypes",
        "",
        "try:",
        f"    from {package}.fmu.python import {module} as _module",
        "except ModuleNotFoundError as error:",
        "    raise ModuleNotFoundError(",
        f'        f"the FMU {class_name} needs the package {{error.name!r}} in the Python that the host loads; install it there"',
        "    ) from error",
        "",
        "",
        f"class {class_name}(_module.{base}):",
        f'    """{class_name} for PythonFMU."""',
        "",
        *(f"    {key} = {value!r}" for key, value in attributes.items()),
        "",
        "",
        "# At every instantiation the library drops a reference to this module's globals that it does not own.",
        "_ctypes.pythonapi.Py_IncRef(_ctypes.py_object(globals()))",
        "",
    ]
    return {f"resources/{name}.py": "\n".join(lines).encode(), "resources/slavemodule.txt": name.encode()}


def _pythonfmu() -> _Runtime:
    """PythonFMU as it is installed; an FMU in this process may have put its own copy into `sys.modules`."""
    try:
        distribution = importlib.metadata.distribution("pythonfmu")
    except importlib.metadata.PackageNotFoundError as error:
        raise BuildError("PythonFMU is not installed; install the extra: pip install 'surrogate-fmu[fmu]'") from error
    folder = Path(str(distribution.locate_file("pythonfmu")))
    python = {f"pythonfmu/{file.name}": file.read_bytes() for file in sorted(folder.glob("*.py"))}
    libraries = {}
    for platform, suffix in _PLATFORMS.items():
        for file in sorted((folder / "resources" / "binaries" / platform).glob(f"*{suffix}")):
            libraries[platform] = file.read_bytes()
    if not python or not libraries:
        raise BuildError(f"PythonFMU {distribution.version} lacks its libraries; install its wheel: pip install pythonfmu")
    return _Runtime(python, libraries, license_texts("pythonfmu"))


def _digest(facts: Sequence[str], sources: Mapping[str, str], runtime: _Runtime) -> str:
    """SHA-256 over all that the FMU is made of."""
    total = hashlib.sha256()
    parts: list[tuple[str, bytes]] = [("fact", fact.encode()) for fact in facts]
    parts += [(name, source.encode()) for name, source in sorted(sources.items())]
    for files in (runtime.python, runtime.libraries):
        parts += sorted(files.items())
    for name, content in parts:
        total.update(f"{name} {len(content)}\n".encode() + content)
    return total.hexdigest()
