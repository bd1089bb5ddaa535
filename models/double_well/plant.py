"""An overdamped particle in a double well: a plant whose randomness is all in its steps, and whose law is known exactly.

    dx = (x - x^3 + force) dt + sigma dW,   sigma = 0.5

in units of the well's own: length from ridge to valley, time of relaxation. Now and then the noise carries the particle over
the ridge, on average every 30 time units without a force (Kramers, Physica 7, 1940).
"""

import math
import random
from collections.abc import Mapping, Sequence

from surrogate_fmu.variables import Causality, Variable

SIGMA = 0.5
STEP = 0.5  # communication step
_INNER_STEPS = 50  # of Euler and Maruyama in a communication step


class DoubleWell:
    """The particle; the seed chooses the path of its noise."""

    variables: Sequence[Variable] = (
        Variable("force", Causality.INPUT, start=0.0, description="Force on the particle"),
        Variable("position_start", Causality.PARAMETER, start=-1.0, description="Position at the start"),
        Variable("position", Causality.OUTPUT, description="Position of the particle"),
    )
    communication_step_size = STEP

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        """Put the particle at its start."""
        self._random = random.Random(seed)
        self._position = parameters.get("position_start", -1.0)
        return {"position": self._position}

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        """Advance."""
        time_step = communication_step_size / _INNER_STEPS
        kick, position, force = SIGMA * math.sqrt(time_step), self._position, inputs["force"]
        for _ in range(_INNER_STEPS):
            position += (position - position**3 + force) * time_step + kick * self._random.gauss(0.0, 1.0)
        self._position = position
        return {"position": position}
