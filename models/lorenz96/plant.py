"""The two-scale system of Lorenz (1996): slow variables on a ring, each coupled to a sector of a fast ring that nobody sees.

    dX_k/dt = -X_(k-1) (X_(k-2) - X_(k+1)) - X_k + F - (h c / b) sum_j Y_(j,k)
    dY_j/dt = -c b Y_(j+1) (Y_(j+2) - Y_(j-1)) - c Y_j + (h c / b) X_k

with K = 8, J = 32, h = 1, b = c = 10 and F = 20, as in Gagne et al. (JAMES 12, 2020, e2019MS001896) and Parthipan et al. (GMD 16,
2023, 4501). No quantity has a unit; a model time unit (MTU) is written as a second. The system is deterministic: its randomness is
the fast ring, of which a run knows no more than that it lived under the slow start for a while.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.variables import Causality, Variable

K, J = 8, 32
H, B, C = 1.0, 10.0, 10.0
FORCING = 20.0
STEP = 0.05  # communication step [MTU]
TIME_STEP = 0.005  # of the solver [MTU]; tests/plant/test_lorenz96.py: a half gives the same statistics
SPIN_UP = 1.0  # [MTU] that the fast ring spends under the held slow start; it forgets in about 0.1
TYPICAL = (3.0, 8.0, -2.0, 1.0, 6.0, 9.0, -1.0, 2.0)  # a state such as the system visits, for a start value

Array = NDArray[np.floating]


def tendency(slow: Array, fast: Array, forcing: Array) -> tuple[Array, Array]:
    """Time derivatives.

    Args:
        slow: X, (..., K).
        fast: Y, (..., K J), sector by sector.
        forcing: F, (...).

    Returns:
        dX/dt (..., K) and dY/dt (..., K J) [1 / MTU].
    """
    sums = fast.reshape(*slow.shape, J).sum(axis=-1)
    around = np.concatenate([slow[..., -2:], slow, slow[..., :1]], axis=-1)
    d_slow = around[..., 1:-2] * (around[..., 3:] - around[..., :-3]) - slow + forcing[..., None] - (H * C / B) * sums
    return d_slow, fast_tendency(slow, fast)


def fast_tendency(slow: Array, fast: Array) -> Array:
    """dY/dt (..., K J) [1 / MTU]; arguments as those of `tendency`."""
    around = np.concatenate([fast[..., -1:], fast, fast[..., :2]], axis=-1)
    coupling = np.repeat((H * C / B) * slow, J, axis=-1)
    advected = around[..., 2:-1] * (around[..., :-3] - around[..., 3:])
    moved: Array = C * B * advected - C * fast + coupling
    return moved


def advance(slow: Array, fast: Array, forcing: Array, time_step: float = TIME_STEP) -> tuple[Array, Array]:
    """X and Y after one step of the classical Runge-Kutta method; arguments as those of `tendency`."""
    half = 0.5 * time_step
    x1, y1 = tendency(slow, fast, forcing)
    x2, y2 = tendency(slow + half * x1, fast + half * y1, forcing)
    x3, y3 = tendency(slow + half * x2, fast + half * y2, forcing)
    x4, y4 = tendency(slow + time_step * x3, fast + time_step * y3, forcing)
    sixth = time_step / 6.0
    return slow + sixth * (x1 + 2.0 * (x2 + x3) + x4), fast + sixth * (y1 + 2.0 * (y2 + y3) + y4)


def draw_fast(slow: Array, random: np.random.Generator, time_step: float = TIME_STEP) -> Array:
    """Y (..., K J) that lived under held X (..., K) for `SPIN_UP`, from a random start."""
    fast = 0.1 * random.standard_normal((*slow.shape[:-1], K * J)).astype(slow.dtype)
    half = 0.5 * time_step
    for _ in range(round(SPIN_UP / time_step)):
        y1 = fast_tendency(slow, fast)
        y2 = fast_tendency(slow, fast + half * y1)
        y3 = fast_tendency(slow, fast + half * y2)
        y4 = fast_tendency(slow, fast + time_step * y3)
        fast = fast + (time_step / 6.0) * (y1 + 2.0 * (y2 + y3) + y4)
    return fast


def simulate(
    slow: Array, fast: Array, forcing: Array, steps: int, time_step: float = TIME_STEP, every: float = STEP
) -> tuple[Array, Array]:
    """Runs side by side.

    Args:
        slow, fast: the start, (..., K) and (..., K J).
        forcing: (...).
        steps: points to record after the start.
        time_step: of the solver [MTU].
        every: time between two points [MTU], a whole multiple of it.

    Returns:
        X at all points (..., steps + 1, K), and Y at the last one.
    """
    path = [slow]
    for _ in range(steps):
        for _ in range(round(every / time_step)):
            slow, fast = advance(slow, fast, forcing, time_step)
        path.append(slow)
    return np.stack(path, axis=-2), fast


class Lorenz96:
    """The slow variables under a forcing; the seed chooses the fast ring at the start."""

    variables: Sequence[Variable] = (
        Variable("forcing", Causality.INPUT, start=FORCING, description="Forcing F of the slow variables"),
        *(
            Variable(f"x{k}_start", Causality.PARAMETER, start=TYPICAL[k - 1], description=f"Slow variable {k} at the start")
            for k in range(1, K + 1)
        ),
        *(Variable(f"x{k}", Causality.OUTPUT, description=f"Slow variable {k} of the ring") for k in range(1, K + 1)),
    )
    communication_step_size = STEP

    def reset(self, seed: int, parameters: Mapping[str, float]) -> dict[str, float]:
        """Put the slow variables at their start and draw the fast ring."""
        self._slow = np.array([parameters.get(f"x{k}_start", TYPICAL[k - 1]) for k in range(1, K + 1)])
        self._fast = draw_fast(self._slow, np.random.default_rng(seed))
        return self._outputs()

    def do_step(self, inputs: Mapping[str, float], communication_step_size: float) -> dict[str, float]:
        """Advance."""
        forcing = np.array(inputs["forcing"])
        for _ in range(round(communication_step_size / TIME_STEP)):
            self._slow, self._fast = advance(self._slow, self._fast, forcing)
        return self._outputs()

    def _outputs(self) -> dict[str, float]:
        return {f"x{k}": float(value) for k, value in enumerate(self._slow, 1)}
