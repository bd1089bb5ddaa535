"""The variables of an FMU: what the model description lists and what the code inside the FMU answers to, from one place.

FMI 2.0.4 knows scalars only, so an array variable becomes `name[i,j]`, counted from 1; with FMI 3.0 it stays an array. The
variables of the manifest come first, in its order; then those that every surrogate has (`seed`, `z_mode`, ...). One of these
whose name the manifest uses already is called `surrogate.<name>`. Where the surrogate stands for the FMU of a plant, its face says
what else there is, and the order.
"""

import itertools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from surrogate_fmu.face import Face
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.variables import (
    FMI3_RANGES,
    Causality,
    EnumerationItem,
    Initial,
    PlantUnit,
    Variability,
    Variable,
    VariableType,
    scalar_names,
)

INTEGER_MAX = 2**31 - 1  # fmi2Integer
LONG_MAX = 2**63 - 1  # fmi3Int64


class Kind(Enum):
    """Base type of a scalar (FMI 2.0.4, section 2.2.7); the value is the name of its XML element."""

    REAL = "Real"
    INTEGER = "Integer"
    BOOLEAN = "Boolean"
    STRING = "String"
    ENUMERATION = "Enumeration"


KINDS = {
    VariableType.REAL: Kind.REAL,
    VariableType.INTEGER: Kind.INTEGER,
    VariableType.BOOLEAN: Kind.BOOLEAN,
    VariableType.ENUMERATION: Kind.ENUMERATION,
}


class Role(StrEnum):
    """What a scalar that is not in the manifest is for; the value is its name."""

    SEED = "seed"
    Z_MODE = "z_mode"
    DOMAIN_POLICY = "domain_policy"
    DEVICE = "device"
    IN_DOMAIN = "in_domain"
    DOMAIN_DISTANCE = "domain_distance"
    LATENT = "z"
    STATISTIC = "statistic"
    """Over the members of an ensemble; its name is `<output>.<statistic>`."""
    KEPT = "kept"
    """A variable of the plant that is not modelled; its name is the plant's."""


# Values of the enumerations, in their order; FMI counts them from 1.
Z_MODES: tuple[ZMode, ...] = (ZMode.SAMPLED, ZMode.MEAN, ZMode.HELD, ZMode.EXTERNAL)
DOMAIN_POLICIES: tuple[DomainPolicy, ...] = (DomainPolicy.WARN, DomainPolicy.CLAMP, DomainPolicy.REFUSE)


@dataclass(frozen=True)
class Scalar:
    """One variable of the FMU: a scalar, or with FMI 3.0 an array.

    Attributes:
        variable: name of the manifest's variable that it belongs to; None for the others.
        role: what it is for, where it is not in the manifest.
        start: of every element; None for outputs.
        shape: of an array; () for a scalar.
        relative: a difference, which the offset of its unit does not touch.
        offset: place of its first element in x, y or z, or among the statistics, each of which is as large as y, or those kept.
        items, type_name: of an enumeration of the plant.
        fmi3_type: in FMI 3.0, where it is not that of its kind.
        plant_unit: as in `Variable`.
        recorded: of one that is kept, the value at which the surrogate was recorded.
    """

    name: str
    kind: Kind
    causality: Causality
    variability: Variability
    initial: Initial | None
    start: float | int | str | None = None
    description: str = ""
    unit: str | None = None
    display_unit: str | None = None
    min: float | int | None = None
    max: float | int | None = None
    nominal: float | None = None
    variable: str | None = None
    role: Role | None = None
    value_reference: int = -1
    shape: tuple[int, ...] = ()
    relative: bool = False
    offset: int = 0
    items: tuple[EnumerationItem, ...] = ()
    type_name: str | None = None
    fmi3_type: str | None = None
    plant_unit: PlantUnit | None = None
    recorded: float = 0.0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def surrogate_interface(
    manifest: Manifest,
    external_latents: bool = False,
    statistics: Mapping[str, bool] | None = None,
    arrays: bool = False,
    seed_max: int = INTEGER_MAX,
) -> tuple[Scalar, ...]:
    """The variables of a surrogate.

    Args:
        manifest: of the bundle.
        external_latents: whether there are inputs `z[1]`, `z[2]`, ... (run latents, then step latents) for z_mode 4.
        statistics: of the outputs over the members of an ensemble, by name: whether it is a difference (FMI's relative
            quantity). Each output gains `<output>.<statistic>`.
        arrays: keep array variables, and `z`, as one variable each.
        seed_max: the largest seed.
    """
    offsets: dict[str, int] = {}
    for variables in (manifest.condition, manifest.outputs):
        sizes = [variable.size for variable in variables]
        offsets |= dict(zip([v.name for v in variables], itertools.accumulate(sizes, initial=0), strict=False))
    own = [scalar for v in manifest.variables for scalar in _scalars_of(v, arrays, offsets[v.name])]
    extras = _surrogate_extras(manifest, external_latents, arrays, seed_max)
    for number, (statistic, relative) in enumerate((statistics or {}).items()):
        for variable in manifest.outputs:
            of = _statistic(variable, statistic)
            text = f"{statistic} of {variable.name} over the members"
            for scalar in _scalars_of(of, arrays, number * manifest.output_dim + offsets[variable.name]):
                extras.append(replace(scalar, variable=None, role=Role.STATISTIC, description=text, relative=relative))
    if manifest.face is not None:
        own, extras = _with_face(manifest.face, own, extras, arrays)
    return _numbered(manifest.variables, own, extras, manifest.face, arrays)


