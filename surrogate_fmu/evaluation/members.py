"""Surrogate runs from a built artefact: one seed per run, one run per row of conditions."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import (
    CallOrderError,
    DatasetError,
    DeviceError,
    InputError,
    ServiceError,
    SessionError,
    StepSizeError,
)
from surrogate_fmu.manifest import Manifest, ZMode
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.variables import Causality, Variable, with_causality

Array = NDArray[np.float64]
Members = Callable[[Array, NDArray[np.int64]], Array]
"""(conditions (run, step, condition), seeds (run,)) -> outputs (run, step + 1, output), physical units.

A run that the artefact cannot go on with holds nan from there on.
"""
Progress = Callable[[Iterable[int], int], Iterable[int]]

_MISUSE = (CallOrderError, InputError, StepSizeError, DeviceError, ServiceError)


class SteppedSession(Protocol):
    """What is asked of a session, in this process, in an FMU, or behind a service."""

    def initialize(self) -> Mapping[str, Any]: ...

    def do_step(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


def check_same_interface(manifest: Manifest, variables: tuple[Variable, ...], communication_step_size: float) -> None:
    """Compare what the artefact takes and gives with what was recorded.

    Raises:
        DatasetError: names, order, units or the step size differ.
    """
    for what, ours, theirs in (
        ("inputs", manifest.inputs, with_causality(variables, Causality.INPUT)),
        ("parameters", manifest.parameters, with_causality(variables, Causality.PARAMETER)),
        ("outputs", manifest.outputs, with_causality(variables, Causality.OUTPUT)),
    ):
        described, recorded = ([f"{v.name} [{v.unit}]" for v in side] for side in (ours, theirs))
        if described != recorded:
            raise DatasetError(
                f"the {what} of the artefact {manifest.name!r} are {described}, those of the dataset {recorded}; "
                "verify an artefact on a dataset of the plant that it was trained on"
            )
    if not np.isclose(manifest.step_size, communication_step_size, rtol=1e-9):
        raise DatasetError(
            f"the artefact {manifest.name!r} steps by {manifest.step_size:g} s, the dataset by {communication_step_size:g} s; "
            "record the test set at the artefact's step"
        )


def batched_members(bundle: Bundle, z_mode: ZMode = ZMode.SAMPLED, device: str = "cpu") -> Members:
    """Runs of a bundle, all at once: for long rollouts and looks during training."""

    def members(conditions: Array, seeds: NDArray[np.int64]) -> Array:
        return rollout(bundle, conditions, seeds, z_mode, device)

    return members


def session_members(
    bundle: Bundle, z_mode: ZMode = ZMode.SAMPLED, device: str = "cpu", progress: Progress | None = None
) -> Members:
    """Runs of a bundle through `Session`, step by step as any host would."""

    def open_session(seed: int, values: Mapping[str, float]) -> SteppedSession:
        return Session(bundle, seed=seed, z_mode=z_mode, parameters=values, device=device)

    return stepped_members(open_session, bundle.manifest, progress)


def fmu_members(path: Path, z_mode: ZMode = ZMode.SAMPLED, device: str = "cpu", progress: Progress | None = None) -> Members:
    """Runs of a built FMU through an FMI master: the artefact itself, binaries, XML and all."""
    from surrogate_fmu.fmu.master import FmuSession

    with_manifest = FmuSession(path, device=device)
    manifest: Manifest = with_manifest.manifest
    with_manifest.close()

    def open_session(seed: int, values: Mapping[str, float]) -> SteppedSession:
        session: SteppedSession = FmuSession(path, seed=seed, z_mode=z_mode.value, parameters=values, device=device)
        return session

    return stepped_members(open_session, manifest, progress)


def stepped_members(
    open_session: Callable[[int, Mapping[str, float]], SteppedSession], manifest: Manifest, progress: Progress | None = None
) -> Members:
    """Runs of any stepped session, one new session per run.

    Args:
        open_session: makes one from a seed and the values of parameters and first inputs.
        manifest: of the artefact; scalar variables only, as recorded datasets have them.
        progress: wraps the iterator over runs, given their number.
    """
    condition_names = [v.name for v in manifest.condition]
    input_names = [v.name for v in manifest.inputs]
    output_names = [v.name for v in manifest.outputs]

    def members(conditions: Array, seeds: NDArray[np.int64]) -> Array:
        runs, steps = conditions.shape[:2]
        outputs = np.full((runs, steps + 1, len(output_names)), np.nan)
        for run in progress(range(runs), runs) if progress else range(runs):
            first = dict(zip(condition_names, conditions[run, 0].tolist(), strict=True))
            session = open_session(int(seeds[run]), first)
            try:
                point = session.initialize()
                outputs[run, 0] = [point[name] for name in output_names]
                for step in range(steps):
                    # zip ends with the inputs: parameters stand behind them and are fixed
                    point = session.do_step(dict(zip(input_names, conditions[run, step].tolist(), strict=False)))
                    outputs[run, step + 1] = [point[name] for name in output_names]
            except _MISUSE:
                raise
            except SessionError:
                continue  # the generator failed: the rest stays nan, which the divergence gate counts
            finally:
                session.close()
        return outputs

    return members
