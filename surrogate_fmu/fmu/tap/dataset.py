"""Logs of a tap as a dataset: the plant with the inputs that it really gets."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.fmu.tap.reading import Array, TapRun
from surrogate_fmu.variables import Causality, Variable

_TOLERANCE = 1e-6  # of the step: masters sum floats


def dataset_of(runs: Sequence[TapRun], steps: int | None = None) -> tuple[Trajectories, list[str]]:
    """Inputs and the plant's outputs from the start of each run, as far as both are known.

    Of a guarded run that is as far as the solver has led or caught up. Parameters are those that differ between the runs; the
    others are in the provenance. A plant without a parameter for its seed has seed 0.

    Args:
        runs: of one plant.
        steps: of every run; longer ones are cut, shorter ones left out. None: those of the shortest.

    Returns:
        The dataset, and a sentence for each run that is left out.

    Raises:
        DatasetError: no run can be used, or their steps differ.
    """
    usable, left_out = [], []
    lengths = [_known_steps(run) for run in runs]
    wanted = max(steps or min((length for length in lengths if length), default=1), 1)
    for run, length in zip(runs, lengths, strict=True):
        if length < wanted:
            left_out.append(
                f"{run.path.name}: the plant's outputs are known for {length} of its {run.step_count} steps, not for {wanted}"
            )
        else:
            usable.append(run)
    if not usable:
        raise DatasetError(f"no run has {wanted} steps of the plant; {left_out[0]}. Run longer, or give fewer --steps")
    step_size = _step_size(usable, wanted)
    first = usable[0]
    values = [{name: value for name, value in run.parameters.items() if name != run.seed} for run in usable]
    changing = [name for name in values[0] if len({entry[name] for entry in values}) > 1]
    kept = tuple(v for v in first.variables if v.causality is not Causality.PARAMETER or v.name in changing)
    inputs = np.array([run.inputs[:wanted] for run in usable])
    parameters = np.array([[entry[name] for name in _names(kept)] for entry in values]).reshape(len(usable), len(_names(kept)))
    dataset = Trajectories(
        variables=kept,
        communication_step_size=step_size,
        inputs=inputs,
        parameters=parameters,
        outputs=np.array([run.plant[: wanted + 1] for run in usable]),
        plant_seed=np.array([int(run.parameters.get(run.seed, 0)) for run in usable], np.int64),
        schedule=_schedules(inputs, parameters),
        provenance={
            "tap": first.fmu,
            "logs": [run.path.name for run in usable],
            "held": {name: value for name, value in values[0].items() if name not in changing},
        },
    )
    return dataset, left_out


def _schedules(inputs: Array, parameters: Array) -> NDArray[np.int64]:
    """(run,): equal numbers where inputs and parameters are equal."""
    known: dict[bytes, int] = {}
    return np.array(
        [known.setdefault(i.tobytes() + p.tobytes(), len(known)) for i, p in zip(inputs, parameters, strict=True)], np.int64
    )


def _names(variables: Sequence[Variable]) -> list[str]:
    return [v.name for v in variables if v.causality is Causality.PARAMETER]


def _known_steps(run: TapRun) -> int:
    """Steps from the start whose inputs and plant outputs are all there."""
    known = [bool(np.isfinite(row).all()) for row in run.plant]
    if not known[0]:
        return 0
    pairs = zip(known[1:], (bool(np.isfinite(row).all()) for row in run.inputs), strict=True)
    return sum(1 for _ in itertools.takewhile(all, pairs))


def _step_size(runs: Sequence[TapRun], steps: int) -> float:
    size = float(runs[0].times[1] - runs[0].times[0])
    for run in runs:
        sizes = np.diff(run.times[: steps + 1])
        worst = float(sizes[np.argmax(np.abs(sizes - size))])
        if abs(worst - size) > _TOLERANCE * size:
            raise DatasetError(
                f"{run.path.name} has a step of {worst:g} s, and {runs[0].path.name} one of {size:g} s; a dataset has one step "
                "size, so run the system with one, or give logs of equal steps"
            )
    return size
