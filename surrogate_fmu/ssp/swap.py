"""Another FMU in the place of a component of an SSP archive; nothing else changes."""

import html
import io
import posixpath
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from surrogate_fmu.errors import BundleError, ConfigError
from surrogate_fmu.face import FaceArray
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.plant.fmu_arrays import array_of, arrays_of, in_elements
from surrogate_fmu.ssp.parameter import parameter_value
from surrogate_fmu.ssp.structure import Component, Structure, read_structure

_CAUSALITIES = {
    "input": ("input",),
    "output": ("output",),
    "parameter": ("parameter", "structuralParameter"),
    "calculatedParameter": ("calculatedParameter",),
}
_FAMILIES = {
    "Real": {"Real", "Float32", "Float64"},
    "Integer": {"Integer", *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))},
    "Boolean": {"Boolean"},
    "Enumeration": {"Enumeration"},
    "String": {"String"},
    "Binary": {"Binary"},
}
_SOURCE = re.compile(rb"""(\ssource\s*=\s*)("[^"]*"|'[^']*')""")
_MANIFEST = "documentation/manifest.json"
_SHOWN = 12


@dataclass(frozen=True)
class Swap:
    """What was done.

    Attributes:
        component: that has another source now.
        member: the new FMU in the archive.
        removed: the member that no component needs any more; None if another one has it too.
        warnings: a sentence each.
    """

    component: Component
    member: str
    removed: str | None
    warnings: tuple[str, ...]


def swap(system: Path, component: str, fmu: Path, output: Path) -> Swap:
    """Write the system with the FMU in the component's place.

    Of the archive's description the bytes of one attribute change; its other members are copied as they are.

    Args:
        system: SSP archive.
        component: its path, "building.heater", or its last name where that is enough.
        fmu: to put there.
        output: the new archive.

    Raises:
        ConfigError: there is no such component, the FMU does not fit its connectors, or a file cannot be used.
    """
    structure = read_structure(system)
    found = structure.find(component)
    if output.exists() and output.samefile(system):
        raise ConfigError("--output is the system itself; give the new one another name")
    warnings = check_fit(structure, found, fmu)
    with zipfile.ZipFile(system) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        member = _free_name(f"resources/{fmu.name}", members, fmu.read_bytes())
        source = quote(posixpath.relpath(member, posixpath.dirname(found.file) or "."))
        description = _with_source(members[found.file], found.position, source)
        others = [c.member for c in structure.components.values() if c.path != found.path]
        removed = found.member if found.member not in (*others, member) else None
        partial = output.with_name(output.name + ".partial")
        with zipfile.ZipFile(partial, "w") as target:
            for entry in archive.infolist():
                if entry.filename not in (removed, member):
                    content = description if entry.filename == found.file else members[entry.filename]
                    target.writestr(entry, content, entry.compress_type)
            target.write(fmu, member, zipfile.ZIP_DEFLATED)
    partial.replace(output)
    return Swap(found, member, removed, tuple(warnings))


def check_fit(structure: Structure, component: Component, fmu: Path) -> list[str]:
    """Whether an FMU has all that the system connects and sets, of that kind and type.

    Returns:
        What differs without harm, a sentence each.

    Raises:
        ConfigError: it has not; the message names what.
    """
    listed = _variables_of(fmu)
    arrays = arrays_of(listed)
    # A system may be wired to an array by its name, although SSP 1.0 has no word for that.
    variables = {v.name: v for v in listed} | {a.name: next(v for v in listed if array_of(v) is a) for a in arrays.values()}
    replaced = _arrays_before(structure, component)
    connected = structure.connected(component)
    problems, warnings = [], []
    for name in sorted({*component.connectors, *connected, *component.parameters}):
        connector, variable = component.connectors.get(name), variables.get(name)
        used = "connects" if name in connected else "sets" if name in component.parameters else ""
        if variable is None:
            if used:
                problems.append(f"{name!r}, which the system {used}")
            else:
                warnings.append(f"{fmu.name} has no {name!r}; the system declares it and does not use it")
            continue
        if connector is None:
            continue
        if connector.kind in _CAUSALITIES and variable.causality not in _CAUSALITIES[connector.kind]:
            problems.append(f"{name!r} as {connector.kind} (there it is {variable.causality})")
        elif connector.type in _FAMILIES and variable.type not in _FAMILIES[connector.type]:
            problems.append(f"{name!r} as {connector.type} (there it is {variable.type})")
        elif name in arrays and name in replaced and arrays[name].shape != replaced[name].shape:
            sizes = [" x ".join(map(str, array.shape)) for array in (replaced[name], arrays[name])]
            problems.append(f"{name!r} with {sizes[0]} elements (there they are {sizes[1]})")
        elif connector.unit and variable.unit and connector.unit != variable.unit:
            warnings.append(f"{name!r} is in {connector.unit} in the system and in {variable.unit} in {fmu.name}")
    if problems:
        wirable = [v for v in listed if v.causality in ("input", "output", "parameter")]
        has = list(dict.fromkeys(v.name if (array := array_of(v)) is None else array.name for v in wirable))
        more = f" and {len(has) - _SHOWN} more" if len(has) > _SHOWN else ""
        raise ConfigError(
            f"{fmu.name} does not fit {component.path!r}: it lacks {'; '.join(problems[:_SHOWN])}. It has {', '.join(has[:_SHOWN])}"
            f"{more}"
        )
    return warnings + _set_elsewhere(component, fmu, variables)


