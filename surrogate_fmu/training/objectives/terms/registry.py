"""Terms by name, as a configuration gives them."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.plant.protocol import load_named
from surrogate_fmu.training.config import TermConfig
from surrogate_fmu.training.objectives.games.cross_entropy import CrossEntropy
from surrogate_fmu.training.objectives.games.hinge import Hinge
from surrogate_fmu.training.objectives.games.least_squares import LeastSquares
from surrogate_fmu.training.objectives.games.quadratic import QuadraticTransport
from surrogate_fmu.training.objectives.games.relativistic import Relativistic
from surrogate_fmu.training.objectives.games.wasserstein import WassersteinClipping, WassersteinPenalty
from surrogate_fmu.training.objectives.terms.adversarial import Adversarial
from surrogate_fmu.training.objectives.terms.distances import EnergyDistance, KernelDiscrepancy, SlicedWasserstein
from surrogate_fmu.training.objectives.terms.ensemble_mean import MeanError
from surrogate_fmu.training.objectives.terms.evidence import Evidence
from surrogate_fmu.training.objectives.terms.likelihood import Likelihood
from surrogate_fmu.training.objectives.terms.repulsion import Repulsion
from surrogate_fmu.training.objectives.terms.residual import Residual
from surrogate_fmu.training.objectives.terms.scores import Crps, Energy
from surrogate_fmu.training.objectives.terms.term import Term, TermSum

GAMES: Mapping[str, Callable[..., Any]] = {
    "minimax": partial(CrossEntropy, saturating=True),
    "non-saturating": CrossEntropy,
    "least-squares": LeastSquares,
    "wgan": WassersteinClipping,
    "wgan-gp": WassersteinPenalty,
    "hinge": Hinge,
    "r3gan": Relativistic,
    "wasserstein-2": QuadraticTransport,
}
TERMS: Mapping[str, Callable[..., Term]] = {
    "energy": Energy,
    "crps": Crps,
    "energy-distance": EnergyDistance,
    "mmd": KernelDiscrepancy,
    "sliced-wasserstein": SlicedWasserstein,
    "mean-error": MeanError,
    "repulsion": Repulsion,
    "vae": Evidence,
    "likelihood": Likelihood,
}


def make_terms(configs: tuple[TermConfig, ...], folder: Path = Path()) -> TermSum:
    """The sum that the configuration lists.

    Args:
        configs: the terms.
        folder: where files of residuals are.

    Raises:
        ConfigError: a term or one of its options is unknown, or an option's value cannot be used.
    """
    if not configs:
        raise ConfigError('objective = "terms" needs [[training.terms]]; add one, such as name = "energy"')
    if sum(abs(config.weight) for config in configs) == 0.0:
        raise ConfigError("the weights of [[training.terms]] sum to nothing; give at least one a weight above 0")
    return TermSum([(config.weight, _make(config, folder)) for config in configs])


def _make(config: TermConfig, folder: Path) -> Term:
    options = dict(config.options)
    where = f"[[training.terms]] {config.name!r}"
    try:
        if config.name == "residual":
            function = load_named(config.function, folder, "residual", "function")
            term: Term = Residual(function, **_known(Residual, options, where))
        elif config.function and config.name not in GAMES:
            raise ConfigError(f"{where}: function has a meaning for the term 'residual' and for games alone")
        elif config.name in GAMES:
            game = GAMES[config.name]
            fields = set(inspect.signature(game).parameters) - {"saturating"}
            own = {name: options.pop(name) for name in list(options) if name in fields}
            seen = load_named(config.function, folder, "physics", "function") if config.function else None
            term = Adversarial(game(**own), function=seen, **_known(Adversarial, options, where, fields))
        elif config.name in TERMS:
            term = TERMS[config.name](**_known(TERMS[config.name], options, where))
        else:
            raise ConfigError(f"{where} is unknown; there are {', '.join([*TERMS, 'residual', *GAMES])}")
        return term.between(config.begin, config.end)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _known(kind: Callable[..., Any], options: Mapping[str, Any], where: str, more: set[str] = frozenset()) -> Mapping[str, Any]:  # type: ignore[assignment]
    names = [name for name in inspect.signature(kind).parameters if name not in ("game", "function")]
    for name in options:
        if name not in names:
            raise ConfigError(f"{where}: the option {name!r} is unknown; there are {', '.join([*sorted(more), *names]) or 'none'}")
    return options