def _statistic(variable: Variable, statistic: str) -> Variable:
    """A real one, whatever the output is."""
    name = f"{variable.name}.{statistic}"
    if variable.type is VariableType.REAL:
        return replace(variable, name=name, value_reference=None)
    return Variable(name, variable.causality, shape=variable.shape)


def _with_face(face: Face, own: list[Scalar], extras: list[Scalar], third: bool) -> tuple[list[Scalar], list[Scalar]]:
    """With what the plant's FMU has besides, in its order; its seed takes the place of the surrogate's."""
    kept = [
        replace(scalar, variable=None, role=Role.KEPT, recorded=face.recorded(variable))
        for offset, variable in enumerate(face.kept)
        for scalar in _scalars_of(variable, offset=offset)
    ]
    kept += [
        Scalar(
            text.name,
            Kind.STRING,
            Causality.PARAMETER,
            Variability.FIXED,
            Initial.EXACT,
            text.start,
            text.description,
            role=Role.KEPT,
            value_reference=text.value_reference,
            offset=len(face.kept) + place,
        )
        for place, text in enumerate(face.texts)
    ]
    seeds = []
    if face.seed is not None:
        (declared,) = _scalars_of(face.seed)
        largest = [int(scalar.max or 0) for scalar in extras if scalar.role is Role.SEED]
        extras = [scalar for scalar in extras if scalar.role is not Role.SEED]
        seed_max = min(int(face.seed.limits[1]), *largest) if third else largest[0]
        start = declared.start if isinstance(declared.start, int) and 0 <= declared.start <= seed_max else 0
        seed = replace(_seed("", seed_max), name=declared.name, description=declared.description, start=start)
        seeds = [replace(seed, value_reference=declared.value_reference, fmi3_type=declared.fmi3_type)]
    places = {name: place for place, name in enumerate(face.order)}
    return sorted([*own, *kept, *seeds], key=lambda s: places.get(s.variable or s.name, len(places))), extras


def ensemble_statistics(members: int, quantiles: Sequence[float]) -> dict[str, bool]:
    """What an ensemble tells of each output, by name: whether it is a difference. Nothing for one member."""
    if members == 1:
        return {}
    return {"mean": False, "std": True} | {_quantile_name(quantile): False for quantile in quantiles}


def _quantile_name(quantile: float) -> str:
    """0.05 is q05, 0.5 is q50, 0.025 is q02_5."""
    whole, _, part = f"{100 * quantile:.6f}".rstrip("0").rstrip(".").partition(".")
    return f"q{whole:0>2}" + (f"_{part}" if part else "")


