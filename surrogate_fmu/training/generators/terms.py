"""The terms of balances as linear maps."""

from collections.abc import Mapping, Sequence

import numpy as np

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import Balance, split_term


class Terms:
    """The terms of all balances as linear maps, coefficients of the first guess folded in, in scaled output units.

    term (batch, term) = x @ condition + y_scaled @ output + offset;   dy_scaled (batch, output) = term @ target
    """

    def __init__(
        self,
        balances: Sequence[Balance],
        inputs: Sequence[str],
        outputs: Sequence[str],
        coefficients: Mapping[str, Sequence[float]],
        scaling: Scaling,
    ) -> None:
        condition_dim = len(scaling.condition_mean)
        count = sum(len(balance.terms) for balance in balances)
        self.condition = np.zeros((condition_dim, count))
        self.output = np.zeros((len(outputs), count))
        self.offset = np.zeros(count)
        self.target = np.zeros((count, len(outputs)))
        self.of_inputs_only = np.ones(count)
        column = 0
        for balance in balances:
            target = outputs.index(balance.output)
            for term, coefficient in zip(balance.terms, coefficients[balance.output], strict=True):
                for name, sign in split_term(term):
                    if name in inputs:
                        self.condition[inputs.index(name), column] += sign * coefficient
                    elif name in outputs:
                        index = outputs.index(name)
                        self.output[index, column] += sign * coefficient * scaling.output_std[index]
                        self.offset[column] += sign * coefficient * scaling.output_mean[index]
                        self.of_inputs_only[column] = 0.0
                    else:
                        raise ConfigError(f"balance of {balance.output!r}: {name!r} in the term {term!r} is no input or output")
                self.target[column, target] = 1.0 / scaling.output_std[target]
                column += 1
