"""First guesses of the coefficients of balances, by least squares over the training runs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import Balance, split_term
from surrogate_fmu.variables import Causality

Array = NDArray[np.float64]


def fit_balances(balances: Sequence[Balance], trajectories: Trajectories) -> dict[str, list[float]]:
    """Coefficients per balanced output, one per term, in physical units per step.

    Raises:
        ConfigError: a balance names something that is no variable, or a term that has no effect.
    """
    inputs, outputs = trajectories.names(Causality.INPUT), trajectories.names(Causality.OUTPUT)
    balanced = {balance.output for balance in balances}

    def series(name: str, balance: Balance) -> Array:
        if name in inputs:
            return trajectories.inputs[..., inputs.index(name)]
        if name in outputs:
            # A balanced output acts from the start of the step, any other with its value at the end.
            window = slice(0, -1) if name in balanced else slice(1, None)
            return trajectories.outputs[:, window, outputs.index(name)]
        raise ConfigError(
            f"balance of {balance.output!r}: {name!r} is no input or output; there are {', '.join((*inputs, *outputs))}"
        )

    coefficients = {}
    for balance in balances:
        if balance.output not in outputs:
            raise ConfigError(f"balance of {balance.output!r}: there is no such output; there are {', '.join(outputs)}")
        change = np.diff(trajectories.outputs[..., outputs.index(balance.output)], axis=1).ravel()
        columns = [sum(sign * series(name, balance) for name, sign in split_term(term)) for term in balance.terms]
        matrix = np.stack([np.ravel(column) for column in columns], axis=-1)
        if np.linalg.matrix_rank(matrix) < len(balance.terms):
            raise ConfigError(f"balance of {balance.output!r}: the terms {list(balance.terms)} cannot be told apart in the data")
        solution, *_ = np.linalg.lstsq(matrix, change, rcond=None)
        coefficients[balance.output] = [float(value) for value in solution]
    return coefficients
