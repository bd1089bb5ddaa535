"""Which communication steps fit the generator's step.

One rule for every runtime (c/run.c has the same numbers): a communication step is a whole multiple of the generator's step to a
relative 1e-9, or to what rounding of the communication points at its start explains, as masters calculate it as a difference
of times.
"""

import math
import sys

from surrogate_fmu.errors import StepSizeError

SUBSTEPS_MAX = 1_000_000
"""In one call, which holds the session."""

_SIZE_TOLERANCE = 1e-9  # relative
_POINT_TOLERANCE = 1e-6  # of the generator's step: masters sum floats
_ROUNDINGS = 4.0 * sys.float_info.epsilon  # of the times that a step size is made of


def count_substeps(communication_step_size: float, step_size: float, communication_point: float) -> int:
    """The steps of the generator that a communication step is made of.

    Args:
        communication_step_size: [s].
        step_size: of the generator [s].
        communication_point: where the step starts [s].

    Raises:
        StepSizeError: it is no whole multiple of the generator's step, or more than `SUBSTEPS_MAX` of them.
    """
    try:
        size = float(communication_step_size)
    except (TypeError, ValueError) as error:
        raise StepSizeError(f"the communication step {communication_step_size!r} is no number of seconds") from error
    ratio = size / step_size
    count = math.floor(ratio + 0.5) if math.isfinite(ratio) else 0
    if count > SUBSTEPS_MAX:
        raise StepSizeError(
            f"a communication step of {size:g} s is {count:g} steps of the generator, more than the "
            f"{SUBSTEPS_MAX} that one call takes; use a smaller one"
        )
    rounding = _ROUNDINGS * (abs(communication_point) + abs(size)) / step_size
    if count < 1 or abs(ratio - count) > _SIZE_TOLERANCE * count + rounding:
        raise StepSizeError(
            f"a communication step of {size:g} s is no whole multiple of the generator's step "
            f"of {step_size:g} s; use {step_size:g} s or a multiple of it"
        )
    return count


def check_communication_point(communication_point: float, time: float, step_size: float) -> None:
    """Refuse a step from another time than the run's.

    Args:
        communication_point: where the master starts the step [s].
        time: where the run stands [s].
        step_size: of the generator [s].

    Raises:
        StepSizeError: they differ by more than a millionth of a step and more than rounding explains.
    """
    tolerance = _POINT_TOLERANCE * step_size + _ROUNDINGS * abs(time)
    if not abs(communication_point - time) <= tolerance:  # true for NaN
        raise StepSizeError(
            f"a step from t = {communication_point:.9g} s was asked, but the run stands at t = {time:.9g} s; "
            "continue there, or set an FMU state of the other time first"
        )
