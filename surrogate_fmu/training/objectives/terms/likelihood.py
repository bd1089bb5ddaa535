"""Likelihood of an explicit density: -log p(y_k+1 | x_k, h_k), each step of a window from the recorded state before it."""

from torch import Tensor

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.objectives.terms.term import Draw, Term


class Likelihood(Term):
    """Negative log-likelihood per step and output [nat], for generators with `components`.

    Raises:
        TrainingError: the generator has no density.
    """

    members = 1

    def value(self, draw: Draw) -> Tensor:
        """(batch,)."""
        likelihood = draw.roller.log_likelihood()
        if likelihood is None:
            raise TrainingError("the term likelihood needs a density: set components in [training.generator], 1 for a Gaussian")
        return -likelihood
