"""The calls of the API: each converts, opens or steps sessions, and converts back."""

import asyncio
import functools
import logging
import re
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import CallOrderError, InputError, SurrogateError
from surrogate_fmu.runtime.run_state import RunState
from surrogate_fmu.service import conversion
from surrogate_fmu.service.access import Access
from surrogate_fmu.service.config import TIME_TO_LIVE_MAX_S, ServeConfig
from surrogate_fmu.service.fingerprint import FINGERPRINT_SIZE, fingerprint_step
from surrogate_fmu.service.handlers import Unreadable
from surrogate_fmu.service.metrics import Metrics
from surrogate_fmu.service.opening import Opening
from surrogate_fmu.service.record import Terms
from surrogate_fmu.service.rollouts import Rollouts
from surrogate_fmu.service.served import ServedModel, ServedSession
from surrogate_fmu.service.sessions import Opened, Sessions
from surrogate_fmu.service.status import status_of
from surrogate_fmu.service.stepping import Stepped, Stepping
from surrogate_fmu.service.trace import traced
from surrogate_fmu.service.turns import Turns
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1 import surrogate_pb2_grpc

_log = logging.getLogger("surrogate_fmu.service")
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_DO_STEPS_MAX = 100_000  # sessions in one call
Request = TypeVar("Request")
Reply = TypeVar("Reply")
_Context = Any  # grpc.aio.ServicerContext, whose stubs are generic in the messages


def _answering(call: Callable[[Any, Request, _Context], Awaitable[Reply]]) -> Callable[[Any, Request, _Context], Awaitable[Reply]]:
    """Turn what a call raises into a status, so that no fault of one call ends the server; inside the caller's trace."""

    @functools.wraps(call)
    async def answer(servicer: Any, request: Request, context: _Context) -> Reply:
        metadata = context.invocation_metadata()
        if not any(name == "traceparent" for name, _ in metadata or ()):
            return await answer_or_refuse(servicer, request, context)
        with traced(call.__name__, metadata):
            return await answer_or_refuse(servicer, request, context)

    async def answer_or_refuse(servicer: Any, request: Request, context: _Context) -> Reply:
        try:
            _check_readable(request)
            return await call(servicer, request, context)
        except Exception as error:
            await servicer.refuse(context, call.__name__, error)
            raise AssertionError("abort returns never") from error

    return answer


