"""modelDescription.xml of FMI 2.0.4 and 3.0.2 co-simulation, from the variables of an FMU. Needs neither torch nor a runtime.

This module says what is in the file; `fmi2_xml` and `fmi3_xml` write it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from surrogate_fmu.face import Face
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.fmu.interface import DOMAIN_POLICIES, Z_MODES, plant_interface, surrogate_interface
from surrogate_fmu.fmu.scalar import Role, Scalar
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.variables import Causality, Initial, Variable

LOG_CATEGORIES = {
    "logStatusWarning": "the step was taken, but the result deserves a look: outside the training domain",
    "logStatusDiscard": "the step was not taken",
    "logStatusError": "the call was refused; the state is as it was",
    "logStatusFatal": "the call was refused and has no other way to say so than fmi2Fatal",
    "logAll": "all messages",
}

ENUMERATIONS: dict[Role, tuple[str, tuple[tuple[str, str], ...]]] = {
    Role.Z_MODE: (
        "ZMode",
        tuple(
            (
                mode.value,
                {
                    ZMode.SAMPLED: "drawn from the seed and the step index",
                    ZMode.MEAN: "zero",
                    ZMode.HELD: "the step latents of the first step are kept",
                    ZMode.EXTERNAL: "given by the inputs z",
                }[mode],
            )
            for mode in Z_MODES
        ),
    ),
    Role.DOMAIN_POLICY: (
        "DomainPolicy",
        tuple(
            (
                policy.value,
                {
                    DomainPolicy.WARN: "take the step and say so",
                    DomainPolicy.CLAMP: "move inputs and parameters to the nearest value inside",
                    DomainPolicy.REFUSE: "refuse the step",
                }[policy],
            )
            for policy in DOMAIN_POLICIES
        ),
    ),
}


def enumerations(scalars: Sequence[Scalar]) -> dict[str, tuple[tuple[str, int, str], ...]]:
    """Items (name, value, description) of the enumerations by name; the surrogate's own ones give way to the plant's."""
    types: dict[str, tuple[tuple[str, int, str], ...]] = {}
    for scalar in scalars:
        if scalar.type_name is not None:
            types[scalar.type_name] = tuple((item.name, item.value, item.description) for item in scalar.items)
    names = {*types, *(scalar.name for scalar in scalars)}
    for scalar in scalars:
        if scalar.role in ENUMERATIONS and scalar.role is not None:
            items = ENUMERATIONS[scalar.role][1]
            types[_own_type(scalar.role, names)] = tuple((item, value, text) for value, (item, text) in enumerate(items, start=1))
    return types


def type_of(scalar: Scalar, scalars: Sequence[Scalar]) -> str | None:
    """Name of a scalar's enumeration; None where it is none."""
    if scalar.role not in ENUMERATIONS or scalar.role is None:
        return scalar.type_name
    return _own_type(scalar.role, {s.name for s in scalars} | {s.type_name for s in scalars if s.type_name is not None})


def _own_type(role: Role, taken: Collection[str]) -> str:
    name = ENUMERATIONS[role][0]
    return f"surrogate.{name}" if name in taken else name


@dataclass(frozen=True)
class Capabilities:
    """The flags of the CoSimulation element (FMI 2.0.4, section 4.3.1; FMI 3.0.2, section 4.4) that differ between backends."""

    needs_execution_tool: bool
    can_get_and_set_state: bool = True
    can_serialize_state: bool = True
    provides_directional_derivative: bool = False
    provides_adjoint_derivative: bool = False


