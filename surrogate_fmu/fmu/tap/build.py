"""Building the FMU that stands in a plant's place, with the plant inside."""

import hashlib
import json
import keyword
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.package import MODEL_DESCRIPTION, write_fmu
from surrogate_fmu.fmu.provenance import guid_of, package_version
from surrogate_fmu.fmu.python_package import PYTHON_SLAVES, common_files, copy_name, digest_of, slave_module, wrapper_runtime
from surrogate_fmu.fmu.tap.description import tap_description
from surrogate_fmu.fmu.tap.fit import check_partner
from surrogate_fmu.fmu.tap.plan import PLAN_FILE, PLANT_FOLDER, SURROGATE_FOLDER, Mode, TapConfig, TapPlan
from surrogate_fmu.fmu.vendoring import import_closure
from surrogate_fmu.plant.fmu_arrays import by_element
from surrogate_fmu.plant.fmu_instance import CoSimulationFmu
from surrogate_fmu.plant.fmu_interface import find_seed
from surrogate_fmu.plant.fmu_variable import NUMERIC, read_variable
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.schema import encode

TAP_HOST_NEEDS = ("Python 3.11 or newer, whose library the host loads", "fmpy", "numpy", "what the FMUs inside need")
_SLAVE = "fmu.tap.slave"
_LOGGED = ("input", "output", "parameter", "structuralParameter")
_TYPES = {
    FmiVersion.V2: {"Real", "Integer", "Enumeration", "Boolean", "String"},
    FmiVersion.V3: {"Float64", "Int32", "Int64", "UInt64", "Enumeration", "Boolean", "String"},  # what PythonFMU3 passes on
}


@dataclass(frozen=True)
class Tap:
    """What was built.

    Attributes:
        path: of the FMU.
        fmi: version of the standard, the plant's.
        plan: what lies in it.
        warnings: a sentence each.
    """

    path: Path
    fmi: FmiVersion
    plan: TapPlan
    warnings: tuple[str, ...]


def build_tap_fmu(plant: Path, path: Path, config: TapConfig, surrogate: Path | None = None) -> Tap:
    """Build a tap; equal FMUs, options and versions give equal bytes.

    Its variables are the plant's: names, value references, types, causalities, units, start values, order. It can save its
    state, within one instance, where the FMUs inside can; it has no derivatives, whatever the plant has.

    Args:
        plant: FMU for co-simulation, FMI 2.0 or 3.0; the tap is of the same version.
        path: of the tap.
        config: who runs and who leads; a limit of an array is that of each of its elements.
        surrogate: FMU of either version; for the modes shadow and guarded.

    Raises:
        ConfigError: a file is no FMU, is for model exchange only, or has no binary for this machine.
        BuildError: the two do not fit, the plant has what a tap cannot pass on, or PythonFMU is not installed.
    """
    if (surrogate is None) != (config.mode is Mode.RECORD):
        raise BuildError(
            f"mode {config.mode} needs a surrogate; give one with --surrogate FAST.fmu"
            if surrogate is None
            else "mode record runs the plant alone; leave --surrogate out, or choose --mode shadow or guarded"
        )
    if path.exists() and any(path.samefile(source) for source in (plant, surrogate) if source is not None and source.exists()):
        raise BuildError(f"{path} is one of the FMUs that go into the tap; give the tap another name")
    tapped = CoSimulationFmu(plant)
    fmi = _version(tapped)
    _check_types(tapped, fmi)
    arrays = tapped.arrays
    config = replace(config, spread=by_element(config.spread, arrays), agree=by_element(config.agree, arrays))
    warnings: list[str] = []
    can_save = bool(tapped.description.coSimulation.canGetAndSetFMUstate)
    if surrogate is not None:
        partner = CoSimulationFmu(surrogate)
        _version(partner)
        warnings = check_partner(tapped, partner, config)
        can_save = can_save and bool(partner.description.coSimulation.canGetAndSetFMUstate)
    variables = tuple(
        read_variable(v, tapped.description.unitDefinitions, tapped.name)
        for v in tapped.description.modelVariables
        if v.causality in _LOGGED and v.type in NUMERIC and not v.dimensions and v.alias is None
    )
    seed = find_seed(tapped.variables, PlantSettings(), tapped.name)
    plan = TapPlan(tapped.name, config, variables, seed, "" if surrogate is None else surrogate.name)
    inner = _members(plant, PLANT_FOLDER) | ({} if surrogate is None else _members(surrogate, SURROGATE_FOLDER))
    identifier = tapped.description.coSimulation.modelIdentifier
    return Tap(_write(plan, inner, identifier, fmi, can_save, path), fmi, plan, tuple(warnings))


def _write(plan: TapPlan, inner: Mapping[str, bytes], identifier: str, fmi: FmiVersion, can_save: bool, path: Path) -> Path:
    runtime, version = wrapper_runtime(fmi), package_version()
    sources = import_closure([f"surrogate_fmu.{_SLAVE}", f"{PYTHON_SLAVES}.{runtime.wrapper.shell[0]}"])
    text = json.dumps(encode(plan), sort_keys=True)
    facts = [text, version] + [f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in sorted(inner.items())]
    digest = digest_of(facts, sources, runtime)
    package, token = copy_name(digest), guid_of(digest)
    name = f"{identifier}_tap"
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise BuildError(
            f"the plant's model identifier {identifier!r} is no identifier of C, as FMI wants it; export the plant again"
        )
    description = tap_description(inner[f"resources/{PLANT_FOLDER}/{MODEL_DESCRIPTION}"], fmi, token, name, version, can_save)
    files = common_files(description, name, sources, runtime, package)
    files |= slave_module(package, runtime.wrapper, _SLAVE, "TapSlave", name, {"token": token})
    files[f"resources/{PLAN_FILE}"] = text.encode()
    return write_fmu({**files, **inner}, path)


def _members(fmu: Path, folder: str) -> dict[str, bytes]:
    """Files of an FMU by the path that they have in the tap."""
    with zipfile.ZipFile(fmu) as archive:
        return {f"resources/{folder}/{e.filename}": archive.read(e) for e in archive.infolist() if not e.is_dir()}


def _version(fmu: CoSimulationFmu) -> FmiVersion:
    told = str(fmu.description.fmiVersion)
    for version in FmiVersion:
        if told.startswith(version.value[0]):
            return version
    raise BuildError(f"{fmu.name} is of FMI {told}; a tap takes FMI 2.0 and 3.0, so export it for one of these")


def _check_types(plant: CoSimulationFmu, fmi: FmiVersion) -> None:
    others = sorted({v.type for v in plant.variables.values()} - _TYPES[fmi])
    if others:
        raise BuildError(
            f"{plant.name} has variables of type {', '.join(others)}, which a tap of FMI {fmi} cannot pass on; export it without"
        )
