"""Ensembles inside the Python FMU: what the native FMU tells, from members that are sessions with the following seeds."""

from pathlib import Path

import numpy as np
import pytest
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import InputError
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.interface import INTEGER_MAX, LONG_MAX
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.session import Session

MEMBERS, QUANTILES = 7, (0.05, 0.5, 0.975)
NAMES = ("mean", "std", "q05", "q50", "q97_5")


def read(session: FmuSession, *names: str) -> list[float]:
    return session._call(session._fmu.getReal, [session._references[name] for name in names])


@pytest.fixture(scope="module")
def ensemble_fmu(toy_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fmus") / "ensemble.fmu"
    return build_python_fmu(toy_bundle, path, fmi=fmi, ensemble=MEMBERS, quantiles=QUANTILES)


def test_members_are_sessions_with_the_following_seeds(ensemble_fmu: Path, toy_bundle: Bundle):
    assert validate_fmu(str(ensemble_fmu)) == []
    alone = [Session(toy_bundle, seed=11 + member) for member in range(MEMBERS)]
    with FmuSession(ensemble_fmu, seed=11) as together:
        first, members = together.initialize(), [session.initialize() for session in alone]
        for step in range(6):
            assert first == pytest.approx(members[0], rel=1e-6)
            for name in ("temperature", "flow"):
                values = np.array([member[name] for member in members])
                expected = [values.mean(), values.std(ddof=1), *np.quantile(values, QUANTILES)]
                assert read(together, *(f"{name}.{s}" for s in NAMES)) == pytest.approx(expected, rel=1e-5, abs=1e-5)
            inputs = {"power": 5.0 * step}
            first, members = together.do_step(inputs), [session.do_step(inputs) for session in alone]


def test_what_the_native_fmu_tells(ensemble_fmu: Path, toy_bundle: Bundle, fmi: FmiVersion, tmp_path: Path):
    config = BuildConfig(fmi=fmi, ensemble=MEMBERS, quantiles=QUANTILES)
    names = [f"{name}.{s}" for name in ("temperature", "flow") for s in NAMES]
    with (
        FmuSession(ensemble_fmu, seed=5) as ours,
        FmuSession(build_native_fmu(toy_bundle, tmp_path / "n.fmu", config), seed=5) as native,
    ):
        for session in (ours, native):
            session.initialize()
            session.do_step({"power": 12.0})
            session.do_step(communication_step_size=6.0)
        assert read(ours, *names) == pytest.approx(read(native, *names), rel=1e-5, abs=1e-5)


def test_state_and_seed(ensemble_fmu: Path, fmi: FmiVersion):
    largest = (INTEGER_MAX if fmi is FmiVersion.V2 else LONG_MAX) - (MEMBERS - 1)
    with pytest.raises(InputError, match=str(largest)):
        FmuSession(ensemble_fmu, seed=largest + 1)
    with FmuSession(ensemble_fmu, seed=largest) as session:
        session.initialize()
        session.do_step()
        snapshot = session.snapshot()
        session.do_step({"power": 20.0})
        expected = read(session, "flow.mean", "flow.q50", "temperature.std")
        session.restore(snapshot)
        session.do_step({"power": 20.0})
        assert read(session, "flow.mean", "flow.q50", "temperature.std") == expected


def test_arrays_of_an_ensemble(field_bundle: Bundle, fmi: FmiVersion, tmp_path: Path):
    path = build_python_fmu(field_bundle, tmp_path / "field.fmu", fmi=fmi, ensemble=3)
    config = BuildConfig(fmi=fmi, ensemble=3)
    with FmuSession(path, seed=2) as ours, FmuSession(build_native_fmu(field_bundle, tmp_path / "n.fmu", config), seed=2) as native:
        for session in (ours, native):
            session.initialize()
            session.do_step()
        names = [name for name in ours._references if name.partition("[")[0].endswith((".mean", ".std", ".q05", ".q95"))]
        assert names and names == [name for name in native._references if name in names]
        assert read(ours, *names) == pytest.approx(read(native, *names), rel=1e-5, abs=1e-5)
