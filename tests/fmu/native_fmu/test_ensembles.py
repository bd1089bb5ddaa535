"""Members that step together, and what is told of them."""

from pathlib import Path

import numpy as np
import pytest
from fmpy.validation import validate_fmu

from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.manifest import DomainPolicy
from tests.fmu.native_fmu.conftest import BuildToy

MEMBERS = 7


@pytest.fixture(scope="module")
def ensemble_fmu(build_toy: BuildToy, fmi: FmiVersion) -> Path:
    return build_toy(fmi=fmi, ensemble=MEMBERS, quantiles=(0.05, 0.5, 0.975), external_latents=True)


def read(session: FmuSession, *names: str) -> list[float]:
    return session._call(session._fmu.getReal, [session._references[name] for name in names])


def test_members_are_instances_with_the_following_seeds(ensemble_fmu: Path, native_fmu: Path) -> None:
    alone = [FmuSession(native_fmu, seed=11 + m) for m in range(MEMBERS)]
    with FmuSession(ensemble_fmu, seed=11) as together:
        first = together.initialize()
        members = [session.initialize() for session in alone]
        for step in range(6):
            assert first == members[0]  # the plain outputs are those of the first member
            for name in ("temperature", "flow"):
                values = np.array([member[name] for member in members])
                found = read(together, *(f"{name}.{s}" for s in ("mean", "std", "q05", "q50", "q97_5")))
                expected = [values.mean(), values.std(ddof=1), *np.quantile(values, [0.05, 0.5, 0.975])]
                assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
            inputs = {"power": 5.0 * step}
            first = together.do_step(inputs)
            members = [session.do_step(inputs) for session in alone]
    for session in alone:
        session.close()


def test_state_and_reset_hold_all_members(ensemble_fmu: Path) -> None:
    with FmuSession(ensemble_fmu, seed=3) as session:
        session.initialize()
        session.do_step()
        snapshot = session.snapshot()
        session.do_step({"power": 20.0})
        expected = read(session, "flow.mean", "flow.q50", "temperature.std")
        session.restore(snapshot)
        session.do_step({"power": 20.0})
        assert read(session, "flow.mean", "flow.q50", "temperature.std") == expected
        session.reset()
        session.initialize()
        session.do_step()
        session.do_step({"power": 20.0})
    with FmuSession(ensemble_fmu, seed=3) as fresh:
        fresh.initialize(), fresh.do_step(), fresh.do_step({"power": 20.0})
        assert read(fresh, "flow.mean", "flow.q50", "temperature.std") == expected


def test_members_agree_where_the_latents_do(ensemble_fmu: Path) -> None:
    for z_mode in ("mean", "external"):
        with FmuSession(ensemble_fmu, seed=3, z_mode=z_mode) as session:
            session.initialize()
            session.do_step(z=[0.5, -1.0, 2.0] if z_mode == "external" else None)
            assert read(session, "temperature.std", "flow.std") == [0.0, 0.0]
            assert read(session, "flow.mean", "flow.q05") == pytest.approx([session.outputs["flow"]] * 2, rel=1e-12)


def test_the_worst_member_decides_whether_it_is_inside(ensemble_fmu: Path) -> None:
    with FmuSession(ensemble_fmu, domain_policy=DomainPolicy.WARN) as session:
        session.initialize()
        session.do_step({"power": 55.0})
        assert session.domain_distance == pytest.approx(0.05)


def test_statistics_are_described(ensemble_fmu: Path) -> None:
    from fmpy import read_model_description

    assert validate_fmu(str(ensemble_fmu)) == []
    listed = {v.name: v for v in read_model_description(str(ensemble_fmu)).modelVariables}
    assert listed["temperature.mean"].unit == listed["temperature.std"].unit == "K"
    assert listed["temperature.mean"].causality == "output"
    assert int(listed["seed"].max) in (2**31 - MEMBERS, 2**63 - MEMBERS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ensemble": 0}, "ensemble 0"),
        ({"ensemble": 10**6}, "ensemble 1000000"),
        ({"ensemble": 4, "quantiles": (1.5,)}, "quantiles"),
        ({"ensemble": 4, "quantiles": (0.5, 0.5)}, "quantiles"),
        ({"quantiles": (0.5,)}, "quantiles are over the members"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        BuildConfig(**options)
    assert issubclass(BuildError, Exception)
