"""Who leads, the solver or its surrogate, step by step. Nothing here knows FMI, files or numbers of variables.

    leader      after a step that the surrogate cannot be trusted with    after `steps_inside` trusted steps in a row
    surrogate   the solver catches up, takes this step too, and leads     -
    plant       -                                                         the surrogate leads from the next step on

The solver is an instance that stands where it last led. What it has missed since, writes and steps in their order, waits in a
queue; catching up is doing just that, so its outputs afterwards are those of a solver that had been driven all along. The
surrogate takes every step, also while the solver leads: it sees all inputs, and nothing else of the solver; its state is not
set to the solver's, as no FMI call could.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

W = TypeVar("W", contravariant=True)
Outputs = tuple[float, ...]


class Leader(StrEnum):
    """Whose outputs the master gets."""

    PLANT = "plant"
    SURROGATE = "surrogate"


class Stepping(Protocol[W]):
    """The solver: what it refuses it raises."""

    def write(self, write: W) -> None:
        """Take values."""

    def do_step(self, communication_point: float, communication_step_size: float) -> Outputs:
        """Advance [s]; outputs at the end."""


class Doubtful(Protocol[W]):
    """The surrogate: it raises nothing, it says that it cannot be trusted."""

    @property
    def doubt(self) -> str:
        """Why the last step cannot be trusted; empty where it can."""

    def write(self, write: W) -> None:
        """Take values."""

    def do_step(self, communication_point: float, communication_step_size: float) -> Outputs | None:
        """Advance [s]; outputs at the end, None where there are none."""


@dataclass(frozen=True)
class Handover:
    """A change of the leader.

    Attributes:
        communication_point: start of the first step that the new one leads [s].
        to: the new one.
        reason: a sentence.
        replayed_steps: that the solver caught up with.
        seconds: wall time of that [s].
    """

    communication_point: float
    to: Leader
    reason: str
    replayed_steps: int = 0
    seconds: float = 0.0


class Replayed(NamedTuple):
    """A step that the solver caught up with: where it starts [s], and the solver's outputs at its end."""

    communication_point: float
    outputs: Outputs


@dataclass(frozen=True)
class Taken:
    """A step that was taken.

    Attributes:
        leader: whose outputs count.
        plant, surrogate: outputs at its end; None of one that did not take it.
        plant_s, surrogate_s: wall time of the step [s].
        handovers: in this step.
        replayed: steps that the solver caught up with before.
        doubt: why the surrogate was not trusted; empty where it was.
    """

    leader: Leader
    plant: Outputs | None
    surrogate: Outputs | None
    plant_s: float
    surrogate_s: float
    handovers: tuple[Handover, ...] = ()
    replayed: tuple[Replayed, ...] = ()
    doubt: str = ""


class _Interval(NamedTuple):
    """A step that the solver has not taken yet [s]."""

    communication_point: float
    communication_step_size: float


class GuardState(NamedTuple):
    """Where a guard stands, without the two that it drives."""

    leader: Leader
    missed: tuple[Any, ...]
    trusted_steps: int
    reason: str
    replayed: tuple[Replayed, ...]
    replay_s: float


