"""How far the surrogate's outputs may be from the plant's for it to lead again."""

from collections.abc import Mapping, Sequence

from surrogate_fmu.fmu.tap.guard import Outputs


class Agreement:
    """Tolerances of some outputs.

    Args:
        names: of all outputs, in their order.
        tolerances: by name, in the output's unit.
    """

    def __init__(self, names: Sequence[str], tolerances: Mapping[str, float]) -> None:
        self._tolerances = [(names.index(name), name, tolerance) for name, tolerance in tolerances.items()]

    def disagreement(self, plant: Outputs, surrogate: Outputs) -> str:
        """What is too far apart, as a sentence; empty where nothing is."""
        for column, name, tolerance in self._tolerances:
            difference = abs(surrogate[column] - plant[column])
            if not difference <= tolerance:
                return f"{name!r} differs by {difference:.6g} from the solver's, more than {tolerance:g}"
        return ""
