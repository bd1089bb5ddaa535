"""The surrogate's FMU inside a tap: the plant's values by name, and why it cannot be trusted."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from surrogate_fmu.errors import SurrogateError
from surrogate_fmu.fmu.instance import Message
from surrogate_fmu.fmu.scalar import Role
from surrogate_fmu.fmu.tap.guard import Outputs
from surrogate_fmu.fmu.tap.inner import BOOLEAN, REALS, STRING, Columns, InnerFmu, Place, SavedState, Write
from surrogate_fmu.fmu.tap.plan import TapPlan
from surrogate_fmu.plant.fmu_arrays import array_of
from surrogate_fmu.variables import Causality, with_causality

_OWN = frozenset({Role.Z_MODE.value, Role.DOMAIN_POLICY.value, Role.DEVICE.value, Role.IN_DOMAIN.value, Role.DOMAIN_DISTANCE.value})
_WARNING = 1  # fmi2Status


def own_name(names: Mapping[str, Any], role: Role) -> str:
    """The name of a variable that every surrogate has, among the names of this one."""
    other = f"surrogate.{role.value}"
    return other if other in names else role.value


def shared_names(plant: Mapping[str, Any], surrogate: Mapping[str, Any]) -> frozenset[str]:
    """Names that mean the same in both; `device` of a plant is not that of every surrogate, unless the plant is one too."""
    both = plant.keys() & surrogate.keys()
    if plant.keys() >= _OWN:
        return frozenset(both)
    return frozenset(name for name in both if name not in _OWN or f"surrogate.{name}" in surrogate)


class _Target(NamedTuple):
    """Where a scalar of the plant goes in the surrogate; no place where it has none, and then what it must stay at."""

    name: str
    whole: str  # the array that it is of, else its name
    place: Place | None
    start: Any


class PartnerState(NamedTuple):
    """A state of the surrogate's FMU, and what was doubtful."""

    fmu: SavedState
    refused: Mapping[str, str]
    outside: str
    lost: str
    doubt: str


