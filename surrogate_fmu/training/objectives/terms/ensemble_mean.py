"""Supervision of the ensemble mean. On single members it would cost all spread: each would be drawn to the mean."""

from torch import Tensor

from surrogate_fmu.training.objectives.terms.term import Draw, Term


class MeanError(Term):
    """Error of the ensemble mean against the observation.

    Args:
        power: 1 for the absolute, 2 for the squared error.
        members: draws that the mean is taken over.
    """

    def __init__(self, power: int = 2, members: int = 4) -> None:
        if power not in (1, 2):
            raise ValueError(f"power {power} of the mean's error must be 1 or 2")
        self._power = power
        self.members = members

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        error = draw.members.mean(dim=0) - draw.observed
        return (error.abs() if self._power == 1 else error.square()).mean(dim=(1, 2))
