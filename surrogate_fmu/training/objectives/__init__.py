"""Training objectives: recipes, and sums of terms; each turns a batch of windows into the generator's loss."""

from pathlib import Path

from torch import Tensor

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.training.config import Objective, TrainingConfig
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.objectives.adversarial import AdversarialObjective
from surrogate_fmu.training.objectives.protocol import WindowObjective
from surrogate_fmu.training.objectives.scoring import ScoringObjective
from surrogate_fmu.training.objectives.sum import SumObjective
from surrogate_fmu.training.objectives.terms.registry import make_terms
from surrogate_fmu.training.objectives.terms.term import TermSum


def make_objective(
    config: TrainingConfig,
    generator: Generator,
    scaling: Scaling,
    training: Trajectories,
    terms: TermSum | None = None,
    weights: Tensor | None = None,
    folder: Path = Path(),
) -> WindowObjective:
    """The objective that the configuration names.

    Args:
        config: of the training.
        generator: what is trained.
        scaling: of the training data.
        training: runs to learn from.
        terms: in place of those of the configuration.
        weights: (run,), of the training runs; None weighs all alike.
        folder: where files of residuals are.
    """
    if terms is not None or config.objective is Objective.TERMS:
        return SumObjective(terms or make_terms(config.terms, folder), config, generator, scaling, training, weights)
    if config.objective is Objective.ENERGY:
        return ScoringObjective(config, generator, scaling, len(training))
    return AdversarialObjective(config, generator, scaling, training)