def plant_interface(variables: Sequence[Variable]) -> tuple[Scalar, ...]:
    """The scalars of a plant: its variables, and the seed."""
    own = [scalar for variable in variables for scalar in _scalars_of(variable)]
    return _numbered(variables, own, [_seed("seed of the run: chooses the individual and its noise")])


def _numbered(
    variables: Sequence[Variable], own: Iterable[Scalar], extras: Iterable[Scalar], face: Face | None = None, third: bool = False
) -> tuple[Scalar, ...]:
    """Give every scalar a value reference: the variable's own where it has one that is free, else the next free number.

    An array's own number goes to its first element. Numbers are unique across base types, although FMI 2 does not ask for it;
    those of a plant's FMU stay as they are: in FMI 2 one for each way of access, or for several names of one quantity.
    """
    listed = list(own)
    names = {scalar.name for scalar in listed} | {variable.name for variable in variables}
    names |= set(() if face is None else face.taken)
    for extra in extras:
        listed.append(replace(extra, name=f"surrogate.{extra.name}") if extra.name.split("[")[0] in names else extra)
    shared = face is not None and not third
    taken: dict[tuple[int, int], Scalar] = {}
    for position, scalar in enumerate(listed):
        place = access(scalar) if shared else 0, scalar.value_reference
        other = taken.get(place)
        if other is not None and not (shared and Causality.OUTPUT in (scalar.causality, other.causality)):
            listed[position] = replace(scalar, value_reference=-1)
        elif other is None:
            taken[place] = scalar
    used = {reference for _, reference in taken}
    if face is not None and third and face.time_reference is not None:
        used.add(face.time_reference)
    free = (number for number in itertools.count(0 if face is None else face.free_reference) if number not in used)
    return tuple(s if s.value_reference >= 0 else replace(s, value_reference=next(free)) for s in listed)


_ACCESS = (Kind.REAL, Kind.INTEGER, Kind.BOOLEAN, Kind.STRING)


def access(scalar: Scalar) -> int:
    """Which pair of FMI 2's functions reads and writes it: the place of its kind, enumerations being integers."""
    return _ACCESS.index(Kind.INTEGER if scalar.kind is Kind.ENUMERATION else scalar.kind)


