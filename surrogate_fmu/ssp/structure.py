"""What a system structure description says: components with their sources, connectors, connections, parameter bindings."""

import posixpath
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.parsers import expat

from surrogate_fmu.errors import ConfigError

_SSD = "{http://ssp-standard.org/SSP1/SystemStructureDescription}"
_SSV = "{http://ssp-standard.org/SSP1/SystemStructureParameterValues}"
_SSC = "{http://ssp-standard.org/SSP1/SystemStructureCommon}"
MAIN = "SystemStructure.ssd"
_SHOWN = 12


@dataclass(frozen=True)
class Connector:
    """A connector of a component.

    Attributes:
        name: of the connector, which is the variable's.
        kind: input, output, parameter, ...
        type: Real, Integer, Boolean, Enumeration, String, Binary; empty where the description leaves it to the component.
        unit: of it; empty where none is said.
    """

    name: str
    kind: str
    type: str
    unit: str


@dataclass(frozen=True)
class Component:
    """A component of a system or of a system within it.

    Attributes:
        path: names from the outermost system's elements on, joined by dots: "building.heater".
        source: as it is written.
        member: of the archive that the source means; None where it is elsewhere.
        file: the description that the component stands in, a member of the archive.
        position: of the start of its tag in the bytes of that file.
        connectors: by name.
        parameters: values that the description sets, by name.
    """

    path: str
    source: str
    member: str | None
    file: str
    position: int
    connectors: dict[str, Connector]
    parameters: dict[str, str]


@dataclass(frozen=True)
class Connection:
    """From (element path, connector) to another; the path of a system itself is its own; value * factor + offset goes over."""

    start: tuple[str, str]
    end: tuple[str, str]
    factor: float = 1.0
    offset: float = 0.0
    is_plain: bool = True


@dataclass(frozen=True)
class Structure:
    """A whole SSP archive.

    Attributes:
        path: of the archive.
        components: by path.
        connections: of all systems.
        start_time, stop_time: of the default experiment [s]; None where there is none.
    """

    path: Path
    components: dict[str, Component]
    connections: tuple[Connection, ...]
    start_time: float | None
    stop_time: float | None

    def find(self, name: str) -> Component:
        """The component of a path, or of a last name that only one has.

        Raises:
            ConfigError: there is none, or several have that name.
        """
        if name in self.components:
            return self.components[name]
        found = [path for path in self.components if path.rpartition(".")[2] == name]
        if len(found) == 1:
            return self.components[found[0]]
        if found:
            raise ConfigError(f"{self.path.name} has several components {name!r}; say which: {', '.join(found)}")
        known = list(self.components)
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise ConfigError(f"{self.path.name} has no component {name!r}; it has {', '.join(known[:_SHOWN]) or 'none'}{more}")

    def connected(self, component: Component) -> set[str]:
        """Names of the component's connectors that a connection uses."""
        return {connector for c in self.connections for element, connector in (c.start, c.end) if element == component.path}


