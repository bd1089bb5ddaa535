"""Proper scores of an ensemble under each condition (Gneiting and Raftery, JASA 102, 2007)."""

from torch import Tensor

from surrogate_fmu.training.objectives.energy import fair_crps, fair_energy_score
from surrogate_fmu.training.objectives.terms.term import Draw, Term, flat_windows


class FairScore(Term):
    """A score of an ensemble that does not depend on its size.

    Args:
        members: draws per window, at least 2.
    """

    def __init__(self, members: int = 4) -> None:
        if members < 2:
            raise ValueError(f"members {members}: a fair score needs at least 2 draws per window")
        self.members = members


class Energy(FairScore):
    """The fair energy score of windows: least where the law of whole windows is the plant's."""

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        return fair_energy_score(flat_windows(draw.members), flat_windows(draw.observed))


class Crps(FairScore):
    """The fair CRPS of every output at every point: sees no dependence between them, and has the least noise of all scores."""

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        return fair_crps(draw.members, draw.observed).mean(dim=(1, 2))
