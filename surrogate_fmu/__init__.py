"""Record a slow co-simulation component, train a conditional generator on it, and put it in its place.

The names below are the public interface; each is imported when it is first used, so `import surrogate_fmu` is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogate_fmu.bundle.archive import Bundle as Bundle
    from surrogate_fmu.bundle.archive import read_bundle as read_bundle
    from surrogate_fmu.calibration.calibrate import calibrate as calibrate
    from surrogate_fmu.calibration.config import CalibrationConfig as CalibrationConfig
    from surrogate_fmu.calibration.posterior import read_posterior as read_posterior
    from surrogate_fmu.calibration.reading import read_measurements as read_measurements
    from surrogate_fmu.calibration.resume import open_member as open_member
    from surrogate_fmu.config import load_config as load_config
    from surrogate_fmu.dataset.store import read_trajectories as read_trajectories
    from surrogate_fmu.errors import SurrogateError as SurrogateError
    from surrogate_fmu.fmu.master import FmuSession as FmuSession
    from surrogate_fmu.manifest import Manifest as Manifest
    from surrogate_fmu.runtime.contract import check_session as check_session
    from surrogate_fmu.runtime.session import Session as Session
    from surrogate_fmu.service.client import connect as connect
    from surrogate_fmu.variables import Variable as Variable

_HOMES = {
    "Bundle": "bundle.archive",
    "CalibrationConfig": "calibration.config",
    "FmuSession": "fmu.master",
    "Manifest": "manifest",
    "Session": "runtime.session",
    "SurrogateError": "errors",
    "Variable": "variables",
    "calibrate": "calibration.calibrate",
    "check_session": "runtime.contract",
    "connect": "service.client",
    "load_config": "config",
    "open_member": "calibration.resume",
    "read_bundle": "bundle.archive",
    "read_measurements": "calibration.reading",
    "read_posterior": "calibration.posterior",
    "read_trajectories": "dataset.store",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"surrogate_fmu has no {name!r}; there are {', '.join(_HOMES)}")
    return getattr(importlib.import_module(f"surrogate_fmu.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
