"""Building FMUs that run in the host's Python, through the library of PythonFMU (FMI 2.0) or PythonFMU3 (FMI 3.0)."""

import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surrogate_fmu.bundle.archive import Bundle, archive_bytes
from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion, OwnOutputs
from surrogate_fmu.fmu.documentation import plant_page, surrogate_page
from surrogate_fmu.fmu.interface import INTEGER_MAX, LONG_MAX, ensemble_statistics, surrogate_interface
from surrogate_fmu.fmu.model_description import Capabilities, describe_plant, describe_surrogate
from surrogate_fmu.fmu.package import write_fmu
from surrogate_fmu.fmu.provenance import guid_of, package_version
from surrogate_fmu.fmu.python_package import PYTHON_SLAVES, common_files, copy_name, digest_of, slave_module, wrapper_runtime
from surrogate_fmu.fmu.vendoring import import_closure, renamed
from surrogate_fmu.plant.protocol import load_plant

SURROGATE_HOST_NEEDS = ("Python 3.11 or newer, whose library the host loads", "torch", "numpy")
REMOTE_HOST_NEEDS = ("Python 3.11 or newer, whose library the host loads", "grpcio", "protobuf", "numpy", "a service that runs")
PLANT_HOST_NEEDS = ("Python 3.11 or newer, whose library the host loads", "numpy", "what the plant itself imports")
_FMI3_TYPES = ("Int32", "Int64", "UInt64")  # of whole numbers, that the library of PythonFMU3 knows


def build_python_fmu(
    bundle: Bundle,
    path: Path,
    *,
    external_latents: bool = False,
    model_identifier: str | None = None,
    fmi: FmiVersion = FmiVersion.V2,
    ensemble: int = 1,
    quantiles: tuple[float, ...] = BuildConfig.quantiles,
    own_outputs: OwnOutputs = OwnOutputs.TYPED,
) -> Path:
    """Build the FMU of a bundle; equal bundles, options and versions give equal bytes.

    Args:
        bundle: what runs.
        path: of the FMU.
        external_latents: add the inputs `z[1]`, `z[2]`, ... for z_mode = external.
        model_identifier: name of the binaries; None takes the bundle's name.
        fmi: version of the standard.
        ensemble: members that step together; with 2 and more, outputs gain `<name>.mean`, `.std` and quantiles.
        quantiles: of the members.
        own_outputs: how `in_domain` and `domain_distance` are told.

    Raises:
        BuildError: PythonFMU, or PythonFMU3 for FMI 3.0, is not installed, or the options cannot be used.
    """
    bundle_name = f"{bundle.manifest.name}.bundle"
    slave = _Slave(
        "fmu.python.bundle_slave",
        "BundleSlave",
        {"bundle_name": bundle_name, "members": ensemble, "quantiles": quantiles},
        {bundle_name: archive_bytes(bundle)},
        SURROGATE_HOST_NEEDS,
    )
    try:
        config = BuildConfig(
            Backend.PYTHON, external_latents, model_identifier, fmi, (), ensemble, quantiles, own_outputs=own_outputs
        )
    except ValueError as error:
        raise BuildError(str(error)) from error
    return _build_surrogate(bundle, slave, path, config)


def build_remote_fmu(
    bundle: Bundle,
    target: str,
    path: Path,
    *,
    external_latents: bool = False,
    model_identifier: str | None = None,
    fmi: FmiVersion = FmiVersion.V2,
    own_outputs: OwnOutputs = OwnOutputs.TYPED,
) -> Path:
    """Build the FMU whose steps a service takes; equal arguments and versions give equal bytes.

    Args:
        bundle: what the service serves; its manifest and its digest go into the FMU, its weights do not.
        target: host:port of the service; the host's SURROGATE_FMU_TARGET may say otherwise.
        path, external_latents, model_identifier, fmi, own_outputs: as `build_python_fmu`.

    Raises:
        BuildError: as `build_python_fmu`, or the target is no host:port.
    """
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise BuildError(f"the target {target!r} must be host:port of a service, such as 127.0.0.1:50051")
    slave = _Slave(
        "fmu.remote.remote_slave",
        "RemoteSlave",
        {"target": target, "bundle_digest": bundle.digest},
        {"manifest.json": bundle.manifest.to_json().encode()},
        REMOTE_HOST_NEEDS,
    )
    try:
        config = BuildConfig(Backend.REMOTE, external_latents, model_identifier, fmi, own_outputs=own_outputs)
    except ValueError as error:
        raise BuildError(str(error)) from error
    return _build_surrogate(bundle, slave, path, config)