class Guard(Generic[W]):
    """Drives both from the start of a run, when they are initialized.

    Args:
        plant: the solver.
        surrogate: runs beside it; None for the solver alone.
        steps_inside: trusted steps in a row after which the surrogate leads, 1 or more; None: it never does.
        disagreement: (plant, surrogate) outputs -> why they are too far apart for the surrogate to lead; empty where they are not.
        clock: wall time [s].

    Attributes:
        leader: of the next step. With `steps_inside` the surrogate leads first.
    """

    def __init__(
        self,
        plant: Stepping[W],
        surrogate: Doubtful[W] | None = None,
        steps_inside: int | None = None,
        disagreement: Callable[[Outputs, Outputs], str] = lambda plant, surrogate: "",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if steps_inside is not None and (surrogate is None or steps_inside < 1):
            raise ValueError(f"steps_inside is {steps_inside}; it must be at least 1, and needs a surrogate")
        self._plant, self._surrogate = plant, surrogate
        self._steps_inside = steps_inside
        self._disagreement = disagreement
        self._clock = clock
        self._missed: deque[Any] = deque()
        self._trusted_steps = 0
        # Of a hand-over to the solver that is not done:
        self._reason = ""
        self._replayed: list[Replayed] = []
        self._replay_s = 0.0
        self.leader = Leader.PLANT if steps_inside is None else Leader.SURROGATE

    @property
    def is_behind(self) -> bool:
        """Whether the solver has calls to catch up with."""
        return bool(self._missed)

    def write(self, write: W) -> None:
        """Give values to both; to the solver at once while it leads, or else when it catches up.

        Raises:
            SurrogateError: the solver refuses them now.
        """
        if self._surrogate is not None:
            self._surrogate.write(write)
        if self._missed or self.leader is Leader.SURROGATE:
            self._missed.append(write)
        else:
            self._plant.write(write)

    def do_step(self, communication_point: float, communication_step_size: float) -> Taken:
        """Take a step [s].

        Raises:
            SurrogateError: the solver refuses it, or something that it catches up with. It leads from then on, and the step can be
                tried again; the surrogate may be a step ahead then, and will say so.
        """
        interval = _Interval(communication_point, communication_step_size)
        surrogate, surrogate_s, doubt = None, 0.0, ""
        led = self.leader is Leader.SURROGATE
        if led:
            surrogate, surrogate_s, doubt = self._step_surrogate(interval)
            if not doubt:
                self._missed.append(interval)
                return Taken(Leader.SURROGATE, None, surrogate, 0.0, surrogate_s)
            self.leader, self._reason, self._trusted_steps = Leader.PLANT, doubt, 0
        self._catch_up()
        begin = self._clock()
        plant = self._plant.do_step(*interval)
        plant_s = self._clock() - begin
        handovers, replayed = [], tuple(self._replayed)
        if self._reason:
            handovers.append(Handover(communication_point, Leader.PLANT, self._reason, len(replayed), self._replay_s))
            self._reason, self._replayed, self._replay_s = "", [], 0.0
        if not led:
            surrogate, surrogate_s, doubt = self._step_surrogate(interval)
        if not doubt and surrogate is not None and self._steps_inside is not None:
            doubt = self._disagreement(plant, surrogate)
        self._trusted_steps = 0 if doubt else self._trusted_steps + 1
        if self._steps_inside is not None and self._trusted_steps >= self._steps_inside:
            self.leader = Leader.SURROGATE
            end = communication_point + communication_step_size
            handovers.append(Handover(end, Leader.SURROGATE, f"trusted for {self._trusted_steps} steps in a row"))
        return Taken(Leader.PLANT, plant, surrogate, plant_s, surrogate_s, tuple(handovers), replayed, doubt)

    def save(self) -> GuardState:
        """Where it stands; plant and surrogate are saved by whoever has them."""
        missed, replayed = tuple(self._missed), tuple(self._replayed)
        return GuardState(self.leader, missed, self._trusted_steps, self._reason, replayed, self._replay_s)

    def load(self, state: GuardState) -> None:
        """Go back to where it stood, when plant and surrogate have."""
        self.leader, missed, self._trusted_steps, self._reason, replayed, self._replay_s = state
        self._missed, self._replayed = deque(missed), list(replayed)

    def _step_surrogate(self, interval: _Interval) -> tuple[Outputs | None, float, str]:
        if self._surrogate is None:
            return None, 0.0, ""
        begin = self._clock()
        outputs = self._surrogate.do_step(*interval)
        return outputs, self._clock() - begin, self._surrogate.doubt

    def _catch_up(self) -> None:
        """Do what the solver has missed. A write that it refuses is dropped with that; a step stays, as nothing goes on without."""
        if not self._missed:
            return
        begin = self._clock()
        try:
            while self._missed:
                call = self._missed[0]
                if isinstance(call, _Interval):
                    self._replayed.append(Replayed(call.communication_point, self._plant.do_step(*call)))
                    self._missed.popleft()
                else:
                    self._missed.popleft()
                    self._plant.write(call)
        finally:
            self._replay_s += self._clock() - begin
