"""Who leads, with a solver and a surrogate that are nothing but their history."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_fmu.errors import PlantError
from surrogate_fmu.fmu.tap.guard import Guard, Handover, Leader, Taken

STEP = 0.5


@dataclass
class History:
    """Its output is the digest of all that it was told, in order."""

    calls: list[object] = field(default_factory=list)
    failing: set[float] = field(default_factory=set)

    def write(self, write: float) -> None:
        self.calls.append(("write", write))

    def do_step(self, communication_point: float, communication_step_size: float) -> tuple[float, ...]:
        if communication_point in self.failing:
            raise PlantError(f"it cannot step from {communication_point:g} s")
        self.calls.append((communication_point, communication_step_size))
        return (float(hash(tuple(self.calls)) % 1_000_003),)


@dataclass
class Wary(History):
    """Doubts steps whose last written value is above 1."""

    doubt: str = ""
    value: float = 0.0

    def write(self, write: float) -> None:
        super().write(write)
        self.value = write

    def do_step(self, communication_point: float, communication_step_size: float) -> tuple[float, ...]:
        self.doubt = f"value {self.value:g} is above 1" if self.value > 1.0 else ""
        return super().do_step(communication_point, communication_step_size)


def drive(guard: Guard[float], values: list[float]) -> list[Taken]:
    taken = []
    for number, value in enumerate(values):
        guard.write(value)
        taken.append(guard.do_step(STEP * number, STEP))
    return taken


def alone(history: History, values: list[float]) -> list[tuple[float, ...]]:
    outputs = []
    for number, value in enumerate(values):
        history.write(value)
        outputs.append(history.do_step(STEP * number, STEP))
    return outputs


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 2.0), min_size=1, max_size=40), st.integers(1, 4))
def test_whoever_leads_gives_what_it_would_have_given_alone(values: list[float], steps_inside: int) -> None:
    guard = Guard(History(), Wary(), steps_inside)
    taken = drive(guard, values)
    plant, surrogate = alone(History(), values), alone(Wary(), values)
    replayed = {entry.communication_point: entry.outputs for step in taken for entry in step.replayed}
    for number, step in enumerate(taken):
        assert step.surrogate == surrogate[number]
        if step.leader is Leader.PLANT:
            assert step.plant == plant[number]
        else:
            assert step.plant is None and values[number] <= 1.0
            assert replayed.get(STEP * number, plant[number]) == plant[number]
    for number, value in enumerate(values):  # the solver leads in a doubtful step, and until so many are trusted
        calm = sum(1 for _ in itertools.takewhile(lambda v: v <= 1.0, reversed(values[: number + 1])))
        doubted = any(v > 1.0 for v in values[: number + 1])
        assert (taken[number].leader is Leader.PLANT) == (value > 1.0 or (doubted and calm <= steps_inside))
    handovers = [handover for step in taken for handover in step.handovers]
    assert [h.to for h in handovers] == [leader for leader, _ in zip(itertools.cycle((Leader.PLANT, Leader.SURROGATE)), handovers)]
    behind = sum(step.leader is Leader.SURROGATE for step in taken)
    caught_up = sum(h.replayed_steps for h in handovers)
    assert caught_up == len(replayed) and (caught_up == behind or guard.leader is Leader.SURROGATE)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.booleans()), min_size=1, max_size=30), st.integers(1, 3))
def test_a_step_that_is_taken_again_is_the_same_step(steps: list[tuple[float, bool]], steps_inside: int) -> None:
    values = [value for value, _ in steps]
    expected = drive(Guard(History(), Wary(), steps_inside, clock=lambda: 0.0), values)
    plant, surrogate = History(), Wary()
    guard = Guard(plant, surrogate, steps_inside, clock=lambda: 0.0)
    for number, (value, twice) in enumerate(steps):
        if twice:
            state, kept = guard.save(), (list(plant.calls), list(surrogate.calls), surrogate.value, surrogate.doubt)
            guard.write(2.0 - value)
            guard.do_step(STEP * number, STEP)
            guard.load(state)
            plant.calls, surrogate.calls, surrogate.value, surrogate.doubt = kept
        guard.write(value)
        assert guard.do_step(STEP * number, STEP) == expected[number]


def test_handovers_say_when_why_and_what_it_took() -> None:
    ticks = itertools.count()
    guard = Guard(History(), Wary(), 2, clock=lambda: float(next(ticks)))
    taken = drive(guard, [0.0, 0.0, 3.0, 0.0, 0.0, 0.0])
    assert [step.leader.value for step in taken] == ["surrogate", "surrogate", "plant", "plant", "plant", "surrogate"]
    out, back = taken[2].handovers[0], taken[4].handovers[0]
    assert (out.communication_point, out.to, out.reason, out.replayed_steps) == (1.0, Leader.PLANT, "value 3 is above 1", 2)
    assert out.seconds == 1.0
    assert back == Handover(2.5, Leader.SURROGATE, "trusted for 2 steps in a row")


def test_a_solver_alone_and_one_that_leads_always() -> None:
    values = [0.0, 3.0, 0.0]
    record, shadow = drive(Guard(History()), values), drive(Guard(History(), Wary()), values)
    assert [step.plant for step in record] == [step.plant for step in shadow] == alone(History(), values)
    assert [step.surrogate for step in record] == [None] * 3
    assert [step.surrogate for step in shadow] == alone(Wary(), values)
    assert [step.doubt for step in shadow] == ["", "value 3 is above 1", ""]
    assert not any(step.handovers or step.replayed for step in record + shadow)


def test_disagreement_keeps_the_solver() -> None:
    far = [True]
    guard = Guard(History(), Wary(), 1, lambda plant, surrogate: "too far apart" if far[0] else "")
    taken = drive(guard, [0.0, 3.0, 0.0, 0.0])
    assert [step.leader for step in taken] == [Leader.SURROGATE] + 3 * [Leader.PLANT]  # it is not asked while it leads
    assert taken[3].doubt == "too far apart"
    far[0] = False
    guard.write(0.0)
    assert guard.do_step(4 * STEP, STEP).handovers[0].to is Leader.SURROGATE


def test_a_solver_that_cannot_catch_up_leads_and_can_be_asked_again() -> None:
    plant = History(failing={STEP})
    guard = Guard(plant, Wary(), 1)
    drive(guard, [0.0, 0.0])
    guard.write(3.0)
    for _ in range(2):
        with pytest.raises(PlantError, match=r"it cannot step from 0\.5 s"):
            guard.do_step(2 * STEP, STEP)
        assert guard.leader is Leader.PLANT and guard.is_behind
    plant.failing.clear()
    taken = guard.do_step(2 * STEP, STEP)
    assert (taken.handovers[0].replayed_steps, taken.plant) == (2, alone(History(), [0.0, 0.0, 3.0])[2])


def test_what_is_written_while_it_cannot_catch_up_comes_behind_what_it_has_missed() -> None:
    plant, expected = History(failing={STEP}), History()
    guard = Guard(plant, Wary(), 1)
    drive(guard, [0.0, 0.5])
    guard.write(3.0)
    with pytest.raises(PlantError):
        guard.do_step(2 * STEP, STEP)
    guard.write(4.0)
    plant.failing.clear()
    alone(expected, [0.0, 0.5])
    expected.write(3.0)
    expected.write(4.0)
    assert guard.do_step(2 * STEP, STEP).plant == expected.do_step(2 * STEP, STEP)
    assert plant.calls == expected.calls


def test_a_state_knows_what_the_solver_has_caught_up_with_so_far() -> None:
    """Of a catching up that the solver did not end: the steps that it did take are in the log of the hand-over."""
    plant = History(failing={STEP})
    guard = Guard(plant, Wary(), 1)
    drive(guard, [0.0, 0.5])
    guard.write(3.0)
    with pytest.raises(PlantError):
        guard.do_step(2 * STEP, STEP)
    state, calls = guard.save(), list(plant.calls)
    plant.failing.clear()
    first = guard.do_step(2 * STEP, STEP)
    guard.load(state)
    plant.calls = calls
    again = guard.do_step(2 * STEP, STEP)
    assert [entry.communication_point for entry in again.replayed] == [0.0, STEP]
    assert (again.replayed, again.plant) == (first.replayed, first.plant)
    assert again.handovers[0].replayed_steps == 2 and again.handovers[0].reason == "value 3 is above 1"


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="steps_inside is 0; it must be at least 1"):
        Guard(History(), Wary(), 0)
    with pytest.raises(ValueError, match="needs a surrogate"):
        Guard(History(), None, 3)
