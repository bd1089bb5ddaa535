"""The values of an FMU's scalars by value reference, with what was refused and what has changed since the last step."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surrogate_fmu.errors import CallOrderError, InputError, SessionError
from surrogate_fmu.fmu.scalar import Kind, Role, Scalar, gapped_items, number_limits
from surrogate_fmu.variables import Causality, Variability

_NOTHING: Mapping[Kind, Any] = {Kind.REAL: math.nan, Kind.INTEGER: 0, Kind.BOOLEAN: False, Kind.STRING: ""}
_BEFORE_OUTPUTS: Mapping[Kind, Any] = {Kind.REAL: 0.0, Kind.BOOLEAN: False, Kind.INTEGER: 0, Kind.ENUMERATION: 0}
_REFUSALS = {cls.__name__: cls for cls in (CallOrderError, InputError)}


class VariableTable:
    """Reading and writing is a dictionary look-up; enumerations are integers, as FMI 2 reads and writes them.

    Args:
        interface: the scalars, no two with one reference; elements of arrays one by one.
        shapes: of the array variables by name.
        prefix: of the names of FMI functions in messages.

    Attributes:
        values: by kind and value reference.
        changed: references written since the last step.
        refusals: by reference, what was wrong with the last write; a good write takes it back.
    """

    def __init__(self, interface: Sequence[Scalar], shapes: Mapping[str, tuple[int, ...]], prefix: str = "fmi2") -> None:
        self._prefix = prefix
        self._scalars = {scalar.value_reference: scalar for scalar in interface}
        self._shapes = shapes
        self.values: dict[Kind, dict[int, Any]] = {kind: {} for kind in Kind}
        self.values[Kind.ENUMERATION] = self.values[Kind.INTEGER]
        self.reals: dict[int, float] = self.values[Kind.REAL]
        self._limits: dict[int, tuple[float, float]] = {}
        self._items: dict[int, frozenset[int]] = {}
        self.elements: dict[str, list[int]] = {}
        for vr, scalar in self._scalars.items():
            before = _BEFORE_OUTPUTS[scalar.kind] if scalar.start is None else scalar.start
            self.values[scalar.kind][vr] = before
            if scalar.kind is not Kind.STRING and scalar.causality is not Causality.OUTPUT:
                self._limits[vr] = number_limits(scalar)
            if gapped_items(scalar):
                self._items[vr] = frozenset(gapped_items(scalar))
            if scalar.variable is not None:
                self.elements.setdefault(scalar.variable, []).append(vr)
        self._input_limits = {vr: limits for vr, limits in self._limits.items() if _during_run(self._scalars[vr])}
        self._condition = {vr: self._value(vr) for vr in self._limits if self._scalars[vr].variable is not None}
        self._outputs = {
            vr for vr, s in self._scalars.items() if s.causality is Causality.OUTPUT and s.variability is not Variability.CONSTANT
        }
        self._whole = {s.variable: s for vr, s in self._scalars.items() if vr in self._outputs and s.kind is not Kind.REAL}
        self._kept = {vr for vr, scalar in self._scalars.items() if scalar.role is Role.KEPT}
        self._away: dict[int, float] = {}
        self._note_all_kept()
        self.changed: set[int] = set()
        self.refusals: dict[int, SessionError] = {}

    def has_output(self, references: Sequence[int]) -> bool:
        """Whether an output is among them."""
        return not self._outputs.isdisjoint(references)

    def get(self, kind: Kind, references: Sequence[int]) -> tuple[list[Any], list[SessionError]]:
        """Values, and an error for every reference that is none of this kind."""
        values = self.values[kind]
        try:
            return [values[vr] for vr in references], []
        except KeyError:
            errors = [_unknown(vr, kind) for vr in references if vr not in values]
            return [values.get(vr, _NOTHING[kind]) for vr in references], list(errors)

    def set_numbers(self, kind: Kind, references: Sequence[int], values: Sequence[Any], before_run: bool) -> Sequence[SessionError]:
        """Take those values that are finite and inside min to max; during a run only inputs and what is tunable."""
        table, errors = self.values[kind], []
        limits = self._limits if before_run else self._input_limits
        for vr, value in zip(references, values, strict=True):
            limit = limits.get(vr)
            if limit is not None and limit[0] <= value <= limit[1] and vr in table and value in self._items.get(vr, (value,)):
                table[vr] = value  # NaN does not come here
                self.changed.add(vr)
                if vr in self._kept:
                    self._note_kept(vr)
                if self.refusals:
                    self.refusals.pop(vr, None)
            else:
                errors += self._refuse(kind, vr, value, before_run)
        return errors

    def set_strings(self, references: Sequence[int], values: Sequence[str], before_run: bool) -> Sequence[SessionError]:
        """Take strings of parameters before the run."""
        table: dict[int, str] = self.values[Kind.STRING]
        errors: list[SessionError] = []
        for vr, value in zip(references, values, strict=True):
            if vr in table and before_run:
                table[vr] = value
                self.refusals.pop(vr, None)
                if vr in self._kept:
                    self._note_kept(vr)
            else:
                errors += self._refuse(Kind.STRING, vr, value, before_run)
        return errors

    def raise_refusal(self) -> None:
        """Raise the first write that was refused and not made good; those that never can be are forgotten with that.

        Raises:
            InputError, CallOrderError: there is one.
        """
        if not self.refusals:
            return
        error = next(iter(self.refusals.values()))
        self.refusals = {vr: kept for vr, kept in self.refusals.items() if vr in self._limits or self._is_text(vr)}
        raise error

    def _is_text(self, vr: int) -> bool:
        return vr in self._scalars and self._scalars[vr].kind is Kind.STRING

    def changed_inputs(self) -> dict[str, Any]:
        """Variables of the model among those that have changed: a float, or an array (shape)."""
        return self._variables_of(self.changed)

    def away_from_start(self) -> dict[str, Any]:
        """Inputs and parameters of the model that are not at their declared start."""
        return self._variables_of(vr for vr, start in self._condition.items() if self._value(vr) != start)

    def number(self, name: str) -> float:
        """The value of a scalar variable of the model, by name."""
        return self._value(self.elements[name][0])

    def kept_away(self) -> tuple[float, str]:
        """How far the variables that are not modelled are from where they are kept, and the farthest in words; 0.0 at it."""
        if not self._away:
            return 0.0, ""
        vr = max(self._away, key=lambda vr: self._away[vr])
        scalar = self._scalars[vr]
        if scalar.kind is Kind.STRING:
            return self._away[vr], f"{scalar.name} is not modelled, the surrogate knows it at '{scalar.start}' alone"
        known = f"the surrogate knows it at {scalar.recorded:.6g} alone"
        return self._away[vr], f"{scalar.name} = {self._value(vr):.6g} is not modelled, {known}"

    def take_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Put in outputs by variable: floats, or arrays (shape)."""
        for name, value in outputs.items():
            elements = self.elements.get(name, ())
            if name in self._whole:
                kind = self._whole[name].kind
                numbers = value.ravel().tolist() if name in self._shapes else [value]
                self.values[kind].update((vr, _rounded(self._scalars[vr], x)) for vr, x in zip(elements, numbers, strict=True))
            elif name in self._shapes:
                self.reals.update(zip(elements, value.ravel().tolist(), strict=True))
            elif elements:  # none where an input has the same value reference, which then answers
                self.reals[elements[0]] = value

    def forget_outputs(self) -> None:
        """Outputs that cannot be calculated read as NaN."""
        self.reals.update((vr, math.nan) for vr in self._outputs if self._scalars[vr].kind is Kind.REAL)

    def to_plain(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "values": {kind.value: list(table.items()) for kind, table in self.values.items()},
            "changed": sorted(self.changed),
            "refusals": [[vr, type(error).__name__, str(error)] for vr, error in self.refusals.items()],
        }

    def load_plain(self, content: Mapping[str, Any]) -> None:
        """The inverse of `to_plain`; strings stay, for the device belongs to this machine."""
        for kind, table in self.values.items():
            if kind is not Kind.STRING:
                table.update((vr, value) for vr, value in content["values"][kind.value])
        self.changed = set(content["changed"])
        self._note_all_kept()
        self.refusals = {vr: _REFUSALS.get(name, SessionError)(text) for vr, name, text in content["refusals"]}

    def _variables_of(self, references: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for vr in references:
            name = self._scalars[vr].variable
            if name is not None and name not in found:
                shape = self._shapes.get(name)
                if shape:
                    found[name] = np.array([self._value(element) for element in self.elements[name]]).reshape(shape)
                else:
                    found[name] = self._value(vr)
        return found

    def _value(self, vr: int) -> float:
        return float(self.values[self._scalars[vr].kind][vr])

    def _note_all_kept(self) -> None:
        for vr in self._kept:
            self._note_kept(vr)

    def _note_kept(self, vr: int) -> None:
        scalar = self._scalars[vr]
        if scalar.kind is Kind.STRING:
            distance = float(self.values[Kind.STRING][vr] != scalar.start)
        else:
            distance = abs(self._value(vr) - scalar.recorded)
        if distance > 0.0:
            self._away[vr] = distance
        else:
            self._away.pop(vr, None)

    def _refuse(self, kind: Kind, vr: int, value: object, before_run: bool) -> list[SessionError]:
        scalar = self._scalars.get(vr)
        error: SessionError
        if scalar is None or vr not in self.values[kind]:
            error = _unknown(vr, kind)
        elif scalar.causality is Causality.OUTPUT:
            error = InputError(f"{scalar.name!r} is calculated and cannot be set")
        elif scalar.causality is Causality.PARAMETER and not before_run and vr not in self._input_limits:
            if value == self.values[kind][vr]:  # nothing changes, and an earlier attempt is taken back
                self.refusals.pop(vr, None)
                return []
            error = CallOrderError(
                f"{scalar.name!r} is a parameter and fixed during a run; call {self._prefix}Reset and set it before"
            )
        elif isinstance(value, float) and not math.isfinite(value):
            error = InputError(f"{scalar.name!r}: expected a finite number in {scalar.unit!r}, got {value!r}")
        elif vr in self._items:
            allowed = ", ".join(map(str, sorted(self._items[vr])))
            error = InputError(f"{scalar.name!r}: {value!r} is no item of its enumeration; those have the values {allowed}")
        else:
            low, high = self._limits[vr]
            error = InputError(f"{scalar.name!r}: {value!r} is outside the allowed range [{low:g}, {high:g}] {scalar.unit or ''}")
        self.refusals[vr] = error
        return [error]


def _unknown(vr: int, kind: Kind) -> SessionError:
    return InputError(f"value reference {vr & 0xFFFFFFFF} is no {kind.value} variable of this FMU; see its modelDescription.xml")


def _during_run(scalar: Scalar) -> bool:
    """Whether it can be set during a run."""
    return scalar.causality is Causality.INPUT or scalar.variability is Variability.TUNABLE


def _rounded(scalar: Scalar, value: float) -> int | bool:
    """The value of its type that is nearest, the upper one of two."""
    if scalar.kind is Kind.BOOLEAN:
        return value >= 0.5
    low, high = number_limits(scalar)
    items = gapped_items(scalar)
    if items:
        return min(items, key=lambda item: (abs(item - value), -item))
    return int(min(max(math.floor(value + 0.5), low), high))
