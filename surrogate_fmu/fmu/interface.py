"""The variables of an FMU: what the model description lists and what the code inside the FMU answers to, from one place.

FMI 2.0.4 knows scalars only, so an array variable becomes `name[i,j]`, counted from 1; with FMI 3.0 it stays an array, and what was
an array of the plant is one again. The variables of the manifest come first, in its order; then those that every surrogate has
(`seed`, `z_mode`, ...). One of these whose name the manifest uses already is called `surrogate.<name>`. Where the surrogate stands
for the FMU of a plant, its face says what else there is, and the order.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from surrogate_fmu.face import Face
from surrogate_fmu.fmu.config import OwnOutputs
from surrogate_fmu.fmu.references import numbered
from surrogate_fmu.fmu.scalar import Kind, Role, Scalar
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.variables import Causality, Initial, Variability, Variable, VariableType, scalar_names

INTEGER_MAX = 2**31 - 1  # fmi2Integer
LONG_MAX = 2**63 - 1  # fmi3Int64


_KINDS = {
    VariableType.REAL: Kind.REAL,
    VariableType.INTEGER: Kind.INTEGER,
    VariableType.BOOLEAN: Kind.BOOLEAN,
    VariableType.ENUMERATION: Kind.ENUMERATION,
}

# Values of the enumerations, in their order; FMI counts them from 1.
Z_MODES: tuple[ZMode, ...] = (ZMode.SAMPLED, ZMode.MEAN, ZMode.HELD, ZMode.EXTERNAL)
DOMAIN_POLICIES: tuple[DomainPolicy, ...] = (DomainPolicy.WARN, DomainPolicy.CLAMP, DomainPolicy.REFUSE)


def surrogate_interface(
    manifest: Manifest,
    external_latents: bool = False,
    statistics: Mapping[str, bool] | None = None,
    arrays: bool = False,
    seed_max: int = INTEGER_MAX,
    own_outputs: OwnOutputs = OwnOutputs.TYPED,
) -> tuple[Scalar, ...]:
    """The variables of a surrogate.

    Args:
        manifest: of the bundle.
        external_latents: whether there are inputs `z[1]`, `z[2]`, ... (run latents, then step latents) for z_mode 4.
        statistics: of the outputs over the members of an ensemble, by name: whether it is a difference (FMI's relative
            quantity). Each output gains `<output>.<statistic>`.
        arrays: keep array variables, and `z`, as one variable each.
        seed_max: the largest seed.
        own_outputs: how `in_domain` and `domain_distance` are told.
    """
    offsets: dict[str, int] = {}
    for variables in (manifest.condition, manifest.outputs):
        sizes = [variable.size for variable in variables]
        offsets |= dict(zip([v.name for v in variables], itertools.accumulate(sizes, initial=0), strict=False))
    own = [scalar for v in manifest.variables for scalar in _scalars_of(v, arrays, offsets[v.name])]
    extras = _surrogate_extras(manifest, external_latents, arrays, seed_max, own_outputs)
    for number, (statistic, relative) in enumerate((statistics or {}).items()):
        for variable in manifest.outputs:
            of = _statistic(variable, statistic)
            text = f"{statistic} of {variable.name} over the members"
            for scalar in _scalars_of(of, arrays, number * manifest.output_dim + offsets[variable.name]):
                extras.append(replace(scalar, variable=None, role=Role.STATISTIC, description=text, relative=relative))
    if manifest.face is not None:
        own, extras = _with_face(manifest.face, own, extras, arrays)
        if arrays:
            own = _joined(own, manifest.face)
    return numbered(manifest.variables, own, extras, manifest.face, arrays)


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


def _joined(scalars: list[Scalar], face: Face) -> list[Scalar]:
    """With the arrays of the plant as one variable each, at the place of their first elements."""
    by_name = {scalar.name: scalar for scalar in scalars}
    array_of = {name: array for array in face.arrays for name in array.elements}
    joined = []
    for scalar in scalars:
        array = array_of.get(scalar.name)
        if array is None:
            joined.append(scalar)
        elif scalar.name == array.elements[0]:
            elements = tuple(by_name[name] for name in array.elements)
            leading = next((element for element in elements if element.role is None), scalar)  # a modelled one, if there is one
            whole = replace(leading, name=array.name, shape=array.shape, value_reference=array.value_reference, variable=None)
            joined.append(replace(whole, elements=elements))
    return joined


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
    # A plant gets its parameters at the start of a run and at no other time.
    own = [replace(s, variability=Variability.FIXED) if s.variability is Variability.TUNABLE else s for s in own]
    return numbered(variables, own, [_seed("seed of the run: chooses the individual and its noise")])


def _scalars_of(variable: Variable, arrays: bool = False, offset: int = 0) -> list[Scalar]:
    assert variable.variability is not None
    names = [variable.name] if arrays else scalar_names(variable)
    real = variable.type is VariableType.REAL
    number = float if real else bool if variable.type is VariableType.BOOLEAN else int
    start, low, high = (None if value is None else number(value) for value in (variable.start, variable.min, variable.max))
    scalars = [
        Scalar(
            name,
            _KINDS[variable.type],
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
            relative=variable.relative,
        )
        for place, name in enumerate(names)
    ]
    if variable.value_reference is not None and scalars:
        scalars[0] = replace(scalars[0], value_reference=variable.value_reference)
    return scalars


def _surrogate_extras(
    manifest: Manifest, external_latents: bool, arrays: bool, seed_max: int, own_outputs: OwnOutputs
) -> list[Scalar]:
    extras = [
        _seed("seed of the latents: equal seeds and inputs give equal trajectories", seed_max),
        _choice(Role.Z_MODE, len(Z_MODES), "where the latents come from"),
        _choice(Role.DOMAIN_POLICY, len(DOMAIN_POLICIES), "what happens outside the training domain"),
        _parameter(Role.DEVICE, Kind.STRING, "cpu", "where the generator runs: cpu, cuda or cuda:<index>"),
        *_own_outputs(own_outputs),
    ]
    if external_latents and manifest.latent_dim:
        extras += _latent_inputs(manifest, arrays)
    return extras


def _own_outputs(kind: OwnOutputs) -> list[Scalar]:
    inside = _output(Role.IN_DOMAIN, Kind.BOOLEAN, "whether the last step lay inside the training domain")
    distance = _output(Role.DOMAIN_DISTANCE, Kind.REAL, "distance from the training domain in widths of the worst variable's range")
    if kind is OwnOutputs.REAL:
        inside = replace(inside, kind=Kind.REAL, unit="1", description=f"{inside.description}: 1, else 0")
    return [replace(scalar, is_local=kind is OwnOutputs.LOCAL) for scalar in (inside, distance)]


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
