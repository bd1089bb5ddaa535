"""Every runtime takes and refuses the same communication steps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import StepSizeError
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from tests.toy import STEP_SIZE

# A step from a communication point on; raises StepSizeError.
Step = Callable[[float, float], None]

THIRD = 1e9 / 3
ULP = float(np.spacing(THIRD))
# communication point, communication step over the generator's, whether it is taken
CASES = [
    (0.0, 1.0, True),
    (0.0, 3.0 * (1 + 0.9e-9), True),
    (0.0, 3.0 * (1 - 0.9e-9), True),
    (0.0, 1.0 + 1.1e-9, False),
    (0.0, 3.0 * (1 + 1.1e-9), False),
    (0.0, 1.5, False),
    (0.0, 0.0, False),
    (0.0, -1.0, False),
    (0.0, float("nan"), False),
    (0.0, float("inf"), False),
    (0.0, 1e18, False),
    (100.0, 1.0 + 1.1e-9, False),
    (THIRD, ((THIRD + STEP_SIZE) - THIRD) / STEP_SIZE, True),
    (THIRD, 1.0 + 2 * ULP / STEP_SIZE, True),
    (THIRD, 1.0 - 2 * ULP / STEP_SIZE, True),
    (-THIRD, 1.0 - 2 * ULP / STEP_SIZE, True),
    (0.0, 1.0 - 2 * ULP / STEP_SIZE, False),
    (THIRD, 1.0 + 20 * ULP / STEP_SIZE, False),
    (THIRD, 1.5, False),
    (1e13, 1.0 + 2e-3, True),
]


@pytest.fixture(scope="module")
def fmus(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("steps")
    built = {}
    for fmi in FmiVersion:
        built[f"Python FMU {fmi}"] = build_python_fmu(toy_bundle, folder / f"python_{fmi}.fmu", fmi=fmi)
        built[f"native FMU {fmi}"] = build_native_fmu(toy_bundle, folder / f"thermal_mass_{fmi}.fmu", BuildConfig(fmi=fmi))
    return built


@pytest.fixture(params=["session", *(f"{kind} FMU {fmi}" for kind in ("Python", "native") for fmi in FmiVersion)])
def step(request: pytest.FixtureRequest, toy_bundle: Bundle, fmus: dict[str, Path]) -> Step:
    if request.param == "session":

        def step(point: float, size: float) -> None:
            session = Session(toy_bundle)
            session.initialize()
            session.do_step(communication_step_size=size, communication_point=point)

    else:

        def step(point: float, size: float) -> None:
            with FmuSession(fmus[request.param], start_time=point) as session:
                session.initialize()
                session._call(session._fmu.doStep, point, size)

    return step


def test_runtimes_take_and_refuse_the_same_steps(step: Step) -> None:
    for point, ratio, taken in CASES:
        if taken:
            step(point, ratio * STEP_SIZE)
        else:
            with pytest.raises(StepSizeError):
                step(point, ratio * STEP_SIZE)


def test_the_service_counts_from_the_start_of_the_run(toy_bundle: Bundle) -> None:
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0")) as server, connect(server.address) as service:
        for point, ratio, taken in CASES:
            if point == 0.0:
                session = service.open("thermal_mass")
                if taken:
                    session.do_step(communication_step_size=ratio * STEP_SIZE)
                else:
                    with pytest.raises(StepSizeError):
                        session.do_step(communication_step_size=ratio * STEP_SIZE)
                session.close()


@pytest.mark.parametrize("start", [0.0, THIRD, 1e13])
def test_masters_may_calculate_times_in_their_way(fmus: dict[str, Path], start: float) -> None:
    """Points as multiples of a step from the start, step sizes as their differences, and points as sums of step sizes."""
    for path in fmus.values():
        for sums in (False, True):
            with FmuSession(path, start_time=start) as session:
                session.initialize()
                point = start
                for k in range(1, 20):
                    following = start + k * STEP_SIZE
                    size = following - point
                    session._call(session._fmu.doStep, point, size)
                    point = point + size if sums else following
                with pytest.raises(StepSizeError, match="the run stands at"):
                    session._call(session._fmu.doStep, point + STEP_SIZE, STEP_SIZE)
