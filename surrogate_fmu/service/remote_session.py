"""A session that lives in a server, with the calls of `surrogate_fmu.runtime.session.Session`."""

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from surrogate_fmu.errors import (
    CallOrderError,
    InputError,
    ServiceError,
    ServiceLostError,
)
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.runtime.run_state import RunState
from surrogate_fmu.runtime.values import ConditionValues
from surrogate_fmu.service import conversion
from surrogate_fmu.service.conversion import Batching, Point, Value
from surrogate_fmu.service.recovery import MENDABLE, Patience, Recovery
from surrogate_fmu.service.remote_run import RemoteRun
from surrogate_fmu.service.remote_snapshot import RemoteSnapshot, open_remote_snapshot, seal_remote_snapshot
from surrogate_fmu.service.step_stream import StepStream
from surrogate_fmu.service.v1 import surrogate_pb2 as pb

if TYPE_CHECKING:
    from surrogate_fmu.service.client import Service

_ID_BYTES = 24
_CLOSE_PATIENCE_S = 5.0


class RemoteSession:
    """A surrogate that is stepped in a server.

    The call sequence and the errors are those of `Session`: `set_values* initialize (set_values* do_step)* close`, with
    `reset` and `restore` anywhere; `Service.open` initializes unless told not to. Values that are set stay here until the
    call that needs them; outputs, time and domain are those of the last reply and read without a call. Every call is safe
    from several threads.

    No step is lost or taken twice: every step has a number, and the server answers the number of its last step with the stored
    reply. When a call gets no answer, or the server has lost the session, `do_step` goes on by itself for as long as the
    `recovery_timeout_s` of the connection allows: it opens the session again by its own id and its last resume token, takes the
    steps since then again, compares their outputs bit for bit with those of before, and sends the step again. `recoveries`,
    the log and `on_recovery` tell of it. After a `ServiceError`, or an interrupt, call `do_step` again with equal arguments.

    Raises:
        ServiceError: from any call, when the service cannot be reached for too long or refuses.

    Attributes:
        manifest: of the model.
        recoveries: failures that the session got over, in order.
    """

    def __init__(
        self,
        service: "Service",
        manifest: Manifest,
        values: ConditionValues,
        seed: int,
        z_mode: ZMode | str,
        domain_policy: DomainPolicy | str,
        batching: Batching | str,
        time_to_live_s: float,
        streaming: bool,
        on_recovery: Callable[[Recovery], None] | None,
    ) -> None:
        self.manifest = manifest
        self.recoveries: list[Recovery] = []
        self._service = service
        self._checks = values
        self._batching = conversion.batching_to_proto(batching)
        self._time_to_live_s = time_to_live_s
        self._stream = StepStream(service) if streaming else None
        self._on_recovery = on_recovery
        self._lock = threading.RLock()  # a reply and the point it brings belong together
        self._closed = False
        self._terms = (0, pb.Z_MODE_SAMPLED, pb.DOMAIN_POLICY_WARN)
        self._point: Point | None = None  # None before the run
        self._condition = values.start
        self._unsent: dict[str, Value] = {}
        self._run = RemoteRun(service, manifest, self._recovered)
        self.configure(seed, z_mode, domain_policy)
        self._declared = self._terms

    # -- before the run ----------------------------------------------------------------------------------------------

    def configure(
        self, seed: int | None = None, z_mode: ZMode | str | None = None, domain_policy: DomainPolicy | str | None = None
    ) -> None:
        """Change what is fixed for a run.

        Raises:
            CallOrderError: the run has started.
            InputError: the seed is out of range, or a mode is unknown.
        """
        with self._lock:
            self._check_open("configure")
            if self._point is not None:
                raise CallOrderError(
                    "configure is not allowed while the session is running: seed, z_mode and domain policy are set before "
                    "initialize; call reset first"
                )
            old_seed, old_mode, old_policy = self._terms
            self._terms = (
                old_seed if seed is None else conversion.seed_to_proto(seed),
                old_mode if z_mode is None else conversion.z_mode_to_proto(z_mode),
                old_policy if domain_policy is None else conversion.domain_policy_to_proto(domain_policy),
            )

    def set_values(self, values: Mapping[str, Value]) -> None:
        """Set inputs and tunable parameters, and before the run all parameters, by name in their units. All are taken, or none.

        Raises:
            InputError: a name is unknown or an output, or a value is not finite, of the wrong shape or outside min to max.
            CallOrderError: a fixed parameter comes after initialize.
        """
        with self._lock:
            self._check_open("set_values")
            self._condition = self._checks.apply(self._condition, values, self._point is not None)
            self._unsent |= values

    def initialize(self, z: Value | None = None) -> dict[str, Any]:
        """Start the run and return the outputs at its start.

        Args:
            z: (latent_dim,) or (run_latent_dim,), with z_mode `external`.

        Raises:
            DomainError: a parameter lies outside the training domain under the policy `refuse`.
        """
        with self._lock:
            self._check_open("initialize")
            if self._point is not None:
                raise CallOrderError(
                    "initialize is not allowed while the session is running: it was called already; call reset to start again"
                )
            seed, z_mode, domain_policy = self._terms
            if z is not None:
                self._checks.latent(z, conversion.z_mode_from_proto(z_mode), "initialize")
            opening = pb.OpenRequest(
                session_id=secrets.token_urlsafe(_ID_BYTES),
                model_name=self.manifest.name,
                seed=seed,
                z_mode=z_mode,
                domain_policy=domain_policy,
                values=conversion.values_to_proto(self.manifest, self._unsent),
                z=None if z is None else conversion.latent_to_proto(z),
                time_to_live_s=self._time_to_live_s,
                batching=self._batching,
            )
            reply: pb.OpenResponse = self._service.call_again(self._service.stub.Open, opening)
            self._begin(opening, reply.point, reply.resume_token)
            return self.outputs

    # -- the run -----------------------------------------------------------------------------------------------------

    def do_step(
        self,
        inputs: Mapping[str, Value] | None = None,
        z: Value | None = None,
        communication_step_size: float | None = None,
        communication_point: float | None = None,
    ) -> dict[str, Any]:
        """Advance once, by the generator's step or a whole multiple, with held inputs; return the outputs at the end.

        Args:
            inputs: and tunable parameters, by name, in their units; those not given keep their values.
            z: (latent_dim,) or (run_latent_dim,), with z_mode `external`; held over substeps and kept until it is given again.
            communication_step_size: [s]; None is one step of the generator.
            communication_point: the master's time at the start [s], whose rounding a step size may have; None is the time
                since the start of the run.

        Raises:
            CallOrderError, InputError, StepSizeError, DomainError: the session stays as it was.
            StepConflictError: another client steps the session, or an interrupted step was not called again as it was.
        """
        with self._lock:
            if communication_step_size is not None and communication_point is not None:
                # what the master's rounding explains is taken off here, where the master's time is known
                count = self._checks.substeps(communication_step_size, communication_point)
                communication_step_size = count * self.manifest.step_size
            request, condition = self._request(inputs or {}, z, communication_step_size)
            reply = self._step(request)
            self._arrive(request, condition, reply)
            return conversion.copy_values(self._running.outputs)

    def run(self, inputs: Iterable[Mapping[str, Value]], window: int = 16) -> Iterator[dict[str, Any]]:
        """Steps with inputs that are known beforehand, several of them on their way at once.

        Args:
            inputs: of each step, by name, in their units.
            window: steps sent ahead of the replies, at least 1.

        Yields:
            The outputs at the end of each step, in order.

        Raises:
            As `do_step`; the steps that were yielded stand.
        """
        if window < 1:
            raise InputError(f"window {window} must be at least 1")
        with self._lock, contextlib.closing(StepStream(self._service)) as stream:
            source = iter(inputs)
            sent: list[tuple[pb.DoStepRequest, tuple[float, ...]]] = []
            number, condition, exhausted = self._running.step_index + 1, self._condition, False
            while True:
                while not exhausted and len(sent) < window:
                    values = next(source, None)
                    exhausted = values is None
                    if values is not None:
                        request, condition = self._request(values, None, None, number, condition)
                        number += 1
                        sent.append((request, condition))
                        stream.send(request)
                if not sent:
                    return
                request, reached = sent.pop(0)
                try:
                    reply = stream.receive()
                except MENDABLE as error:
                    reply = self._run.recover(request, error)
                    for ahead, _ in sent:
                        stream.send(ahead)
                self._arrive(request, reached, reply)
                yield conversion.copy_values(self._running.outputs)

    @property
    def session_id(self) -> str:
        """Names the session at the service while it runs; who has it, has the session. Empty before the run."""
        return self._run.session_id

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs at the last communication point by name: a float, or an array (shape) for array variables."""
        with self._lock:
            self._check_open("outputs")
            if self._point is None:
                raise CallOrderError("outputs is not allowed while the session is instantiated: call initialize first")
            return conversion.copy_values(self._point.outputs)

    @property
    def values(self) -> dict[str, Any]:
        """Present values of inputs and parameters by name."""
        with self._lock:
            return self._checks.read(self._condition)

    @property
    def step_index(self) -> int:
        """Generator steps taken since the start."""
        return 0 if self._point is None else self._point.step_index

    @property
    def time(self) -> float:
        """Time since the start [s]."""
        return 0.0 if self._point is None else self._point.time

    @property
    def in_domain(self) -> bool:
        """Whether the last step's condition and outputs lay inside the training domain."""
        return self._point is None or self._point.in_domain

    @property
    def domain_distance(self) -> float:
        """Distance from the training domain in widths of the range of the worst variable; 0 inside."""
        return 0.0 if self._point is None else self._point.domain_distance

    @property
    def domain_message(self) -> str:
        """Which variable left which range; empty inside."""
        return "" if self._point is None else self._point.domain_message

    # -- going back, going on elsewhere, ending ----------------------------------------------------------------------

    def reset(self) -> None:
        """Return to a fresh instance: start values, and the seed, z_mode and policy that the session was opened with."""
        with self._lock:
            self._check_open("reset")
            self._end_run()
            self._forget()
            self._terms = self._declared

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues from it with equal bits, in this or another session, server or process."""
        with self._lock:
            self._check_open("snapshot")
            token = b""
            if self._point is not None:
                request = pb.SnapshotRequest(session_id=self.session_id)
                reply: pb.SnapshotResponse = self._run.mended(lambda: self._service.call(self._service.stub.Snapshot, request))
                token = reply.snapshot
            seed, z_mode, domain_policy = self._terms
            local = RunState(
                seed,
                conversion.z_mode_from_proto(z_mode),
                conversion.domain_policy_from_proto(domain_policy),
                self._condition,
                (0.0,) * self.manifest.latent_dim,
            )
            return seal_remote_snapshot(RemoteSnapshot(local, self._run.opening, token))

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any remote session of the same bundle.

        Raises:
            SnapshotError: it is damaged, of another version, or of another bundle.
        """
        with self._lock:
            self._check_open("restore")
            content = open_remote_snapshot(snapshot, self.manifest)
            opening, reply = content.opening, None
            if content.token:
                opening.session_id = secrets.token_urlsafe(_ID_BYTES)
                request = pb.RestoreRequest(session_id=self.session_id, snapshot=content.token, new_session_id=opening.session_id)
                reply = self._service.call_again(self._service.stub.Restore, request)
            else:
                self._end_run()
            self._forget()
            local = content.local
            self._terms = (
                local.seed,
                conversion.z_mode_to_proto(local.z_mode),
                conversion.domain_policy_to_proto(local.domain_policy),
            )
            if reply is not None:
                self._begin(opening, reply.point, reply.resume_token)
            self._condition = local.condition
            values = self._checks.read(local.condition)
            names = {v.name for v in self.manifest.condition if reply is None or v.is_settable_in_run}
            self._unsent = {name: value for name, value in values.items() if name in names}

    def close(self) -> None:
        """End the session and free its place at the service; every later call but `close` is refused."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._end_run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # a lost service must not hide the error that left the block
        with contextlib.suppress(*(() if error is None else (ServiceError,))):
            self.close()

    # -- steps, also for calls that step many sessions -----------------------------------------------------------------

    def _request(
        self,
        inputs: Mapping[str, Value],
        z: Value | None,
        communication_step_size: float | None,
        number: int | None = None,
        condition: tuple[float, ...] | None = None,
    ) -> tuple[pb.DoStepRequest, tuple[float, ...]]:
        """The request of a step, checked here, and the condition that it leads to."""
        self._check_open("do_step")
        if self._point is None:
            raise CallOrderError("do_step is not allowed while the session is instantiated: call initialize first")
        latent = None
        if z is not None:
            latent = conversion.latent_to_proto(self._checks.latent(z, conversion.z_mode_from_proto(self._terms[1]), "do_step"))
        condition = self._condition if condition is None else condition
        if inputs:
            condition = self._checks.apply(condition, inputs, True)
        if communication_step_size is not None:
            point = (self._point.step_index if number is None else number - 1) * self.manifest.step_size
            self._checks.substeps(communication_step_size, point)
            communication_step_size = float(communication_step_size)
        if self._unsent and number in (None, self._point.step_index + 1):
            inputs = {**self._unsent, **inputs}
        request = pb.DoStepRequest(
            session_id=self._run.session_id,
            step_number=self._point.step_index + 1 if number is None else number,
            inputs=conversion.values_to_proto(self.manifest, inputs),
            z=latent,
            communication_step_size=communication_step_size,
        )
        return request, condition

    def _arrive(self, request: pb.DoStepRequest, condition: tuple[float, ...], reply: pb.DoStepResponse) -> None:
        point = conversion.point_from_proto(self.manifest, reply.point)
        self._reach(request, condition, point, reply.resume_token)

    def _reach(self, request: pb.DoStepRequest, condition: tuple[float, ...], point: Point, resume_token: bytes) -> None:
        """Stand at the end of a step."""
        self._point, self._condition = point, condition
        self._unsent = {}
        self._run.add(request, point.outputs, resume_token)

    def _step(self, request: pb.DoStepRequest) -> pb.DoStepResponse:
        try:
            return self._send(request)
        except MENDABLE as error:
            return self._run.recover(request, error)

    def _send(self, request: pb.DoStepRequest) -> pb.DoStepResponse:
        if self._stream is not None:
            self._stream.send(request)
            return self._stream.receive()
        reply: pb.DoStepResponse = self._service.call(self._service.stub.DoStep, request)
        return reply

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Point:
        if self._point is None:
            raise CallOrderError("do_step is not allowed while the session is instantiated: call initialize first")
        return self._point

    def _recovered(self, recovery: Recovery) -> None:
        self.recoveries.append(recovery)
        if self._on_recovery is not None:
            self._on_recovery(recovery)

    def _forget(self) -> None:
        """Be a fresh instance."""
        self._point, self._condition, self._unsent = None, self._checks.start, {}
        self._run.begin(pb.OpenRequest(), b"")

    def _begin(self, opening: pb.OpenRequest, point: pb.CommunicationPoint, resume_token: bytes) -> None:
        self._run.begin(opening, resume_token)
        self._point = conversion.point_from_proto(self.manifest, point)
        self._unsent = {}

    def _end_run(self) -> None:
        """Close the session at the service; one that cannot be reached now is evicted when its time to live is over."""
        if self._stream is not None:
            self._stream.close()
        if self._point is None:
            return
        patience = Patience(min(_CLOSE_PATIENCE_S, self._service.recovery_timeout_s))
        request = pb.CloseRequest(session_id=self.session_id)
        while True:
            try:
                self._service.call(self._service.stub.Close, request)
                return
            except ServiceLostError as error:
                patience.wait(error)

    def _check_open(self, call: str) -> None:
        if self._closed:
            raise CallOrderError(f"{call} is not allowed while the session is closed: make a new session")
