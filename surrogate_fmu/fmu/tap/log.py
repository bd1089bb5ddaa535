"""The log of one run of a tap: a file that grows line by line, so that it is complete to the last step however the host ends.

JSON Lines. The first line is the head, with the `format`, the variables and the mode; then, one key each,

    {"start": {"time": s, "parameters": {name: value}, "outputs": [...]}}
    {"step": {"time": s, "size": s, "inputs": [...], "leader": "plant", "plant": [...], "surrogate": [...],
              "plant_s": s, "surrogate_s": s, "doubt": sentence}}
    {"replay": {"time": s, "plant": [...]}}
    {"handover": {"time": s, "to": "plant", "reason": sentence, "replayed_steps": n, "seconds": s}}
    {"restore": {"rows": n}}
    {"end": {"time": s}}

`time` is where a step begins, outputs are those at its end, inputs what was held over it. A replay completes a step above it
that the surrogate led. Each line goes to the operating system at once: it outlives the process, not a loss of power. After
`restore`, where the master went back to an earlier state, the lines above it do not count but for the first n of those that did.
"""

import json
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import SessionError
from surrogate_fmu.fmu.tap.guard import Outputs, Taken
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, TapPlan
from surrogate_fmu.schema import encode

FORMAT = "surrogate-fmu tap log 1"
SUFFIX = ".jsonl"


def open_folder(configured: str) -> Path:
    """The folder of the logs, made if need be: that of the environment, or else the configured one.

    Raises:
        SessionError: nothing can be written there.
    """
    told = os.environ.get(LOG_VARIABLE)
    folder = Path(told or configured).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("no permission")
    except OSError as error:
        whose = f"{LOG_VARIABLE} names" if told else "the FMU was built to write to"
        raise SessionError(
            f"the log folder {folder}, which {whose}, cannot be written ({error}); set {LOG_VARIABLE} to one that can"
        ) from error
    return folder


class TapLog:
    """A log of one run; a new file `<instance>-001.jsonl`, `-002`, ...

    Args:
        folder: where it is.
        instance: name that the master gave.
        plan: what is logged.

    Attributes:
        path: of the file.
        rows: that count.

    Raises:
        OSError: it cannot be written; so do the methods.
    """

    def __init__(self, folder: Path, instance: str, plan: TapPlan) -> None:
        self.rows = 0
        self.path, self._file = _new_file(folder, re.sub(r"[^\w.-]+", "_", instance) or "tap")
        weakref.finalize(self, os.close, self._file)  # with the instance
        self._write(
            {
                "format": FORMAT,
                "fmu": plan.plant,
                "surrogate": plan.surrogate,
                "instance": instance,
                "mode": plan.config.mode.value,
                "seed": plan.seed,
                "variables": encode(plan.variables),
            }
        )

    def start(self, time: float, parameters: Mapping[str, float], outputs: Outputs) -> None:
        """The run starts [s]."""
        self._write({"start": {"time": time, "parameters": dict(parameters), "outputs": outputs}})

    def step(self, time: float, size: float, inputs: Sequence[float], taken: Taken) -> None:
        """A step was taken [s]."""
        for replayed in taken.replayed:
            self._write({"replay": {"time": replayed.communication_point, "plant": replayed.outputs}})
        row = {
            "time": time,
            "size": size,
            "inputs": inputs,
            "leader": taken.leader.value,
            "plant": taken.plant,
            "surrogate": taken.surrogate,
            "plant_s": round(taken.plant_s, 7),
            "surrogate_s": round(taken.surrogate_s, 7),
            "doubt": taken.doubt,
        }
        self._write({"step": row})
        for handover in taken.handovers:
            row = {
                "time": handover.communication_point,
                "to": handover.to.value,
                "reason": handover.reason,
                "replayed_steps": handover.replayed_steps,
                "seconds": round(handover.seconds, 7),
            }
            self._write({"handover": row})

    def restore(self, rows: int) -> None:
        """The run goes on from where so many rows counted."""
        self._write({"restore": {"rows": rows}})
        self.rows = rows

    def end(self, time: float) -> None:
        """The run ends [s]."""
        self._write({"end": {"time": time}})

    def _write(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"{written} of {len(line)} bytes were written to {self.path}")
        self.rows += 1


def _new_file(folder: Path, stem: str) -> tuple[Path, int]:
    number = 1
    while True:
        path = folder / f"{stem}-{number:03d}{SUFFIX}"
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError:
            number += 1
