"""What every FMU is made of that runs in the host's Python: the library of PythonFMU or PythonFMU3, a copy of the code, a slave."""

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.package import MODEL_DESCRIPTION
from surrogate_fmu.fmu.provenance import DISTRIBUTION, license_texts
from surrogate_fmu.fmu.vendoring import vendored_files

PYTHON_SLAVES = "surrogate_fmu.fmu.python"
_DIGITS = 12  # of the digest, in names inside the FMU


@dataclass(frozen=True)
class Wrapper:
    """The package whose library answers to the master.

    Attributes:
        package: name of the distribution and of the Python package.
        platforms: suffix of a library by the name of its folder.
        shell: module and class that the slave is joined with.
        import_may_raise: whether an error of the slave module's import is told to the master; PythonFMU3 crashes on it.
    """

    package: str
    platforms: Mapping[str, str]
    shell: tuple[str, str]
    import_may_raise: bool


_RAISE_NOW = ["    raise ModuleNotFoundError(_text) from error"]
_RAISE_LATER = [
    "",
    "    class _Absent:",
    '        """Raises when it is made."""',
    "",
    "        def __init__(self, **_: object) -> None:",
    "            raise ModuleNotFoundError(_text)",
    "",
    "    class _module:",
    "        BundleSlave = RemoteSlave = TapSlave = _Absent",
    "",
    "    class _shell:",
    "        Fmi3Slave = object",
]
_WRAPPERS = {
    FmiVersion.V2: Wrapper("pythonfmu", {"linux64": ".so", "win64": ".dll"}, ("fmi2_shell", "Fmi2Shell"), import_may_raise=True),
    FmiVersion.V3: Wrapper("pythonfmu3", {"x86_64-linux": ".so", "x86_64-windows": ".dll"}, ("fmi3_shell", "Fmi3Slave"), False),
}


@dataclass(frozen=True)
class WrapperRuntime:
    """What that package contributes: its Python files and libraries by path inside the FMU, and its licence texts."""

    wrapper: Wrapper
    python: Mapping[str, bytes]
    libraries: Mapping[str, bytes]
    licenses: Mapping[str, bytes]


def common_files(
    description: bytes, model_identifier: str, sources: Mapping[str, str], runtime: WrapperRuntime, package: str
) -> dict[str, bytes]:
    """Contents by path: the description, the copy of the code, the libraries and their licences.

    Args:
        description: modelDescription.xml.
        model_identifier: name of the libraries.
        sources: of the copy, by path inside the package; from `import_closure`.
        runtime: of the wrapper.
        package: name of the copy.
    """
    files = {MODEL_DESCRIPTION: description}
    files |= {f"resources/{name}": content for name, content in vendored_files(sources, package).items()}
    files |= {f"resources/{name}": content for name, content in runtime.python.items()}
    for platform, content in runtime.libraries.items():
        suffix = runtime.wrapper.platforms[platform]
        files[f"binaries/{platform}/{model_identifier}{suffix}"] = content
    licenses = {**license_texts(DISTRIBUTION), **runtime.licenses}
    return files | {f"documentation/licenses/{name}": content for name, content in licenses.items()}


def slave_module(
    package: str, wrapper: Wrapper, module: str, base: str, class_name: str, attributes: Mapping[str, object]
) -> dict[str, bytes]:
    """The module that the library imports; that of PythonFMU executes it once more at every instantiation."""
    shell_module, shell = wrapper.shell
    name = f"slave_{package.rpartition('_')[2]}"
    lines = [
        f'"""The slave of {class_name}."""',
        "",
        "import ctypes as _ctypes",
        "from pathlib import Path as _Path",
        "",
        f"from {package}.fmu.python.interpreter_end import end_interpreter_first as _end_interpreter_first",
        "",
        "try:",
        f"    from {package}.{module.rpartition('.')[0]} import {module.rpartition('.')[2]} as _module",
        f"    from {package}.fmu.python import {shell_module} as _shell",
        "except ModuleNotFoundError as error:",
        f"    _end_interpreter_first(_Path(__file__).parent, {class_name!r})",
        f'    _text = f"the FMU {class_name} needs {{error.name!r}} in the Python that the host loads; install it there"',
        *(_RAISE_NOW if wrapper.import_may_raise else _RAISE_LATER),
        "",
        "",
        f"class {class_name}(_module.{base}, _shell.{shell}):",
        f'    """{class_name} for {wrapper.package}."""',
        "",
        *(f"    {key} = {value!r}" for key, value in attributes.items()),
        "",
        "",
        "# At every instantiation PythonFMU drops a reference to this module's globals that it does not own.",
        "_ctypes.pythonapi.Py_IncRef(_ctypes.py_object(globals()))",
        "",
    ]
    return {f"resources/{name}.py": "\n".join(lines).encode(), "resources/slavemodule.txt": name.encode()}


def wrapper_runtime(fmi: FmiVersion) -> WrapperRuntime:
    """The wrapper as it is installed; an FMU in this process may have put its own copy into `sys.modules`."""
    wrapper = _WRAPPERS[fmi]
    name = wrapper.package
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise BuildError(f"{name} is not installed; install the extra: pip install 'surrogate-fmu[fmu]'") from error
    folder = Path(str(distribution.locate_file(name)))
    python = {f"{name}/{file.name}": file.read_bytes() for file in sorted(folder.glob("*.py"))}
    libraries = {}
    for platform, suffix in wrapper.platforms.items():
        for file in sorted((folder / "resources" / "binaries" / platform).glob(f"*{suffix}")):
            libraries[platform] = file.read_bytes()
    if not python or not libraries:
        raise BuildError(f"{name} {distribution.version} lacks its libraries; install its wheel: pip install {name}")
    return WrapperRuntime(wrapper, python, libraries, license_texts(name))


def copy_name(digest: str) -> str:
    """Name of the copy of this package inside an FMU whose content has this digest."""
    return f"surrogate_fmu_{digest[:_DIGITS]}"


def digest_of(facts: Sequence[str], sources: Mapping[str, str], runtime: WrapperRuntime) -> str:
    """SHA-256 over all that the FMU is made of."""
    total = hashlib.sha256()
    parts: list[tuple[str, bytes]] = [("fact", fact.encode()) for fact in facts]
    parts += [(name, source.encode()) for name, source in sorted(sources.items())]
    for files in (runtime.python, runtime.libraries):
        parts += sorted(files.items())
    for name, content in parts:
        total.update(f"{name} {len(content)}\n".encode() + content)
    return total.hexdigest()