def answering(scalars: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """The scalars that answer: of several with one value reference and access, that which can be set, else the first."""
    chosen: dict[tuple[int, int], Scalar] = {}
    for scalar in scalars:
        place = access(scalar), scalar.value_reference
        if place not in chosen or scalar.causality is not Causality.OUTPUT:
            chosen[place] = scalar
    return tuple(chosen.values())


def set_apart(scalars: Iterable[Scalar]) -> tuple[tuple[Scalar, ...], dict[Kind, int]]:
    """The scalars that answer, with references that no two of them share, and what a reference has more than FMI's, by kind."""
    chosen = answering(scalars)
    if len({scalar.value_reference for scalar in chosen}) == len(chosen):
        return chosen, dict.fromkeys(Kind, 0)
    apart = tuple(replace(scalar, value_reference=scalar.value_reference + (access(scalar) << 32)) for scalar in chosen)
    return apart, {kind: _ACCESS.index(kind) << 32 for kind in _ACCESS}


def number_limits(scalar: Scalar) -> tuple[float, float]:
    """The smallest and the largest value that a number may be set to; the largest floats where a real one has no bound."""
    low, high = -sys.float_info.max, sys.float_info.max
    if scalar.kind is Kind.BOOLEAN:
        return 0, 1
    if scalar.kind is Kind.ENUMERATION and scalar.items:
        low, high = min(item.value for item in scalar.items), max(item.value for item in scalar.items)
    elif scalar.kind is Kind.INTEGER and scalar.role is not Role.SEED:
        low, high = FMI3_RANGES[scalar.fmi3_type or "Int32"]
    return max(low, low if scalar.min is None else scalar.min), min(high, high if scalar.max is None else scalar.max)


def gapped_items(scalar: Scalar) -> tuple[int, ...]:
    """Rising values of an enumeration of the plant that leaves some out; nothing for others."""
    values = sorted(item.value for item in scalar.items)
    return tuple(values) if values and values != list(range(values[0], values[-1] + 1)) else ()


def _scalars_of(variable: Variable, arrays: bool = False, offset: int = 0) -> list[Scalar]:
    assert variable.variability is not None
    names = [variable.name] if arrays else scalar_names(variable)
    real = variable.type is VariableType.REAL
    number = float if real else bool if variable.type is VariableType.BOOLEAN else int
    start, low, high = (None if value is None else number(value) for value in (variable.start, variable.min, variable.max))
    scalars = [
        Scalar(
            name,
            KINDS[variable.type],
            variable.causality,
            variable.variability,
            variable.initial,
            start,
            variable.description,
            variable.unit if real else None,
            variable.display_unit,
            low,
            high,
            variable.nominal if real else None,
            variable.name,
            shape=variable.shape if arrays else (),
            offset=offset + place,
            items=variable.items,
            type_name=(variable.type_name or f"{variable.name}.type") if variable.items else None,
            fmi3_type=variable.fmi3_type or ("Int32" if variable.type is VariableType.INTEGER else None),
            plant_unit=variable.plant_unit,
        )
        for place, name in enumerate(names)
    ]
    if variable.value_reference is not None and scalars:
        scalars[0] = replace(scalars[0], value_reference=variable.value_reference)
    return scalars


def _surrogate_extras(manifest: Manifest, external_latents: bool, arrays: bool, seed_max: int) -> list[Scalar]:
    extras = [
        _seed("seed of the latents: equal seeds and inputs give equal trajectories", seed_max),
        _choice(Role.Z_MODE, len(Z_MODES), "where the latents come from"),
        _choice(Role.DOMAIN_POLICY, len(DOMAIN_POLICIES), "what happens outside the training domain"),
        _parameter(Role.DEVICE, Kind.STRING, "cpu", "where the generator runs: cpu, cuda or cuda:<index>"),
        _output(Role.IN_DOMAIN, Kind.BOOLEAN, "whether the last step lay inside the training domain"),
        _output(Role.DOMAIN_DISTANCE, Kind.REAL, "distance from the training domain in widths of the worst variable's range"),
    ]
    if external_latents and manifest.latent_dim:
        extras += _latent_inputs(manifest, arrays)
    return extras


def _latent_inputs(manifest: Manifest, arrays: bool) -> list[Scalar]:
    run, step = (
        "run latent, standard normal; used with z_mode = external",
        "step latent, standard normal; used with z_mode = external",
    )
    one = Scalar(Role.LATENT.value, Kind.REAL, Causality.INPUT, Variability.DISCRETE, None, 0.0, "", "1", role=Role.LATENT)
    if arrays:
        text = f"{manifest.run_latent_dim} run latents, then {manifest.step_latent_dim} step latents; used with z_mode = external"
        return [replace(one, shape=(manifest.latent_dim,), description=text)]
    return [
        replace(one, name=f"{Role.LATENT}[{index + 1}]", description=run if index < manifest.run_latent_dim else step, offset=index)
        for index in range(manifest.latent_dim)
    ]


def _parameter(role: Role, kind: Kind, start: int | str, description: str) -> Scalar:
    return Scalar(role.value, kind, Causality.PARAMETER, Variability.FIXED, Initial.EXACT, start, description, role=role)


def _seed(description: str, largest: int = INTEGER_MAX) -> Scalar:
    return replace(_parameter(Role.SEED, Kind.INTEGER, 0, f"{description}; 0 to {largest}"), min=0, max=largest)


def _choice(role: Role, count: int, description: str) -> Scalar:
    return replace(_parameter(role, Kind.ENUMERATION, 1, description), min=1, max=count)


def _output(role: Role, kind: Kind, description: str) -> Scalar:
    variability = Variability.CONTINUOUS if kind is Kind.REAL else Variability.DISCRETE
    unit = "1" if kind is Kind.REAL else None
    return Scalar(role.value, kind, Causality.OUTPUT, variability, Initial.CALCULATED, None, description, unit, role=role)