@dataclass(frozen=True)
class ModelDescription:
    """All that the XML file says.

    Attributes:
        step_size: the preferred communication step [s].
        guid: ties the description to the binary's resources, as "{...}"; FMI 3.0 calls it the instantiation token.
        initial_knowns: by index of an output in `scalars`, the indices of what it depends on at the start.
        fmi: the version that `to_xml` writes; arrays among the scalars need 3.0.
        source_files: to compile, by name in `sources/`; empty where no sources are inside.
        face: of the plant's FMU that it stands for.
    """

    name: str
    model_identifier: str
    description: str
    guid: str
    version: str
    scalars: tuple[Scalar, ...]
    step_size: float
    capabilities: Capabilities
    initial_knowns: Mapping[int, tuple[int, ...]]
    fmi: FmiVersion = FmiVersion.V2
    source_files: tuple[str, ...] = ()
    face: Face | None = None

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the outputs in `scalars`."""
        return tuple(i for i, scalar in enumerate(self.scalars) if scalar.described_causality == Causality.OUTPUT)

    @property
    def calculated(self) -> tuple[int, ...]:
        """Indices of the outputs that are no constants."""
        return tuple(i for i in self.outputs if self.scalars[i].initial is Initial.CALCULATED)

    @property
    def naming_convention(self) -> str:
        """How names are made: the plant's way."""
        return "flat" if self.face is not None and self.face.flat_names else "structured"

    @property
    def time_reference(self) -> int:
        """The value reference of FMI 3.0's variable `time`: the plant's, else the first number that is free."""
        taken = {scalar.value_reference for scalar in self.scalars}
        first = 0 if self.face is None else self.face.free_reference
        if self.face is not None and self.face.time_reference is not None and self.face.time_reference not in taken:
            return self.face.time_reference
        return next(number for number in range(first, first + len(taken) + 1) if number not in taken)

    @property
    def time_name(self) -> str:
        """The name of FMI 3.0's independent variable."""
        names = {scalar.name for scalar in self.scalars}
        if self.face is not None and self.face.time_name is not None and self.face.time_name not in names:
            return self.face.time_name
        names |= set(() if self.face is None else self.face.taken)
        return "surrogate.time" if "time" in names else "time"

    def to_xml(self) -> bytes:
        """The file, UTF-8; equal descriptions give equal bytes, so there is no date in it."""
        if self.fmi is FmiVersion.V3:
            from surrogate_fmu.fmu.fmi3_xml import model_description_xml
        else:
            from surrogate_fmu.fmu.fmi2_xml import model_description_xml
        return model_description_xml(self)


def describe_surrogate(
    manifest: Manifest,
    guid: str,
    version: str,
    capabilities: Capabilities,
    external_latents: bool = False,
    model_identifier: str | None = None,
    *,
    fmi: FmiVersion = FmiVersion.V2,
    scalars: tuple[Scalar, ...] | None = None,
    dependencies: Sequence[Collection[int]] | None = None,
    source_files: tuple[str, ...] = (),
) -> ModelDescription:
    """The description of a surrogate's FMU.

    Args:
        scalars: from `surrogate_interface`; None takes those of FMI 2.0 without statistics.
        dependencies: for each scalar of y the scalars of x that it depends on at the start; None: all of them.
    """
    scalars = surrogate_interface(manifest, external_latents) if scalars is None else scalars
    knowns = _initial_knowns(manifest, scalars, dependencies)
    name = model_identifier or manifest.name
    return ModelDescription(
        manifest.name,
        name,
        manifest.description,
        guid,
        version,
        scalars,
        manifest.step_size,
        capabilities,
        knowns,
        fmi,
        source_files,
        manifest.face,
    )


def describe_plant(
    name: str,
    description: str,
    variables: Sequence[Variable],
    step_size: float,
    guid: str,
    version: str,
    capabilities: Capabilities,
) -> ModelDescription:
    """The description of a plant's FMU: its variables and a seed."""
    scalars = plant_interface(variables)
    parameters = tuple(i for i, s in enumerate(scalars) if s.causality is Causality.PARAMETER)
    knowns = {i: parameters for i, s in enumerate(scalars) if s.causality is Causality.OUTPUT}
    return ModelDescription(name, name, description, guid, version, scalars, step_size, capabilities, knowns)


def text_of(value: float | int | bool | str) -> str:
    """A value as XML Schema writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _initial_knowns(
    manifest: Manifest, scalars: Sequence[Scalar], dependencies: Sequence[Collection[int]] | None
) -> dict[int, tuple[int, ...]]:
    """What each output depends on at the start; the step part of z plays no role there."""
    knowns: dict[int, tuple[int, ...]] = {}
    for output, scalar in enumerate(scalars):
        if scalar.causality is not Causality.OUTPUT:
            continue
        needed: Collection[int] = range(manifest.condition_dim)
        parts = [part for part in scalar.parts if part.variable is not None or part.role is Role.STATISTIC]
        if dependencies is not None and parts:
            firsts = [(part.offset % manifest.output_dim, part.size) for part in parts]
            needed = {i for first, size in firsts for y in range(first, first + size) for i in dependencies[y]}
        knowns[output] = tuple(index for index, known in enumerate(scalars) if _acts_at_start(manifest, known, needed))
    return knowns


def _acts_at_start(manifest: Manifest, known: Scalar, needed: Collection[int]) -> bool:
    if known.role is Role.LATENT:
        return known.offset < manifest.run_latent_dim
    if known.role in (Role.SEED, Role.Z_MODE):
        return manifest.run_latent_dim > 0
    if known.role is Role.DOMAIN_POLICY:
        return True
    if known.causality is Causality.OUTPUT:
        return False
    chosen = [part for part in known.parts if part.variable is not None]
    return any(place in needed for part in chosen for place in range(part.offset, part.offset + part.size))
