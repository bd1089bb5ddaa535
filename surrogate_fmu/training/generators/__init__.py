"""Generators: what is trained and then scripted. One file per structure."""

from collections.abc import Mapping, Sequence

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import GeneratorConfig, Structure
from surrogate_fmu.training.generators.graph import GraphGenerator
from surrogate_fmu.training.generators.ring import RingGenerator
from surrogate_fmu.training.generators.state_space import StateSpaceGenerator
from surrogate_fmu.training.generators.wiener import WienerGenerator
from surrogate_fmu.training.generators.wiener_step import WienerStep
from surrogate_fmu.training.linear import LinearPart
from surrogate_fmu.variables import Variable

Generator = StateSpaceGenerator | WienerGenerator | RingGenerator | GraphGenerator
Step = StateSpaceGenerator | WienerStep | RingGenerator | GraphGenerator


def make_generator(
    variables: Sequence[Variable],
    config: GeneratorConfig,
    scaling: Scaling,
    time_constants: tuple[float, float],
    coefficients: Mapping[str, Sequence[float]],
    linear: LinearPart | None = None,
) -> Generator:
    """The generator of the configured structure; arguments as those of the classes."""
    if config.structure is Structure.RECURRENT:
        return StateSpaceGenerator(variables, config, scaling, time_constants, coefficients, linear)
    others: dict[Structure, type[WienerGenerator] | type[RingGenerator] | type[GraphGenerator]] = {
        Structure.WIENER: WienerGenerator,
        Structure.RING: RingGenerator,
        Structure.GRAPH: GraphGenerator,
    }
    return others[config.structure](variables, config, scaling, time_constants, coefficients)


def make_step(generator: Generator) -> Step:
    """The module to script and ship: `initial` and `forward` of one step, with the generator's present weights."""
    return WienerStep(generator) if isinstance(generator, WienerGenerator) else generator
