"""A plant in C, its surrogate, and a controller: what a tap is put between."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.fmu.scalar import Role
from surrogate_fmu.manifest import Interval
from tests.toy import MANIFEST, ThermalMass

_OWN = {Role.Z_MODE, Role.DOMAIN_POLICY, Role.DEVICE, Role.IN_DOMAIN, Role.DOMAIN_DISTANCE}


class LighterMass(ThermalMass):
    """Near the thermal mass, and not equal to it."""

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 3), z (batch, 3), h (batch, 2) -> y (batch, 2), h (batch, 2)."""
        flow = torch.exp(0.2 * z[:, 0:1]) * (h[:, 0:1] - x[:, 1:2]) + 0.5 * z[:, 1:2]
        flow = 0.5 * flow + 0.5 * h[:, 1:2]
        temperature = h[:, 0:1] + 0.051 * (x[:, 0:1] - flow) + 0.01 * z[:, 2:3]
        y = torch.cat([temperature, flow], 1)
        return y, y


def make_surrogate_bundle(domain: Mapping[str, Interval] | None = None) -> Bundle:
    """The surrogate of the thermal mass, with some ranges of its own."""
    return export_bundle(LighterMass(), replace(MANIFEST, name="lighter_mass", domain={**MANIFEST.domain, **(domain or {})}))


def rewritten(fmu: Path, target: Path, change: Mapping[str, str] | None = None, drop: frozenset[str] = frozenset()) -> Path:
    """A copy of an FMU with another description.

    Args:
        fmu, target: files.
        change: texts of the description to replace.
        drop: variables that the description does not list any more.
    """
    with zipfile.ZipFile(fmu) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "modelDescription.xml":
                for old, new in (change or {}).items():
                    assert old.encode() in content, old
                    content = content.replace(old.encode(), new.encode())
                content = _without(content, drop) if drop else content
            copy.writestr(entry, content)
    return target


def plain(surrogate: Path, target: Path) -> Path:
    """A native FMU without the variables that surrogates have: a solver in C as far as anybody can see."""
    return rewritten(surrogate, target, drop=frozenset(role.value for role in _OWN))


def _without(description: bytes, names: frozenset[str]) -> bytes:
    root = ElementTree.fromstring(description)
    third = root.get("fmiVersion") == "3.0"
    variables, structure = root.find("ModelVariables"), root.find("ModelStructure")
    listed = list(enumerate(variables, start=1))
    gone = {v.get("valueReference") if third else str(place) for place, v in listed if v.get("name") in names}
    if not third:
        assert min(map(int, gone)) > len(listed) - len(gone)  # the last ones: no index changes
    for _, variable in listed:
        if variable.get("name") in names:
            variables.remove(variable)
    for unknowns in [structure] if third else list(structure):
        for unknown in list(unknowns):
            if unknown.get("valueReference" if third else "index") in gone:
                unknowns.remove(unknown)
            kept = [known for known in unknown.get("dependencies", "").split() if known not in gone]
            unknown.set("dependencies", " ".join(kept))
    types = root.find("TypeDefinitions")
    if types is not None:
        root.remove(types)
    return ElementTree.tostring(root, xml_declaration=True, encoding="UTF-8")
