"""Logs of taps as arrays."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import DatasetError
from surrogate_fmu.fmu.tap.guard import Handover, Leader
from surrogate_fmu.fmu.tap.log import FORMAT, SUFFIX
from surrogate_fmu.fmu.tap.plan import Mode
from surrogate_fmu.schema import SchemaError, decode
from surrogate_fmu.variables import Causality, Variable, with_causality

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TapRun:
    """One run, as far as its log goes.

    Attributes:
        path: of the log.
        fmu, surrogate: names of the files in the tap; no surrogate is "".
        mode: of the tap.
        seed: name of the plant's seed parameter; empty where there is none.
        variables: what is logged: inputs, parameters, outputs.
        parameters: values at the start by name.
        times: (point,) [s], the start and the end of each step.
        inputs: (step, input), as they were held.
        plant, surrogate_outputs: (point, output); not a number where it is not known.
        plant_leads: (step,), whose outputs the master got.
        plant_s, surrogate_s: (step,), wall time [s], without replays.
        handovers: changes of the leader.
    """

    path: Path
    fmu: str
    surrogate: str
    mode: Mode
    seed: str
    variables: tuple[Variable, ...]
    parameters: Mapping[str, float]
    times: Array
    inputs: Array
    plant: Array
    surrogate_outputs: Array
    plant_leads: NDArray[np.bool_]
    plant_s: Array
    surrogate_s: Array
    handovers: tuple[Handover, ...]

    def names(self, causality: Causality) -> tuple[str, ...]:
        """Names of the variables of one causality, in column order."""
        return tuple(v.name for v in with_causality(self.variables, causality))

    @property
    def step_count(self) -> int:
        """Steps that were taken."""
        return len(self.inputs)

    @property
    def given(self) -> Array:
        """What the master got: (point, output)."""
        leads = np.concatenate([[True], self.plant_leads])[:, None]
        return np.where(leads, self.plant, self.surrogate_outputs)


def read_logs(paths: Iterable[Path]) -> list[TapRun]:
    """Read logs, those in folders in the order of their names; runs that had not started are left out.

    Raises:
        DatasetError: there are none, one cannot be read, or they are of plants with other variables.
    """
    paths = list(paths)
    files = [file for path in paths for file in (sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path])]
    if not files:
        where = ", ".join(str(path) for path in paths)
        raise DatasetError(f"there are no logs (*{SUFFIX}) in {where}; run a system with the tap first: surrogate-fmu tap")
    runs = [run for file in files if (run := _read(file)) is not None]
    if not runs:
        raise DatasetError(f"no run has started in {', '.join(str(file) for file in files[:5])}; run the system to its first step")
    for run in runs[1:]:
        if run.variables != runs[0].variables:
            raise DatasetError(f"{run.path} is a log of other variables than {runs[0].path}; give logs of one plant")
    return runs


def _read(path: Path) -> TapRun | None:
    rows = _rows(path)
    head = rows[0] if rows else {}
    if head.get("format") != FORMAT:
        raise DatasetError(f"{path} has the format {head.get('format')!r}, this version reads {FORMAT!r}; give logs of a tap")
    try:
        variables = tuple(decode(Variable, entry) for entry in head["variables"])
        starts = [row["start"] for row in rows if "start" in row]
        steps = [row["step"] for row in rows if "step" in row]
        replays = [row["replay"] for row in rows if "replay" in row]
        handovers = [row["handover"] for row in rows if "handover" in row]
        if not starts or not steps:
            return None
        outputs = len(with_causality(variables, Causality.OUTPUT))
        missing = [np.nan] * outputs
        plant = _with_replays(steps, replays)
        return TapRun(
            path,
            head["fmu"],
            head["surrogate"],
            Mode(head["mode"]),
            head["seed"],
            variables,
            starts[0]["parameters"],
            np.array([steps[0]["time"], *(step["time"] + step["size"] for step in steps)], np.float64),
            np.array([step["inputs"] for step in steps], np.float64),
            np.array([starts[0]["outputs"], *(row or missing for row in plant)], np.float64),
            np.array([missing, *(step["surrogate"] or missing for step in steps)], np.float64),
            np.array([step["leader"] == Leader.PLANT for step in steps]),
            np.array([step["plant_s"] for step in steps], np.float64),
            np.array([step["surrogate_s"] for step in steps], np.float64),
            tuple(Handover(h["time"], Leader(h["to"]), h["reason"], h["replayed_steps"], h["seconds"]) for h in handovers),
        )
    except (KeyError, TypeError, ValueError, SchemaError) as error:
        raise DatasetError(f"{path} is damaged ({error!r}); leave it out") from error


def _rows(path: Path) -> list[Any]:
    """The lines; the last one may have been cut off with the process that wrote it."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); give logs of a tap") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise DatasetError(f"{path}, line {number}: {error}; the file was changed, leave it out") from error
    if not all(isinstance(row, dict) for row in rows):
        return []
    counting: list[Any] = []
    for row in rows:
        if "restore" in row:
            del counting[row["restore"]["rows"] :]
        else:
            counting.append(row)
    return counting


def _with_replays(steps: Sequence[Mapping[str, Any]], replays: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The plant's outputs of each step; what was replayed completes the steps that it had not taken, in their order."""
    waiting = iter(replays)
    return [step["plant"] if step["plant"] is not None else next(waiting, {}).get("plant") for step in steps]
