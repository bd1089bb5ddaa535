"""The contract over the in-process session, and the checker itself over sessions that break it."""

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.contract import ContractError, check_session
from surrogate_fmu.runtime.session import Session


def test_session_keeps_the_contract(toy_bundle: Bundle):
    report = check_session(lambda **options: Session(toy_bundle, **options), toy_bundle.manifest)
    assert len(report.kept) == 15


class _AdvancingOnRead(Session):
    @property
    def outputs(self):
        values = super().outputs
        self._run = self._run._replace(step_index=self._run.step_index + 1)
        return values


class _ForgettingReset(Session):
    def reset(self):
        hidden = self._run.hidden
        super().reset()
        if hidden is not None:
            self._declared = self._run = self._run._replace(condition=tuple(c + 1.0 for c in self._run.condition))


class _SwallowingErrors(Session):
    def do_step(self, inputs=None, z=None, communication_step_size=None):
        try:
            return super().do_step(inputs, z, communication_step_size)
        except Exception:
            return self.outputs


class _SharedSeed(Session):
    def __init__(self, bundle, **options):
        super().__init__(bundle, **{**options, "seed": 0})


@pytest.mark.parametrize(
    ("session_class", "clause"),
    [
        (_AdvancingOnRead, "do_step advances once"),
        (_ForgettingReset, "reset equals a fresh instance"),
        (_SwallowingErrors, "a refused call says why"),
        (_SharedSeed, "same seed and inputs"),
    ],
)
def test_checker_sees_a_broken_session(toy_bundle: Bundle, session_class, clause):
    with pytest.raises(ContractError, match=f"BROKEN  .*{clause}"):
        check_session(lambda **options: session_class(toy_bundle, **options), toy_bundle.manifest)