def _set_elsewhere(component: Component, fmu: Path, variables: dict[str, Any]) -> list[str]:
    """What the system sets to another value than that at which a surrogate was recorded."""
    with zipfile.ZipFile(fmu) as archive:
        if _MANIFEST not in archive.namelist():
            return []
        try:
            face = Manifest.from_json(archive.read(_MANIFEST)).face
        except BundleError:  # of another version, or of another tool
            return []
    sentences = []
    for kept in () if face is None else face.kept:
        value, does = float(kept.start or 0.0), "leaves"
        if kept.name in component.parameters and kept.name in variables:
            value, does = parameter_value(component.parameters[kept.name], variables[kept.name], component.path), "sets"
        if face is not None and value != face.recorded(kept):
            sentences.append(
                f"the system {does} {kept.name!r} {'to' if does == 'sets' else 'at'} {value:g}; {fmu.name} knows it at "
                f"{face.recorded(kept):g} alone and will say that it is outside its domain"
            )
    for text in () if face is None else face.texts:
        given = component.parameters.get(text.name, text.start)
        if given != text.start:
            sentences.append(
                f"the system sets {text.name!r} to {given!r}; {fmu.name} knows it at {text.start!r} alone and will say that it is "
                "outside its domain"
            )
    return sentences


def _variables_of(fmu: Path) -> list[Any]:
    """FMPy's variables, with the elements of arrays in the place of these."""
    from fmpy import read_model_description

    if not fmu.is_file():
        raise ConfigError(f"there is no FMU at {fmu}; make one with: surrogate-fmu distill, or build")
    try:
        variables = read_model_description(str(fmu), validate=False).modelVariables
    except Exception as error:
        raise ConfigError(f"{fmu} is no FMU that can be read ({error})") from error
    return in_elements(variables, fmu.name)


def _arrays_before(structure: Structure, component: Component) -> dict[str, FaceArray]:
    """The arrays of the FMU that is to be replaced; none where the archive has no FMU there that can be read."""
    from fmpy import read_model_description

    if component.member is None:
        return {}
    with zipfile.ZipFile(structure.path) as archive:
        content = io.BytesIO(archive.read(component.member))
    try:
        return arrays_of(in_elements(read_model_description(content, validate=False).modelVariables, component.member))
    except Exception:  # whatever it is, another one takes its place
        return {}


def _free_name(wanted: str, members: dict[str, bytes], content: bytes) -> str:
    """A member's name that nothing else has; that of equal content is taken."""
    path = PurePosixPath(wanted)
    name, number = wanted, 1
    while name in members and members[name] != content:
        number += 1
        name = str(path.with_stem(f"{path.stem}-{number}"))
    return name


def _with_source(content: bytes, position: int, source: str) -> bytes:
    """The description with another value of the attribute `source` of the tag at a position."""
    end = _end_of_tag(content, position)
    tag = content[position:end]
    if _SOURCE.search(tag) is None:
        raise ConfigError("the description of the system is not in UTF-8; save it so")
    value = html.escape(source).encode()
    return content[:position] + _SOURCE.sub(lambda m: m[1] + b'"' + value + b'"', tag, count=1) + content[end:]


def _end_of_tag(content: bytes, position: int) -> int:
    quoted = b""
    for place in range(position, len(content)):
        byte = content[place : place + 1]
        if quoted:
            quoted = b"" if byte == quoted else quoted
        elif byte in (b'"', b"'"):
            quoted = byte
        elif byte == b">":
            return place + 1
    return len(content)