def read_structure(path: Path) -> Structure:
    """Read an SSP archive.

    Raises:
        ConfigError: it is no SSP archive, or its description cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"there is no system at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            if MAIN not in archive.namelist():
                raise ConfigError(f"{path} is no SSP archive: it has no {MAIN}")
            reader = _Reader(path, archive)
            root = reader.read_description(MAIN, "")
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{path} is no SSP archive, or damaged ({error})") from error
    experiment = root.find(f"{_SSD}DefaultExperiment")
    times = {} if experiment is None else experiment.attrib
    start, stop = (float(times[key]) if key in times else None for key in ("startTime", "stopTime"))
    return Structure(path, reader.components, tuple(reader.connections), start, stop)


class _Reader:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self.components: dict[str, Component] = {}
        self.connections: list[Connection] = []

    def read_description(self, member: str, prefix: str) -> Any:
        content = self._archive.read(member)
        try:
            root, positions = parse_with_positions(content)
        except expat.ExpatError as error:
            raise ConfigError(f"{self._path}: {member} is no XML ({error})") from error
        system = root.find(f"{_SSD}System")
        if root.tag != f"{_SSD}SystemStructureDescription" or system is None:
            raise ConfigError(f"{self._path}: {member} is no system structure description of SSP 1.0")
        self._read_system(system, positions, member, prefix, {})
        return root

    def _read_system(self, system: Any, positions: dict[Any, int], file: str, prefix: str, outer: dict[str, str]) -> None:
        bound = outer | self._bindings(system, file)
        inner = prefix + "." if prefix else ""
        for element in system.iterfind(f"{_SSD}Elements/*"):
            name = element.get("name", "")
            own = {key[len(name) + 1 :]: value for key, value in bound.items() if key.startswith(name + ".")}
            if element.tag == f"{_SSD}System":
                self._read_system(element, positions, file, inner + name, own)
            elif element.tag == f"{_SSD}Component":
                self._read_component(element, positions, file, inner + name, own)
        for connection in system.iterfind(f"{_SSD}Connections/{_SSD}Connection"):
            self.connections.append(_connection(connection, prefix))

    def _read_component(self, element: Any, positions: dict[Any, int], file: str, path: str, bound: dict[str, str]) -> None:
        source = element.get("source", "")
        member = resolve(source, file)
        if member is not None and member not in self._archive.namelist():
            member = None
        if member is not None and member.endswith(".ssd"):
            self.read_description(member, path)
            return
        connectors = {c.name: c for c in map(_connector, element.iterfind(f"{_SSD}Connectors/{_SSD}Connector"))}
        parameters = bound | self._bindings(element, file)
        self.components[path] = Component(path, source, member, file, positions[element], connectors, parameters)

    def _bindings(self, element: Any, file: str) -> dict[str, str]:
        values: dict[str, str] = {}
        for binding in element.iterfind(f"{_SSD}ParameterBindings/{_SSD}ParameterBinding"):
            prefix = binding.get("prefix", "")
            sets = list(binding.iter(f"{_SSV}ParameterSet"))
            source = binding.get("source")
            if source is not None:
                member = resolve(source, file)
                if member is None or member not in self._archive.namelist():
                    raise ConfigError(f"{self._path}: the parameter set {source!r} that {file} names is not in the archive")
                sets = [ElementTree.fromstring(self._archive.read(member))]
            for parameter in (p for one in sets for p in one.iter(f"{_SSV}Parameter")):
                kind = next(iter(parameter), None)
                if kind is not None:
                    values[prefix + parameter.get("name", "")] = kind.get("value", "")
        return values


def resolve(source: str, file: str) -> str | None:
    """The member of the archive that a URI means, seen from a description in it; None for one that leads elsewhere."""
    parts = urlsplit(source)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    member = posixpath.normpath(posixpath.join(posixpath.dirname(file), unquote(parts.path)))
    return None if member.startswith(("..", "/")) else member


def parse_with_positions(content: bytes) -> tuple[Any, dict[Any, int]]:
    """The root element of an XML document, and where in its bytes the tag of each element begins.

    Raises:
        expat.ExpatError: it is no XML.
    """
    positions: dict[Any, int] = {}
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def qualified(name: str) -> str:
        return "{" + name if "}" in name else name

    def start(tag: str, attributes: dict[str, str]) -> None:
        position = parser.CurrentByteIndex
        positions[builder.start(qualified(tag), {qualified(k): v for k, v in attributes.items()})] = position

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: builder.end(qualified(tag))
    parser.CharacterDataHandler = builder.data
    parser.Parse(content, True)
    return builder.close(), positions


def _connector(element: Any) -> Connector:
    kind = next((child for child in element if child.tag.startswith(_SSC)), None)
    name = "" if kind is None else kind.tag.removeprefix(_SSC)
    return Connector(element.get("name", ""), element.get("kind", ""), name, "" if kind is None else kind.get("unit", ""))


def _connection(element: Any, prefix: str) -> Connection:
    def end(which: str) -> tuple[str, str]:
        inner = element.get(f"{which}Element")
        path = prefix if inner is None else f"{prefix}.{inner}" if prefix else inner
        return path, element.get(f"{which}Connector", "")

    linear = element.find(f"{_SSD}LinearTransformation")
    others = [child.tag for child in element if "Transformation" in child.tag and child is not linear]
    factor, offset = (1.0, 0.0) if linear is None else (float(linear.get("factor", 1.0)), float(linear.get("offset", 0.0)))
    return Connection(end("start"), end("end"), factor, offset, not others)
