"""A session under any order of calls, against a model that replays the run from its start."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import CallOrderError, InputError, StepSizeError
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.session import Session, SessionState
from tests.toy import make_toy_bundle

POWERS = st.floats(-100, 100, width=32)
START = {"power": 0.0, "ambient_temperature": 293.15, "temperature_start": 293.15}
BUNDLES: list[Bundle] = []


def bundle() -> Bundle:
    if not BUNDLES:
        BUNDLES.append(make_toy_bundle())
    return BUNDLES[0]


@dataclass(frozen=True)
class Model:
    """What was done to a session since its start, as plain values."""

    seed: int
    z_mode: ZMode
    policy: DomainPolicy
    values: tuple[tuple[str, float], ...] = tuple(START.items())
    first: tuple[tuple[str, float], ...] | None = None
    steps: tuple[float, ...] = ()

    def replay(self) -> dict[str, Any]:
        """Outputs of a fresh session that is driven through the same run, one step at a time."""
        assert self.first is not None
        session = Session(bundle(), self.seed, self.z_mode, self.policy, dict(self.first))
        outputs = session.initialize()
        for power in self.steps:
            outputs = session.do_step({"power": power})
        return outputs

    def with_power(self, power: float) -> "Model":
        return replace(self, values=tuple({**dict(self.values), "power": power}.items()))


class SessionMachine(RuleBasedStateMachine):
    """Rules are the calls of a session; after each the outputs are those of a replay."""

    @initialize(
        seed=st.integers(0, 5), z_mode=st.sampled_from(["sampled", "mean", "held"]), policy=st.sampled_from(["warn", "clamp"])
    )
    def open(self, seed: int, z_mode: str, policy: str) -> None:
        self.session = Session(bundle(), seed, z_mode, policy)
        self.made = self.model = Model(seed, ZMode(z_mode), DomainPolicy(policy))
        self.snapshots: list[tuple[bytes, Model]] = []

    @precondition(lambda self: self.model.first is None)
    @rule(seed=st.integers(0, 5))
    def configure(self, seed: int) -> None:
        self.session.configure(seed=seed)
        self.model = replace(self.model, seed=seed)

    @precondition(lambda self: self.model.first is None)
    @rule(temperature=st.floats(280, 310))
    def set_parameter(self, temperature: float) -> None:
        self.session.set_values({"temperature_start": temperature})
        self.model = replace(self.model, values=tuple({**dict(self.model.values), "temperature_start": temperature}.items()))

    @rule(power=POWERS)
    def set_input(self, power: float) -> None:
        self.session.set_values({"power": power})
        self.model = self.model.with_power(power)

    @precondition(lambda self: self.model.first is None)
    @rule()
    def initialize_run(self) -> None:
        self.session.initialize()
        self.model = replace(self.model, first=self.model.values)

    @precondition(lambda self: self.model.first is not None)
    @rule(power=st.none() | POWERS, count=st.integers(1, 3))
    def do_step(self, power: float | None, count: int) -> None:
        self.session.do_step(None if power is None else {"power": power}, communication_step_size=2.0 * count)
        if power is not None:
            self.model = self.model.with_power(power)
        self.model = replace(self.model, steps=self.model.steps + (dict(self.model.values)["power"],) * count)

    @rule()
    def reset(self) -> None:
        self.session.reset()
        self.model = self.made

    @rule()
    def take_snapshot(self) -> None:
        self.snapshots.append((self.session.snapshot(), self.model))

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), elsewhere=st.booleans())
    def restore(self, data: st.DataObject, elsewhere: bool) -> None:
        snapshot, model = data.draw(st.sampled_from(self.snapshots))
        if elsewhere:
            self.session = Session(bundle(), self.made.seed, self.made.z_mode, self.made.policy)
        self.session.restore(snapshot)
        self.model = model

    @rule(power=st.sampled_from([float("nan"), 101.0]))
    def give_a_bad_value(self, power: float) -> None:
        with pytest.raises(InputError, match="'power'"):
            self.session.set_values({"ambient_temperature": 300.0, "power": power})

    @rule()
    def step_badly(self) -> None:
        with pytest.raises(CallOrderError if self.model.first is None else StepSizeError):
            self.session.do_step({"power": 1.0}, communication_step_size=3.0)

    @invariant()
    def values_are_those_set(self) -> None:
        assert self.session.values == dict(self.model.values)
        assert (self.session.seed, self.session.step_index) == (self.model.seed, len(self.model.steps))

    @invariant()
    def outputs_are_those_of_a_replay(self) -> None:
        if self.model.first is None:
            assert self.session.state is SessionState.INSTANTIATED
        else:
            assert self.session.outputs == self.model.replay()


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=80, stateful_step_count=20, deadline=None)
