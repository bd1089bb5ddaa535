"""The ways to make surrogate runs agree: batched, through a session, through a built FMU."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import InputError, SessionError
from surrogate_fmu.evaluation.members import batched_members, fmu_members, seconds_per_step, session_members, stepped_members
from surrogate_fmu.manifest import ZMode
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.runtime.session import Session
from tests.evaluation import worlds

SEEDS = np.array([3, 4, 5])


@pytest.mark.parametrize("z_mode", [ZMode.SAMPLED, ZMode.MEAN, ZMode.HELD])
def test_a_batch_agrees_with_sessions_to_float32(toy_bundle: Bundle, z_mode: ZMode) -> None:
    conditions = worlds.toy_conditions(3, 70)  # longer than what a session draws ahead
    batch = batched_members(toy_bundle, z_mode)(conditions, SEEDS)
    assert batch.shape == (3, 71, 2)
    np.testing.assert_allclose(batch, session_members(toy_bundle, z_mode)(conditions, SEEDS), rtol=2e-6, atol=2e-5)


def test_rollout_refuses_what_does_not_fit(toy_bundle: Bundle) -> None:
    conditions = worlds.toy_conditions(3, 5)
    with pytest.raises(InputError, match=r"expected \(batch, step, 3\): power"):
        rollout(toy_bundle, conditions[..., :2], SEEDS)
    with pytest.raises(InputError, match="2 seeds for 3 runs"):
        rollout(toy_bundle, conditions, SEEDS[:2])
    with pytest.raises(InputError, match="z_mode 'external' needs a caller"):
        rollout(toy_bundle, conditions, SEEDS, ZMode.EXTERNAL)


def test_a_generator_that_fails_leaves_the_rest_of_its_run_empty(toy_bundle: Bundle) -> None:
    class Failing(Session):
        def do_step(self, inputs=None, z=None, communication_step_size=None):
            if self.seed == 4 and self.step_index == 2:
                raise SessionError("the generator gave values that are not finite")
            return super().do_step(inputs, z, communication_step_size)

    outputs = stepped_members(lambda: Failing(toy_bundle))(worlds.toy_conditions(3, 5), SEEDS)
    assert np.isnan(outputs[1, 3:]).all() and np.isfinite(outputs[1, :3]).all() and np.isfinite(outputs[[0, 2]]).all()


def test_inputs_that_a_session_refuses_are_an_error_not_a_divergence(toy_bundle: Bundle) -> None:
    conditions = worlds.toy_conditions(3, 5)
    conditions[1, 2, 0] = 1e6
    with pytest.raises(InputError, match="power"):
        session_members(toy_bundle)(conditions, SEEDS)


def test_a_step_takes_time(toy_bundle: Bundle) -> None:
    with Session(toy_bundle) as session:
        assert 1e-6 < seconds_per_step(session, worlds.toy_conditions(1, 20)[0]) < 1.0


def test_a_built_fmu_agrees_with_a_session(toy_bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("fmpy")
    pytest.importorskip("pythonfmu")
    from surrogate_fmu.fmu.build import build_python_fmu

    path = build_python_fmu(toy_bundle, tmp_path / "thermal_mass.fmu")
    conditions = worlds.toy_conditions(3, 12)
    np.testing.assert_array_equal(fmu_members(path)(conditions, SEEDS), session_members(toy_bundle)(conditions, SEEDS))
