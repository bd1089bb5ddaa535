"""Surrogate runs from a built artefact: one seed per run, one run per row of conditions."""

import time
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
from surrogate_fmu.plant.protocol import Plant
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.variables import Causality, Variable, with_causality

Array = NDArray[np.float64]
Members = Callable[[Array, NDArray[np.int64]], Array]
"""(conditions (run, step, condition), seeds (run,)) -> outputs (run, step + 1, output), physical units.

A run that the artefact cannot go on with holds nan from there on.
"""
Progress = Callable[[Iterable[int], int], Iterable[int]]


def _plain(runs: Iterable[int], total: int) -> Iterable[int]:
    return runs


_MISUSE = (CallOrderError, InputError, StepSizeError, DeviceError, ServiceError)


class SteppedSession(Protocol):
    """What is asked of a session, in this process, in an FMU, or behind a service; see `runtime.session.Session`."""

    @property
    def manifest(self) -> Manifest: ...

    def reset(self) -> None: ...

    def configure(self, seed: int) -> None: ...

    def set_values(self, values: Mapping[str, Any]) -> None: ...

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


def session_members(bundle: Bundle, z_mode: ZMode = ZMode.SAMPLED, device: str = "cpu", progress: Progress = _plain) -> Members:
    """Runs of a bundle through `Session`, step by step as any host would."""
    return stepped_members(lambda: Session(bundle, z_mode=z_mode, device=device), progress)


def fmu_members(path: Path, z_mode: ZMode = ZMode.SAMPLED, device: str = "cpu", progress: Progress = _plain) -> Members:
    """Runs of a built FMU through an FMI master: the artefact itself, binaries, XML and all.

    Raises:
        BuildError: the file is no FMU of a surrogate.
    """
    from surrogate_fmu.fmu.master import FmuSession
    from surrogate_fmu.fmu.unpacked import unpack_fmu

    unpacked = unpack_fmu(path)
    return stepped_members(lambda: FmuSession(unpacked, z_mode=z_mode, device=device), progress)


def stepped_members(open_session: Callable[[], SteppedSession], progress: Progress = _plain) -> Members:
    """Runs of any stepped session: one instance, reset before every run, so that what a run leaves behind would show.

    Parameters and first inputs are set before the start. Scalar variables only, as recorded datasets have them.

    Args:
        open_session: makes a session; it is closed when the runs are done.
        progress: wraps the iterator over runs, given their number.
    """

    def members(conditions: Array, seeds: NDArray[np.int64]) -> Array:
        session = open_session()
        try:
            return np.stack([_run(session, conditions[run], int(seeds[run])) for run in progress(range(len(seeds)), len(seeds))])
        finally:
            session.close()

    return members


def seconds_per_step(session: SteppedSession, conditions: Array, seed: int = 0) -> float:
    """Median wall time of one `do_step` [s] over a run after warming up.

    Args:
        conditions: (step, condition), at least 2 steps; the first half warms up.
    """
    times: list[float] = []
    _run(session, conditions, seed, times)
    return float(np.median(times[len(times) // 2 :]))


def plant_seconds_per_step(plant: Plant, conditions: Array, seed: int = 1) -> float:
    """Median wall time of one `do_step` [s] of the plant itself over a run after warming up.

    Args:
        conditions: (step, condition), inputs and parameters in the order of the plant's variables, at least 2 steps.
    """
    inputs, parameters = (
        [v.name for v in with_causality(plant.variables, causality)] for causality in (Causality.INPUT, Causality.PARAMETER)
    )
    plant.reset(seed, dict(zip(parameters, conditions[0, len(inputs) :].tolist(), strict=True)))
    times = []
    for row in conditions[:, : len(inputs)].tolist():
        started = time.perf_counter()
        plant.do_step(dict(zip(inputs, row, strict=True)), plant.communication_step_size)
        times.append(time.perf_counter() - started)
    return float(np.median(times[len(times) // 2 :]))


def _run(session: SteppedSession, conditions: Array, seed: int, times: list[float] | None = None) -> Array:
    manifest = session.manifest
    input_names, output_names = [v.name for v in manifest.inputs], [v.name for v in manifest.outputs]
    outputs = np.full((len(conditions) + 1, len(output_names)), np.nan)
    session.reset()
    session.configure(seed)
    session.set_values(dict(zip([v.name for v in manifest.condition], conditions[0].tolist(), strict=True)))
    try:
        point = session.initialize()
        outputs[0] = [point[name] for name in output_names]
        for step, row in enumerate(conditions[:, : len(input_names)].tolist()):
            started = time.perf_counter()
            point = session.do_step(dict(zip(input_names, row, strict=True)))
            if times is not None:
                times.append(time.perf_counter() - started)
            outputs[step + 1] = [point[name] for name in output_names]
    except _MISUSE:
        raise
    except SessionError:
        return outputs  # the generator failed: the rest stays nan, which the divergence gate counts
    return outputs
