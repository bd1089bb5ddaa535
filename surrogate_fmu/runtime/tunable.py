"""Parameters that may be changed during a run, and how far they are from where the run began. Needs no torch.

In training every parameter is constant over a run. So a run in which one is changed is none that the generator has learned: with
the policy `warn` it gets the new value from the next step on and the run is outside the training domain until its end, with
`clamp` it does not get to see it, with `refuse` steps are refused until it is set back.
"""

from collections.abc import Sequence

from surrogate_fmu.manifest import Manifest
from surrogate_fmu.runtime.slots import make_slots
from surrogate_fmu.variables import scalar_names, settable_parameters


class TunableParameters:
    """The tunable parameters of one model, scalar by scalar."""

    def __init__(self, manifest: Manifest) -> None:
        slots = make_slots(manifest.condition)
        self._places: list[int] = []
        self._labels: list[str] = []
        self._widths: list[float] = []
        for variable in settable_parameters(manifest.variables):
            interval = manifest.domain[variable.name]
            place = slots[variable.name].place
            self._places += range(place.start, place.stop)
            self._labels += scalar_names(variable)
            self._widths += [(interval.max - interval.min) or 1.0] * variable.size

    def values(self, condition: Sequence[float]) -> tuple[float, ...]:
        """Those of a condition (condition_dim,), one per scalar; empty where the model has none."""
        return tuple(condition[place] for place in self._places)

    def held(self, condition: Sequence[float], start: Sequence[float]) -> tuple[float, ...]:
        """The condition (condition_dim,) with the values with which the run began."""
        changed = list(condition)
        for place, value in zip(self._places, start, strict=True):
            changed[place] = value
        return tuple(changed)

    def distance(self, condition: Sequence[float], start: Sequence[float]) -> float:
        """How far the worst one is from where the run began, in widths of its training range; 0 there."""
        return max(self._moved(condition, start), default=0.0)

    def describe(self, condition: Sequence[float], start: Sequence[float]) -> str:
        """The worst one in words."""
        moved = self._moved(condition, start)
        worst = moved.index(max(moved))
        if not moved[worst]:
            return "a tunable parameter was changed in this run, and in training all were constant over a run"
        now, then = condition[self._places[worst]], start[worst]
        return f"{self._labels[worst]} = {now:.6g} was {then:.6g} when the run began, and in training it was constant over a run"

    def _moved(self, condition: Sequence[float], start: Sequence[float]) -> list[float]:
        pairs = zip(self._places, start, self._widths, strict=True)
        return [abs(condition[place] - value) / width for place, value, width in pairs]
