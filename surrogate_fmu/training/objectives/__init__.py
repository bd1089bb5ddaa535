"""Training objectives, one file each; an `ObjectiveTerm` turns a batch of windows into the generator's loss."""

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import Objective, TrainingConfig
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.objectives.adversarial import AdversarialObjective
from surrogate_fmu.training.objectives.protocol import WindowObjective
from surrogate_fmu.training.objectives.scoring import ScoringObjective


def make_objective(config: TrainingConfig, generator: Generator, scaling: Scaling, run_count: int) -> WindowObjective:
    """The objective that the configuration names."""
    if config.objective is Objective.ENERGY:
        return ScoringObjective(config, generator, scaling, run_count)
    return AdversarialObjective(config, generator, scaling, run_count)
