"""Random histories: a native FMU does what the session in Python does, refusals included."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import SessionError
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.session import Session
from tests.toy import STEP_SIZE

NUMBERS = st.one_of(st.floats(-120.0, 120.0), st.sampled_from([50.0, -50.0, 0.0, float("nan"), float("inf"), 1e30]))
TEMPERATURES = st.one_of(st.floats(200.0, 400.0), st.sampled_from([270.0, 320.0, 199.0, float("-inf")]))
LATENTS = st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3)


class Histories(RuleBasedStateMachine):
    """One history, lived by both."""

    bundle: ClassVar[Bundle]
    fmu_path: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.fmu: Any = FmuSession(self.fmu_path)
        self.session: Any = Session(self.bundle)
        self.saved: list[tuple[bytes, bytes]] = []

    def teardown(self) -> None:
        self.fmu.close()

    def both(self, name: str, *arguments: Any, **options: Any) -> None:
        answers = []
        for one in (self.fmu, self.session):
            try:
                answers.append(getattr(one, name)(*arguments, **options))
            except SessionError as error:
                answers.append(type(error))
        mine, theirs = answers
        if isinstance(theirs, dict):
            assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-3), name
        else:
            # A call that is wrong in two ways may be refused for either.
            assert (mine is None) == (theirs is None), (name, arguments, options, answers)

    @rule(seed=st.integers(0, 2**31 - 1), z_mode=st.sampled_from(ZMode), policy=st.sampled_from(DomainPolicy))
    def configure(self, seed: int, z_mode: ZMode, policy: DomainPolicy) -> None:
        self.both("configure", seed, z_mode, policy)

    @rule(start=TEMPERATURES, power=NUMBERS)
    def set_values(self, start: float, power: float) -> None:
        self.both("set_values", {"temperature_start": start})
        self.both("set_values", {"power": power})

    @rule()
    def initialize(self) -> None:
        self.both("initialize")

    @rule(power=NUMBERS, ambient=TEMPERATURES, steps=st.sampled_from([1, 1, 1, 2, 7, 0, 0.5]))
    def do_step(self, power: float, ambient: float, steps: float) -> None:
        self.both("do_step", {"power": power, "ambient_temperature": ambient}, communication_step_size=steps * STEP_SIZE)

    @rule(z=LATENTS)
    def do_step_with_latents(self, z: list[float]) -> None:
        self.both("do_step", z=z)

    @rule()
    def reset(self) -> None:
        self.both("reset")

    @rule()
    def save(self) -> None:
        self.saved.append((self.fmu.snapshot(), self.session.snapshot()))

    @rule(which=st.integers(0, 5))
    def restore(self, which: int) -> None:
        if self.saved:
            mine, theirs = self.saved[which % len(self.saved)]
            self.fmu.restore(mine)
            self.session.restore(theirs)

    @invariant()
    def they_agree(self) -> None:
        assert self.fmu.values == self.session.values
        assert (self.fmu.seed, self.fmu.z_mode, self.fmu.domain_policy) == (
            self.session.seed,
            self.session.z_mode,
            self.session.domain_policy,
        )
        assert self.fmu.step_index == self.session.step_index
        if str(self.session.state) == "running":
            assert self.fmu.outputs == pytest.approx(self.session.outputs, rel=1e-5, abs=1e-3)
            assert self.fmu.domain_distance == pytest.approx(self.session.domain_distance, abs=1e-4)


def test_random_histories_agree(toy_bundle: Bundle, latent_native_fmu: Path) -> None:
    Histories.bundle, Histories.fmu_path = toy_bundle, latent_native_fmu
    run_state_machine_as_test(Histories, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