class TappedSurrogate(InnerFmu):
    """The surrogate beside the plant. It raises nothing after it was made: what it refuses is a doubt.

    A value that it does not take leaves the one before in it and a doubt, until one comes that it takes; so does a variable of the
    plant that it does not have, elsewhere than at its start value. A step that it does not take is the end of it in this run.

    Args:
        folder, instance: as `InnerFmu`.
        plan: of the tap.
        plant: the FMU beside it.
    """

    def __init__(self, folder: Path, instance: str, plan: TapPlan, plant: InnerFmu) -> None:
        self._heard: list[Message] = []
        super().__init__(folder, instance, True, self._heard.append)
        self._outputs = Columns(self, [v.name for v in with_causality(plan.variables, Causality.OUTPUT)])
        self._targets: dict[Place, list[_Target]] = {}
        shared = shared_names(plant.variables, self.variables)
        for name, variable in plant.variables.items():
            if variable.causality != "output" and variable.alias is None:
                found = self.place(name) if name in shared else None
                array = array_of(variable)
                target = _Target(name, name if array is None else array.name, found, variable.start)
                self._targets.setdefault(plant.place(name), []).append(target)
        self._scalars_of = plant.scalars
        in_domain = own_name(self.variables, Role.IN_DOMAIN)
        self._in_domain = self.place(in_domain) if in_domain in self.variables else None
        self._spread = Columns(self, [f"{name}.std" for name in plan.config.spread])
        self._spread_limits = list(plan.config.spread.items())
        self._refused: dict[str, str] = {}
        self._outside = ""  # a surrogate says why at the first step outside, not at every one
        self._lost = ""
        self._doubt = ""

    @property
    def doubt(self) -> str:
        """Why the last step cannot be trusted; empty where it can."""
        return self._doubt

    def attempt(self, function: Callable[..., object], *arguments: Any) -> None:
        """Make a call of the start of a run; if the surrogate refuses it, it is of no use in this run."""
        if not self._lost:
            try:
                function(*arguments)
            except SurrogateError as error:
                self._lose(f"the surrogate did not start: {error}")

    def write(self, write: Write) -> None:
        """Give on what the plant's variables are set to."""
        if self._lost:
            return
        arrays: dict[Place, dict[int, tuple[_Target, Any]]] = {}
        for place, value in self._scalars_of(write):
            for target in self._targets.get(place, ()):
                if target.place is None:
                    self._note_absent(target, write.type, value)
                elif self.size(target.place.reference) == 1:
                    self._write_to(target.place, target.name, [value], value)
                else:
                    whole = Place(target.place.type, target.place.reference)
                    arrays.setdefault(whole, {})[target.place.element] = target, value
        for whole, wanted in arrays.items():
            self._write_array(whole, wanted)

    def do_step(self, communication_point: float, communication_step_size: float) -> Outputs | None:
        """Take a step [s]; outputs at its end, None when it is lost."""
        if self._lost:
            return None
        try:
            self.advance(communication_point, communication_step_size)
            outputs = self._outputs.read()
            self._doubt = self._find_doubt(outputs)
        except SurrogateError as error:
            self._lose(f"the surrogate did not take the step from {communication_point:g} s: {error}")
            return None
        finally:
            self._heard.clear()
        return outputs

    def save_all(self) -> PartnerState:
        """The FMU's state and the doubts."""
        return PartnerState(self.save(), dict(self._refused), self._outside, self._lost, self._doubt)

    def load_all(self, state: PartnerState) -> None:
        """Go back to a state."""
        self.load(state.fmu)
        self._refused, self._outside, self._lost, self._doubt = dict(state.refused), state.outside, state.lost, state.doubt

    def _lose(self, reason: str) -> None:
        self._lost = self._doubt = reason

    def _note_absent(self, target: _Target, kind: str, value: Any) -> None:
        if _is_start(value, target.start, kind):
            self._refused.pop(target.name, None)
        else:
            self._refused[target.name] = f"{target.name!r} is set to {value}, and the surrogate has no such variable"

    def _write_array(self, whole: Place, wanted: Mapping[int, tuple[_Target, Any]]) -> None:
        """Set elements of an array; those that are not set stay as they are."""
        name = next(iter(wanted.values()))[0].whole
        shown = [value for _, value in wanted.values()]
        values: list[Any] = [None] * self.size(whole.reference)
        try:
            if len(wanted) < len(values):  # else it is not asked: not every FMU can be before initialization
                values = self.get(whole.type, [whole.reference])
        except SurrogateError as error:
            self._lose(f"the surrogate does not tell {name!r}, of which {shown} is to be set: {error}")
            return
        for element, (_, value) in wanted.items():
            values[element] = value
        self._write_to(whole, name, values, shown)

    def _write_to(self, place: Place, name: str, values: Sequence[Any], shown: Any) -> None:
        if self._lost:
            return
        numbers = list(map(float, values)) if place.type in REALS else values
        try:
            try:
                self.set(place.type, [place.reference], numbers)
                self._refused.pop(name, None)
            except SurrogateError as error:
                self._refused[name] = f"the surrogate does not take {name!r} = {shown}: {error}"
                before = self.get(place.type, [place.reference])
                self.set(place.type, [place.reference], before)  # takes back the refusal that it holds
        except SurrogateError as error:
            self._lose(f"the surrogate cannot go on after {name!r} = {shown}: {error}")

    def _find_doubt(self, outputs: Outputs) -> str:
        if self._refused:
            return next(iter(self._refused.values()))
        for name, value in zip(self._outputs.names, outputs, strict=True):
            if not math.isfinite(value):
                return f"the surrogate's {name!r} is {value}"
        if self._in_domain is not None and not self.get(self._in_domain.type, [self._in_domain.reference])[0]:
            said = [message.text for message in self._heard if message.status == _WARNING]
            self._outside = said[-1] if said else self._outside or "outside the surrogate's domain"
            return self._outside
        self._outside = ""
        for (name, limit), spread in zip(self._spread_limits, self._spread.read(), strict=True):
            if not spread <= limit:
                return f"the spread of {name!r} is {spread:.6g}, above {limit:g}"
        return ""


def _is_start(value: Any, start: str | None, kind: str) -> bool:
    if start is None:
        return False
    if kind == STRING:
        return bool(value == start)
    if kind == BOOLEAN:
        return bool(value) == (start.strip().lower() in ("true", "1"))
    return float(value) == float(start)