class SurrogateServicer(surrogate_pb2_grpc.SurrogateServicer):
    """Sessions of some bundles, over gRPC.

    Args:
        sessions: found and ended here.
        opening: the ways into a session.
        stepping: the rules of steps.
        rollouts: whole runs without a session.
        access: who calls.
        config: limits and defaults.
        metrics: counts what happens.
        turns: lets steps of streams begin.
    """

    def __init__(
        self,
        sessions: Sessions,
        opening: Opening,
        stepping: Stepping,
        rollouts: Rollouts,
        access: Access,
        config: ServeConfig,
        metrics: Metrics,
        turns: Turns,
    ) -> None:
        self._sessions = sessions
        self._opening = opening
        self._stepping = stepping
        self._rollouts = rollouts
        self._access = access
        self._config = config
        self._metrics = metrics
        self._turns = turns

    # -- models ------------------------------------------------------------------------------------------------------

    @_answering
    async def ListModels(self, request: pb.ListModelsRequest, context: _Context) -> pb.ListModelsResponse:
        """The models."""
        self._access.owner(context)
        return pb.ListModelsResponse(models=[model.message for model in self._sessions.models.values()])

    @_answering
    async def GetModel(self, request: pb.GetModelRequest, context: _Context) -> pb.GetModelResponse:
        """A model's manifest."""
        self._access.owner(context)
        model = self._sessions.model(request.name)
        return pb.GetModelResponse(model=model.message, manifest_json=model.manifest.to_json())

    # -- sessions ----------------------------------------------------------------------------------------------------

    @_answering
    async def Open(self, request: pb.OpenRequest, context: _Context) -> pb.OpenResponse:
        """Start a session, go on from a token, or find the session again."""
        owner = self._access.owner(context)
        if request.session_id:
            _check_session_id(request.session_id)
        model = self._sessions.model(request.model_name)
        _check_digest(model, request.bundle_digest)
        declared, values, z = _declared(model, request)
        terms = Terms(
            request.session_id,
            owner,
            _fingerprint_open(model, request, values, z),
            conversion.batching_from_proto(request.batching),
            request.token_interval or self._config.token_interval,
            self._time_to_live(request.time_to_live_s),
        )

        def start() -> RunState:
            run = model.stepper.with_values(declared, values)
            return model.stepper.start(run, model.stepper.draws(run), z)

        opened = await self._opening.open(model, terms, start, request.resume_token)
        session = opened.session
        return pb.OpenResponse(
            session_id=session.terms.session_id,
            point=_point(model, opened.moment.run),
            found=opened.found,
            resumed=opened.resumed,
            resume_token=self._opening.token(session, opened.moment),
            time_to_live_s=session.terms.time_to_live_s,
            token_interval=session.terms.token_interval,
        )

    @_answering
    async def GetSession(self, request: pb.GetSessionRequest, context: _Context) -> pb.GetSessionResponse:
        """All that can be read of a session."""
        session = await self._sessions.read(request.session_id, self._access.owner(context))
        run = session.moment.run
        return pb.GetSessionResponse(
            model=session.model.message,
            point=_point(session.model, run),
            values=conversion.known_values_to_proto(session.model.stepper.values.read(run.condition)),
            seed=run.seed,
            z_mode=conversion.z_mode_to_proto(run.z_mode),
            domain_policy=conversion.domain_policy_to_proto(run.domain_policy),
            batching=conversion.batching_to_proto(session.terms.batching),
        )

    @_answering
    async def DoStep(self, request: pb.DoStepRequest, context: _Context) -> pb.DoStepResponse:
        """Advance by one communication step."""
        session = await self._sessions.find(request.session_id, self._access.owner(context))
        return await self._step(session, request)

    @_answering
    async def Run(self, request_iterator: Any, context: _Context) -> None:  # type: ignore[override]  # writes itself
        """A stream of steps of one session; the next request is read when the reply before it is written."""
        owner = self._access.owner(context)
        session: ServedSession | None = None
        with self._turns.stream() as turn:
            while True:
                await turn.begin()
                request = await context.read()
                turn.came()
                if request is grpc.aio.EOF:
                    return
                _check_readable(request)
                if session is None or not self._sessions.holds(session):
                    session_id = request.session_id or (session.terms.session_id if session is not None else "")
                    session = await self._sessions.find(session_id, owner)
                if request.session_id and request.session_id != session.terms.session_id:
                    raise InputError("a stream steps one session, and another id came; open a stream for each session")
                await self._write(context, await self._step(session, request))

    @_answering
    async def DoSteps(self, request: pb.DoStepsRequest, context: _Context) -> pb.DoStepsResponse:
        """Advance many sessions of one model."""
        owner = self._access.owner(context)
        count = len(request.session_ids)
        _check_rows(request, count)
        sessions: list[ServedSession | SurrogateError] = []
        for session_id in request.session_ids:
            try:
                sessions.append(await self._sessions.find(session_id, owner))
            except SurrogateError as error:
                sessions.append(error)
        model = _one_model(sessions)
        if model is None:
            return _many_to_proto(None, [s for s in sessions if isinstance(s, SurrogateError)], [], self._opening)
        shapes = {variable.name: variable.shape for variable in model.manifest.variables}
        columns = {name: _column(name, value, count, shapes.get(name, ())) for name, value in request.inputs.items()}
        z = _column("z", request.z, count, (model.manifest.latent_dim,)) if request.HasField("z") else None
        start = asyncio.get_running_loop().time()
        results = await self._stepping.step_many(sessions, request.step_numbers, columns, z, _step_size(request))
        seconds = asyncio.get_running_loop().time() - start
        for result in results:
            if isinstance(result, SurrogateError):
                self._metrics.refused(model.name, type(result).__name__)
            else:
                self._metrics.step(model.name, seconds, result.replayed)
        return _many_to_proto(model, results, sessions, self._opening)

    @_answering
    async def Snapshot(self, request: pb.SnapshotRequest, context: _Context) -> pb.SnapshotResponse:
        """The state as bytes."""
        session = await self._sessions.read(request.session_id, self._access.owner(context))
        return pb.SnapshotResponse(snapshot=self._opening.token(session, session.moment))

    @_answering
    async def Restore(self, request: pb.RestoreRequest, context: _Context) -> pb.RestoreResponse:
        """Start a session from a snapshot."""
        owner = self._access.owner(context)
        if request.new_session_id:
            _check_session_id(request.new_session_id)
        opened: Opened = await self._opening.restore(request.snapshot, owner, request.session_id, request.new_session_id)
        session = opened.session
        return pb.RestoreResponse(
            session_id=session.terms.session_id,
            point=_point(session.model, opened.moment.run),
            resume_token=self._opening.token(session, opened.moment),
        )

    @_answering
    async def Close(self, request: pb.CloseRequest, context: _Context) -> pb.CloseResponse:
        """End a session."""
        await self._sessions.close(request.session_id, self._access.owner(context))
        return pb.CloseResponse()

    # -- whole runs --------------------------------------------------------------------------------------------------

    @_answering
    async def Rollout(self, request: pb.RolloutRequest, context: _Context) -> None:  # type: ignore[override]  # writes itself
        """Whole runs of many members, chunk by chunk."""
        self._access.owner(context)
        model = self._sessions.model(request.model_name)
        _check_digest(model, request.bundle_digest)
        async with self._rollouts.run(model, request) as chunks:
            async for chunk in chunks:
                await self._write(context, chunk)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def refuse(self, context: _Context, call: str, error: Exception) -> None:
        """End a call with the status of an error."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, SurrogateError):
            status = status_of(error)
            self._metrics.refused("", status.error)
            if status.code is grpc.StatusCode.INTERNAL:
                _log.error("%s failed", call, exc_info=error)
            context.set_trailing_metadata(status.metadata)
            await context.abort(status.code, status.message)
        _log.error("%s failed", call, exc_info=error)
        await context.abort(
            grpc.StatusCode.INTERNAL, f"{call} failed in the server ({type(error).__name__}); the server's log says more"
        )

    async def _step(self, session: ServedSession, request: pb.DoStepRequest) -> pb.DoStepResponse:
        model = session.model
        start = asyncio.get_running_loop().time()
        values = conversion.values_from_proto(model.manifest, request.inputs)
        z = conversion.latent_from_proto(request.z, model.manifest.latent_dim) if request.HasField("z") else None
        stepped = await self._stepping.step(session, request.step_number, values, z, _step_size(request))
        reply = pb.DoStepResponse(replayed=stepped.replayed)
        _write_point(model, stepped.moment.run, reply.point)
        if self._opening.token_due(session, stepped.moment):
            reply.resume_token = self._opening.token(session, stepped.moment)
        self._metrics.step(model.name, asyncio.get_running_loop().time() - start, stepped.replayed)
        return reply

    async def _write(self, context: _Context, message: Any) -> None:
        try:
            await asyncio.wait_for(context.write(message), self._config.write_timeout_s)
        except TimeoutError:
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"a reply was not read for {self._config.write_timeout_s:g} s; read faster, or ask for less",
            )

    def _time_to_live(self, asked_s: float) -> float:
        if not asked_s:
            return self._config.idle_timeout_s
        if not 0 < asked_s <= TIME_TO_LIVE_MAX_S:
            raise InputError(f"time_to_live_s {asked_s} must be from 0 (the server's default) to {TIME_TO_LIVE_MAX_S:g} seconds")
        return asked_s


def _check_readable(request: object) -> None:
    if isinstance(request, Unreadable):
        raise InputError(f"the request cannot be read ({request.reason}); is it a message of surrogate_fmu.v1?")


def _declared(model: ServedModel, request: pb.OpenRequest) -> tuple[RunState, dict[str, Any], Any]:
    declared = model.stepper.declared()._replace(
        seed=conversion.seed_to_proto(request.seed),
        z_mode=conversion.z_mode_from_proto(request.z_mode),
        domain_policy=conversion.domain_policy_from_proto(request.domain_policy),
    )
    values = conversion.values_from_proto(model.manifest, request.values)
    z = conversion.latent_from_proto(request.z, model.manifest.latent_dim) if request.HasField("z") else None
    return declared, values, z


def _fingerprint_open(model: ServedModel, request: pb.OpenRequest, values: dict[str, Any], z: Any) -> bytes:
    settings = (request.seed, request.z_mode or 1, request.domain_policy or 1, request.batching or 1)
    return blake2b(model.digest + repr(settings).encode() + fingerprint_step(values, z), digest_size=FINGERPRINT_SIZE).digest()


def _check_session_id(session_id: str) -> None:
    if not _SESSION_ID.fullmatch(session_id):
        raise InputError(f"the session id {session_id[:70]!r} must be 16 to 64 of A-Z a-z 0-9 - _; choose it at random")


def _check_digest(model: ServedModel, digest: str) -> None:
    if digest and digest != model.bundle.digest:
        raise CallOrderError(
            f"{model.name!r} is the bundle {model.bundle.digest[:12]} here, asked for is {digest[:12]}; serve that bundle, or "
            "leave the digest out"
        )


def _step_size(request: pb.DoStepRequest | pb.DoStepsRequest) -> float | None:
    return request.communication_step_size if request.HasField("communication_step_size") else None


def _write_point(model: ServedModel, run: RunState, point: pb.CommunicationPoint) -> None:
    point.step_index = run.step_index
    point.time = run.step_index * model.manifest.step_size
    point.in_domain = run.domain_distance == 0.0
    if run.domain_distance:
        point.domain_distance = run.domain_distance
        point.domain_message = run.domain_message
    assert run.outputs is not None
    model.outputs.write(run.outputs, point.outputs)


def _point(model: ServedModel, run: RunState) -> pb.CommunicationPoint:
    point = pb.CommunicationPoint()
    _write_point(model, run, point)
    return point


# -- many sessions in one call -----------------------------------------------------------------------------------------


def _check_rows(request: pb.DoStepsRequest, count: int) -> None:
    if not 1 <= count <= _DO_STEPS_MAX:
        raise InputError(f"DoSteps was given {count} sessions; give 1 to {_DO_STEPS_MAX}")
    if len(request.step_numbers) != count:
        raise InputError(f"DoSteps was given {count} sessions and {len(request.step_numbers)} step numbers; give one per session")
    if len(set(request.session_ids)) != count:
        raise InputError("DoSteps was given a session twice; give each session one step per call")


def _one_model(sessions: list[ServedSession | SurrogateError]) -> ServedModel | None:
    models = {session.model.name: session.model for session in sessions if isinstance(session, ServedSession)}
    if len(models) > 1:
        raise InputError(f"DoSteps was given sessions of the models {', '.join(sorted(models))}; make one call for each model")
    return next(iter(models.values()), None)


def _column(name: str, message: pb.Value, count: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(conversion.array_from_proto(name, message, (count, *shape)), np.float64)
    if array.shape[:1] != (count,):
        raise InputError(f"{name!r}: the column has the shape {array.shape}, expected {(count, *shape)}: one row per session")
    return array


def _many_to_proto(
    model: ServedModel | None,
    results: list[Any],
    sessions: list[ServedSession | SurrogateError],
    opening: Opening,
) -> pb.DoStepsResponse:
    reply = pb.DoStepsResponse()
    width = 0 if model is None else model.manifest.output_dim
    outputs = np.full((len(results), width), np.nan, np.float32)
    indices, distances = [], []
    for row, result in enumerate(results):
        session = sessions[row] if sessions else None
        if isinstance(result, Stepped):
            run = result.moment.run
            assert run.outputs is not None and isinstance(session, ServedSession)
            outputs[row] = run.outputs
            indices.append(run.step_index)
            distances.append(run.domain_distance)
            if run.domain_distance:
                reply.domain_messages[row] = run.domain_message
            if result.replayed:
                reply.replayed.append(row)
            if opening.token_due(session, result.moment):
                reply.resume_tokens[row] = opening.token(session, result.moment)
        else:
            status = status_of(result)
            indices.append(session.moment.run.step_index if isinstance(session, ServedSession) else -1)
            distances.append(float("nan"))
            code: int = status.code.value[0]
            reply.refusals[row].CopyFrom(
                pb.StepRefusal(code=code, message=status.message, error=status.error, next_step=status.next_step)
            )
    reply.step_indices.extend(indices)
    reply.domain_distances.extend(distances)
    if model is not None:
        model.outputs.write_columns(outputs, reply.outputs)
    return reply
