"""Terms of objectives, one small file each with its equation and source; sums of them read like the formula."""

from surrogate_fmu.training.objectives.terms.adversarial import Adversarial
from surrogate_fmu.training.objectives.terms.distances import EnergyDistance, KernelDiscrepancy, SlicedWasserstein
from surrogate_fmu.training.objectives.terms.ensemble_mean import MeanError
from surrogate_fmu.training.objectives.terms.evidence import Evidence
from surrogate_fmu.training.objectives.terms.repulsion import Repulsion
from surrogate_fmu.training.objectives.terms.residual import Residual
from surrogate_fmu.training.objectives.terms.scores import Crps, Energy
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes, Term, TermSum

__all__ = [
    "Adversarial",
    "Crps",
    "Draw",
    "Energy",
    "EnergyDistance",
    "Evidence",
    "KernelDiscrepancy",
    "MeanError",
    "Repulsion",
    "Residual",
    "Shapes",
    "SlicedWasserstein",
    "Term",
    "TermSum",
]
