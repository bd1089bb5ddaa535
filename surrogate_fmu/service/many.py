"""A step of many sessions in one call, from the client's side."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import InputError, SessionError, SurrogateError
from surrogate_fmu.service import conversion
from surrogate_fmu.service.recovery import MENDABLE
from surrogate_fmu.service.status import error_from_parts
from surrogate_fmu.service.v1 import surrogate_pb2 as pb

if TYPE_CHECKING:
    from surrogate_fmu.service.client import Service
    from surrogate_fmu.service.remote_session import RemoteSession


@dataclass(frozen=True)
class StepsResult:
    """What a step of many sessions gave. Row i of every column belongs to session i.

    Attributes:
        outputs: by name, (sessions, shape of the variable...), physical units; NaN where refused.
        domain_distances: (sessions,), of each from the training domain; NaN where refused.
        errors: by row, why a session was not stepped; it is as it was.
    """

    outputs: Mapping[str, NDArray[np.float64]]
    domain_distances: NDArray[np.float64]
    errors: Mapping[int, SurrogateError]

    def check(self) -> "StepsResult":
        """The result itself, if every session was stepped; else the error of the first one that was not."""
        for error in self.errors.values():
            raise error
        return self


def step_many(
    service: "Service",
    sessions: Sequence["RemoteSession"],
    inputs: Mapping[str, Any],
    z: NDArray[Any] | None,
    communication_step_size: float | None,
) -> StepsResult:
    """See `Service.do_steps`."""
    if not sessions:
        raise InputError("do_steps was given no session; give at least one")
    manifest = sessions[0].manifest
    if any(session.manifest is not manifest for session in sessions):
        names = sorted({session.manifest.name for session in sessions})
        raise InputError(f"do_steps was given sessions of {', '.join(map(repr, names))}; make one call for each model")
    with ExitStack() as locks:
        for session in sorted(sessions, key=id):  # one order for all threads
            locks.enter_context(session._lock)
        columns = _columns(sessions, inputs)
        latents = None if z is None else np.asarray(z, np.float64)
        rows = [
            session._request(
                {name: _element(column[row]) for name, column in columns.items()},
                None if latents is None else latents[row],
                communication_step_size,
            )
            for row, session in enumerate(sessions)
        ]
        request = pb.DoStepsRequest(
            session_ids=[session.session_id for session in sessions],
            step_numbers=[row[0].step_number for row in rows],
            inputs={name: conversion.array_to_proto(column) for name, column in columns.items()},
            z=None if latents is None else conversion.array_to_proto(latents),
            communication_step_size=communication_step_size,
        )
        reply: pb.DoStepsResponse = service.call_again(service.stub.DoSteps, request)
        return _arrive(sessions, rows, reply)


def _columns(sessions: Sequence["RemoteSession"], inputs: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """The columns that are given, and those of values that were set in some of the sessions but not sent yet."""
    columns = {}
    for name, column in inputs.items():
        try:
            array = np.asarray(column, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name!r}: expected a column of numbers, got {column!r}") from error
        if array.shape[:1] != (len(sessions),):
            raise InputError(
                f"{name!r}: the column has the shape {array.shape}, expected one row for each of {len(sessions)} sessions"
            )
        columns[name] = array
    for name in sorted({name for session in sessions for name in session._unsent} - columns.keys()):
        columns[name] = np.array([session.values[name] for session in sessions], np.float64)
    return columns


def _element(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value


def _arrive(
    sessions: Sequence["RemoteSession"], rows: Sequence[tuple[pb.DoStepRequest, tuple[float, ...]]], reply: pb.DoStepsResponse
) -> StepsResult:
    manifest = sessions[0].manifest
    shapes = {variable.name: variable.shape for variable in manifest.outputs}
    outputs = {
        name: np.array(conversion.array_from_proto(name, value, (len(sessions), *shapes[name])), np.float64)
        for name, value in reply.outputs.items()
    } or {name: np.full((len(sessions), *shape), np.nan) for name, shape in shapes.items()}
    distances = np.array(reply.domain_distances, np.float64)
    errors: dict[int, SurrogateError] = {}
    for row, (session, (request, condition)) in enumerate(zip(sessions, rows, strict=True)):
        if row in reply.refusals:
            refusal = reply.refusals[row]
            error = error_from_parts(refusal.error, refusal.message, refusal.next_step)
            try:
                if not isinstance(error, MENDABLE):
                    raise error
                session._arrive(request, condition, session._run.recover(request, error))
            except SessionError as final:
                errors[row] = final
                continue
            for name, value in session.outputs.items():
                outputs[name][row] = value
            distances[row] = session.domain_distance
            continue
        step_index = reply.step_indices[row]
        point = conversion.Point(
            step_index,
            step_index * manifest.step_size,
            {name: _element(column[row]) for name, column in outputs.items()},
            bool(distances[row] == 0.0),
            float(distances[row]),
            reply.domain_messages.get(row, ""),
        )
        session._reach(request, condition, point, reply.resume_tokens.get(row, b""))
    return StepsResult(outputs, distances, errors)