@dataclass(frozen=True)
class _Slave:
    """The class that answers inside the FMU, and what it needs.

    Attributes:
        module, base: where it is, by the package's own names.
        attributes: of the class in the FMU.
        resources: files by name.
        host_needs: what the host must have.
    """

    module: str
    base: str
    attributes: Mapping[str, object]
    resources: Mapping[str, bytes]
    host_needs: Sequence[str]


def _build_surrogate(bundle: Bundle, slave: _Slave, path: Path, config: BuildConfig) -> Path:
    manifest, version = bundle.manifest, package_version()
    name, fmi, external_latents = config.model_identifier or manifest.name, config.fmi, config.external_latents
    try:
        dataclasses.replace(config, model_identifier=name)  # the manifest's name is looked at as one that was given
    except ValueError as error:
        raise BuildError(str(error)) from error
    runtime = wrapper_runtime(fmi)
    sources = import_closure([f"surrogate_fmu.{slave.module}", f"{PYTHON_SLAVES}.{runtime.wrapper.shell[0]}"])
    attributes = {**slave.attributes, "external_latents": external_latents, "own_outputs": config.own_outputs.value}
    digest = digest_of([bundle.digest, name, json.dumps(attributes, sort_keys=True), version], sources, runtime)
    package = copy_name(digest)
    statistics = ensemble_statistics(config.ensemble, config.quantiles)
    arrays = fmi is FmiVersion.V3
    seed_max = (LONG_MAX if arrays else INTEGER_MAX) - (config.ensemble - 1)  # member m has the seed + m
    scalars = surrogate_interface(manifest, external_latents, statistics, arrays, seed_max, config.own_outputs)
    unknown = [f"{s.name} ({s.fmi3_type})" for s in scalars if s.fmi3_type not in (None, *_FMI3_TYPES)] if arrays else []
    if unknown:
        raise BuildError(
            f"the library of PythonFMU3 has no functions for {', '.join(unknown)}, only for Float64, {', '.join(_FMI3_TYPES)}, "
            "Boolean and Enumeration; build with --backend native"
        )
    description = describe_surrogate(
        manifest,
        guid_of(digest),
        version,
        Capabilities(needs_execution_tool=True),
        external_latents,
        name,
        fmi=fmi,
        scalars=scalars,
    )
    files = common_files(description.to_xml(), description.model_identifier, sources, runtime, package)
    attributes["token"] = description.guid  # after the digest, which it is made of
    files |= slave_module(package, runtime.wrapper, slave.module, slave.base, name, attributes)
    files |= {f"resources/{name}": content for name, content in slave.resources.items()}
    files["documentation/index.html"] = surrogate_page(
        manifest, version, slave.host_needs, external_latents, own_outputs=config.own_outputs
    ).encode()
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
    version, runtime = package_version(), wrapper_runtime(FmiVersion.V2)
    sources = import_closure([f"{PYTHON_SLAVES}.plant_slave", f"{PYTHON_SLAVES}.{runtime.wrapper.shell[0]}"], [source])
    digest = digest_of([source, class_name, version], sources, runtime)
    package = copy_name(digest)
    module = package.replace("surrogate_fmu", "plant")
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
    files = common_files(description.to_xml(), description.model_identifier, sources, runtime, package)
    attributes = {"plant_reference": f"{module}.py:{class_name}", "token": description.guid}
    files |= slave_module(package, runtime.wrapper, "fmu.python.plant_slave", "PlantSlave", class_name, attributes)
    files[f"resources/{module}.py"] = renamed(source, package).encode()
    page = plant_page(class_name, text, plant.variables, plant.communication_step_size, version, PLANT_HOST_NEEDS)
    files["documentation/index.html"] = page.encode()
    return write_fmu(files, path)
