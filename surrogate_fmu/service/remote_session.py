"""A session that lives in a server, with the calls of `surrogate_fmu.runtime.session.Session`."""

import contextlib
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from surrogate_fmu.errors import CallOrderError, InputError, ServiceError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.service import conversion
from surrogate_fmu.service.conversion import Point, Value
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub


class Call(Protocol):
    """Sends a request to a method of the stub; raises the package's errors."""

    def __call__(self, method: Any, request: Any) -> Any:
        """The reply."""


class RemoteSession:
    """A surrogate that is stepped in a server.

    The call sequence and the errors are those of `Session`: `set_values* initialize (set_values* do_step)* close`, with
    `reset` and `restore` anywhere; `Service.open` initializes unless told not to. Outputs, time and domain are those of
    the last reply and read without a call. Every call is safe from several threads.

    Raises:
        ServiceError: from any call, when the service cannot be reached or no longer holds the session. Whether a step
            whose answer got lost was taken is not known then: `refresh` tells.

    Attributes:
        manifest: of the model.
        session_id: names the session at the service; who has it, has the session.
    """

    def __init__(self, manifest: Manifest, session_id: str, point: Point, stub: SurrogateStub, call: Call) -> None:
        self.manifest = manifest
        self.session_id = session_id
        self._point = point
        self._stub = stub
        self._send = call
        self._closed = False
        self._lock = threading.RLock()  # a reply and the point it brings belong together

    def set_values(self, values: Mapping[str, Value]) -> None:
        """Set inputs, and before the run parameters, by name in their units. All are taken, or none.

        Raises:
            InputError: a name is unknown or an output, or a value is not finite, of the wrong shape or outside min to max.
            CallOrderError: a parameter comes after initialize.
        """
        messages = conversion.values_to_proto(self.manifest, values)
        self._call("set_values", self._stub.SetValues, pb.SetValuesRequest(session_id=self.session_id, values=messages))

    def initialize(self, z: Value | None = None) -> dict[str, Any]:
        """Start the run and return the outputs at its start.

        Args:
            z: (latent_dim,), with z_mode `external`.

        Raises:
            DomainError: a parameter lies outside the training domain under the policy `refuse`.
        """
        latent = None if z is None else conversion.latent_to_proto(z)
        return self._move("initialize", self._stub.Initialize, pb.InitializeRequest(session_id=self.session_id, z=latent))

    def do_step(
        self,
        inputs: Mapping[str, Value] | None = None,
        z: Value | None = None,
        communication_step_size: float | None = None,
    ) -> dict[str, Any]:
        """Advance once, by the generator's step or a whole multiple, with held inputs; return the outputs at the end.

        The step carries its number, so the server refuses it if it does not follow the last one that this object saw.

        Args:
            inputs: by name, in their units; inputs not given keep their values.
            z: (latent_dim,), with z_mode `external`; held over substeps and kept until it is given again.
            communication_step_size: [s]; None is one step of the generator.

        Raises:
            CallOrderError, InputError, StepSizeError, DomainError: the session stays as it was.
        """
        messages = conversion.values_to_proto(self.manifest, inputs or {})
        latent = None if z is None else conversion.latent_to_proto(z)
        with self._lock:
            request = pb.DoStepRequest(
                session_id=self.session_id,
                step_number=self._point.step_index + 1,
                inputs=messages,
                z=latent,
                communication_step_size=_seconds(communication_step_size),
            )
            return self._move("do_step", self._stub.DoStep, request)

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs at the last communication point by name: a float, or an array (shape) for array variables."""
        with self._lock:
            self._check_open("outputs")
            if not self._point.running:
                raise CallOrderError("outputs is not allowed while the session is instantiated: call initialize first")
            return conversion.copy_values(self._point.outputs)

    @property
    def values(self) -> dict[str, Any]:
        """Present values of inputs and parameters by name, read from the service."""
        request = pb.GetSessionRequest(session_id=self.session_id)
        reply: pb.GetSessionResponse = self._call("values", self._stub.GetSession, request)
        return conversion.values_from_proto(self.manifest, reply.values)

    @property
    def step_index(self) -> int:
        """Generator steps taken since the start."""
        return self._point.step_index

    @property
    def time(self) -> float:
        """Time since the start [s]."""
        return self._point.time

    @property
    def in_domain(self) -> bool:
        """Whether the last step's condition and outputs lay inside the training domain."""
        return self._point.in_domain

    @property
    def domain_distance(self) -> float:
        """Distance from the training domain in widths of the range of the worst variable; 0 inside."""
        return self._point.domain_distance

    @property
    def domain_message(self) -> str:
        """Which variable left which range; empty inside."""
        return self._point.domain_message

    def refresh(self) -> None:
        """Read from the service where the session stands, after an answer was lost."""
        self._move("refresh", self._stub.GetSession, pb.GetSessionRequest(session_id=self.session_id))

    def reset(self) -> None:
        """Return to a fresh instance: start values, and the seed, z_mode and policy that the session was opened with."""
        self._move("reset", self._stub.Reset, pb.ResetRequest(session_id=self.session_id))

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues from it with equal bits, in this or another session, server or process."""
        reply: pb.SnapshotResponse = self._call("snapshot", self._stub.Snapshot, pb.SnapshotRequest(session_id=self.session_id))
        return reply.snapshot

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any session of the same bundle.

        Raises:
            SnapshotError: it is damaged, of another version, or of another bundle.
        """
        request = pb.RestoreRequest(session_id=self.session_id, snapshot=bytes(snapshot))
        self._move("restore", self._stub.Restore, request)

    def close(self) -> None:
        """End the session and free its place at the service; every later call but `close` is refused."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._send(self._stub.Close, pb.CloseRequest(session_id=self.session_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # a lost service must not hide the error that left the block
        with contextlib.suppress(*(() if error is None else (ServiceError,))):
            self.close()

    def _check_open(self, call: str) -> None:
        if self._closed:
            raise CallOrderError(f"{call} is not allowed while the session is closed: make a new session")

    def _call(self, call: str, method: Any, request: Any) -> Any:
        with self._lock:
            self._check_open(call)
            return self._send(method, request)

    def _move(self, call: str, method: Any, request: Any) -> dict[str, Any]:
        with self._lock:
            self._point = conversion.point_from_proto(self.manifest, self._call(call, method, request).point)
            return conversion.copy_values(self._point.outputs)


def _seconds(communication_step_size: float | None) -> float | None:
    try:
        return None if communication_step_size is None else float(communication_step_size)
    except (TypeError, ValueError) as error:
        raise InputError(f"communication_step_size: expected a number of seconds, got {communication_step_size!r}") from error
