"""Proper scores of an ensemble under each condition (Gneiting and Raftery, JASA 102, 2007)."""

from torch import Tensor

from surrogate_fmu.training.objectives.energy import fair_crps, fair_energy_score
from surrogate_fmu.training.objectives.terms.term import Draw, Term, flat_windows


class Energy(Term):
    """The fair energy score of windows: least where the law of whole windows is the plant's.

    Args:
        members: draws per window, at least 2.
    """

    def __init__(self, members: int = 4) -> None:
        if members < 2:
            raise ValueError(f"members {members}: the fair energy score needs at least 2 draws per window")
        self.members = members

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        return fair_energy_score(flat_windows(draw.members), flat_windows(draw.observed))


class Crps(Term):
    """The fair CRPS of every output at every point: sees no dependence between them, and has the least noise of all scores.

    Args:
        members: draws per window, at least 2.
    """

    def __init__(self, members: int = 4) -> None:
        if members < 2:
            raise ValueError(f"members {members}: the fair CRPS needs at least 2 draws per window")
        self.members = members

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        return fair_crps(draw.members, draw.observed).mean(dim=(1, 2))
