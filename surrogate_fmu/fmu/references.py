"""Value references of an FMU's variables: who has which, and who answers to one."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from surrogate_fmu.face import Face
from surrogate_fmu.fmu.scalar import Kind, Scalar
from surrogate_fmu.variables import Causality, Variable, base_name


def numbered(
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
        is_taken = not names.isdisjoint((extra.name, base_name(extra.name)))
        listed.append(replace(extra, name=f"surrogate.{extra.name}") if is_taken else extra)
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
