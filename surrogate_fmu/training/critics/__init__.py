"""Critics: what judges windows in an adversarial game."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as normalised

from surrogate_fmu.training.critics.bodies import Attention, Convolutions, Graph, Grid, LongShortTerm, Recurrent, Set, StepByStep
from surrogate_fmu.training.critics.critic import Critic

BODIES = {
    "window": Convolutions,
    "recurrent": Recurrent,
    "lstm": LongShortTerm,
    "attention": Attention,
    "mlp": StepByStep,
    "grid": Grid,
    "graph": Graph,
    "set": Set,
}


def make_critic(
    name: str,
    output_dim: int,
    condition_dim: int,
    width: int,
    spectral_norm: bool = False,
    projection: bool = False,
    extra_dim: int = 0,
) -> Critic:
    """A critic.

    Args:
        name: of the body, one of `BODIES`.
        output_dim, condition_dim: sizes of y and x.
        width: hidden units.
        spectral_norm: divide the weights of linear and convolution layers by their largest singular value.
        projection: condition by projection; else by concatenation.
        extra_dim: channels that stand beside the outputs' deviations.

    Raises:
        ValueError: there is no such body.
    """
    if name not in BODIES:
        raise ValueError(f"critic {name!r} is unknown; there are {', '.join(BODIES)}")
    body = BODIES[name](2 * output_dim + extra_dim + (0 if projection else condition_dim), width)
    critic = Critic(body, condition_dim, width, projection)
    if spectral_norm:
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                normalised(module)
    return critic
