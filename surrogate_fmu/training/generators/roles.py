"""Who is who among a generator's variables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import Balance, GeneratorConfig
from surrogate_fmu.variables import Causality, Variable, with_causality


@dataclass(frozen=True)
class Roles:
    """Names, and places among the condition (inputs, then parameters) and the outputs.

    Attributes:
        inputs, parameters, outputs: names.
        balances: by the output that each is of.
        balanced, free: places of outputs with and without a balance.
        stepping: places of the condition that act during a run, not at its start alone.
    """

    inputs: list[str]
    parameters: list[str]
    outputs: list[str]
    balances: Mapping[str, Balance]
    balanced: list[int]
    free: list[int]
    stepping: list[int]

    @property
    def condition(self) -> list[str]:
        """Names of inputs and parameters."""
        return self.inputs + self.parameters

    @property
    def balances_in_order(self) -> list[Balance]:
        """Balances in the order of `balanced`."""
        return [self.balances[self.outputs[place]] for place in self.balanced]


def find_roles(variables: Sequence[Variable], config: GeneratorConfig) -> Roles:
    """The roles of variables under a configuration.

    Raises:
        ConfigError: an initial parameter, or the start of a balance, is no parameter.
    """
    inputs, parameters, outputs = (
        [v.name for v in with_causality(variables, causality)]
        for causality in (Causality.INPUT, Causality.PARAMETER, Causality.OUTPUT)
    )
    for name in (*config.initial_parameters, *(balance.start for balance in config.balances if balance.start)):
        require(name, parameters, "parameter")
    balances = {balance.output: balance for balance in config.balances}
    return Roles(
        inputs,
        parameters,
        outputs,
        balances,
        [place for place, name in enumerate(outputs) if name in balances],
        [place for place, name in enumerate(outputs) if name not in balances],
        [place for place, name in enumerate(inputs + parameters) if name not in config.initial_parameters],
    )


def require(name: str, known: Sequence[str], what: str) -> None:
    """Check that a name is one of those known.

    Raises:
        ConfigError: it is not.
    """
    if name not in known:
        raise ConfigError(f"{name!r} is no {what}; there are {', '.join(known) or 'none'}")
