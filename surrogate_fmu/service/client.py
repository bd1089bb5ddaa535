"""The client: `connect` to a service and open sessions. Imports no torch.

with connect("127.0.0.1:50051") as service, service.open("dfn_cell", seed=7, parameters={"soc_start": 0.8}) as cell:
    y = cell.do_step({"current": 2.5})
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import RetryLaterError, ServiceError, ServiceLostError
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.runtime.values import ConditionValues
from surrogate_fmu.service import conversion
from surrogate_fmu.service.access import check_transport
from surrogate_fmu.service.config import KEEPALIVE_S, MESSAGE_LIMIT_BYTES
from surrogate_fmu.service.conversion import Batching, Value
from surrogate_fmu.service.many import StepsResult, step_many
from surrogate_fmu.service.recovery import Patience, Recovery
from surrogate_fmu.service.remote_session import RemoteSession
from surrogate_fmu.service.routing import SESSION_KEY, session_mark
from surrogate_fmu.service.status import error_of
from surrogate_fmu.service.tls import channel_credentials
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1 import surrogate_pb2_grpc

__all__ = ["RemoteSession", "RolloutResult", "Service", "connect"]


@dataclass(frozen=True)
class RolloutResult:
    """Runs of many members.

    Attributes:
        outputs: by name, (member, step + 1, shape of the variable...), physical units; point 0 is the start.
        domain_distances: (member,), the largest distance from the training domain.
    """

    outputs: Mapping[str, NDArray[np.float64]]
    domain_distances: NDArray[np.float64]


def connect(
    target: str,
    timeout_s: float = 30.0,
    recovery_timeout_s: float = 60.0,
    token: str | None = None,
    root_ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES,
    keepalive_s: float = KEEPALIVE_S,
) -> "Service":
    """Connect to a running service.

    Args:
        target: host:port.
        timeout_s: how long to wait for the service to come up, and then for each answer [s].
        recovery_timeout_s: how long a session goes on trying after a failure until it raises [s]; 0 raises at once.
        token: that the operator of the service gave.
        root_ca: certificates that sign that of the service, PEM. With it, or with cert and key, the connection is encrypted.
        cert, key: of this caller, PEM, where the service asks for them.
        message_limit_bytes: the largest request or reply.
        keepalive_s: a connection that has been silent for so long is asked for a sign of life, and made anew when none comes
            within a third of that time [s]; not less than a third of the service's own.

    Raises:
        ServiceError: nothing answers there in time, or something else does.
        AccessError: the service does not know the token.
        ConfigError: a file cannot be used, or the token would cross a network in clear text.
    """
    encrypted = root_ca is not None or cert is not None
    check_transport(target.rpartition(":")[0], encrypted=encrypted, tokens=token is not None)
    options = [
        ("grpc.max_receive_message_length", message_limit_bytes),
        ("grpc.max_send_message_length", message_limit_bytes),
        ("grpc.keepalive_time_ms", round(1000 * keepalive_s)),
        ("grpc.keepalive_timeout_ms", round(1000 * keepalive_s / 3)),
        ("grpc.http2.ping_timeout_ms", round(1000 * keepalive_s / 3)),  # what grpc 1.85 goes by, a minute by default
        ("grpc.http2.max_pings_without_data", 0),  # as many as it takes
        ("grpc.max_reconnect_backoff_ms", 2_000),  # a service that restarts is found again soon
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
    ]
    if encrypted:
        channel = grpc.secure_channel(target, channel_credentials(root_ca, cert, key), options)
    else:
        channel = grpc.insecure_channel(target, options)
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    return Service(target, channel, metadata, timeout_s, recovery_timeout_s)


class Service:
    """A connection to a service; safe from several threads. Made by `connect`, ended by `close` or a `with` block."""

    def __init__(
        self,
        target: str,
        channel: grpc.Channel,
        metadata: Sequence[tuple[str, str]],
        timeout_s: float,
        recovery_timeout_s: float,
    ) -> None:
        self.target = target
        self.timeout_s = timeout_s
        self.recovery_timeout_s = recovery_timeout_s
        self.metadata = tuple(metadata)
        self._closed = False
        self._channel = channel
        self.stub = surrogate_pb2_grpc.SurrogateStub(channel)
        self._manifests: dict[str, tuple[Manifest, ConditionValues]] = {}
        try:
            self.call(self.stub.ListModels, pb.ListModelsRequest(), wait_for_ready=True)
        except BaseException:
            self.close()
            raise

    def models(self) -> tuple[str, ...]:
        """Names of the models that the service holds, sorted."""
        reply: pb.ListModelsResponse = self.call_again(self.stub.ListModels, pb.ListModelsRequest())
        return tuple(model.name for model in reply.models)

    def digest(self, name: str) -> str:
        """SHA-256 of the bundle of a model, 64 hexadecimal digits.

        Raises:
            NotServedError: the service has no such model.
        """
        reply: pb.GetModelResponse = self.call_again(self.stub.GetModel, pb.GetModelRequest(name=name))
        return reply.model.bundle_digest

    def manifest(self, name: str) -> Manifest:
        """The manifest of a model.

        Raises:
            NotServedError: the service has no such model; the message lists those it has.
            BundleError: the manifest is of a version that this package does not read.
        """
        reply: pb.GetModelResponse = self.call_again(self.stub.GetModel, pb.GetModelRequest(name=name))
        return Manifest.from_json(reply.manifest_json)

    def open(
        self,
        name: str,
        seed: int = 0,
        z_mode: ZMode | str = ZMode.SAMPLED,
        domain_policy: DomainPolicy | str = DomainPolicy.WARN,
        parameters: Mapping[str, Value] | None = None,
        initialize: bool = True,
        batching: Batching | str = Batching.REPRODUCIBLE,
        time_to_live_s: float = 0.0,
        streaming: bool = False,
        on_recovery: Callable[[Recovery], None] | None = None,
    ) -> RemoteSession:
        """Open a session.

        Args:
            name: of the model.
            seed: of the latents, 0 to 2^63 - 1.
            z_mode: where the latents come from.
            domain_policy: what to do outside the training domain.
            parameters: values of parameters (and first inputs) by name, in their units.
            initialize: start the run at once; else call `initialize` before the first step.
            batching: `reproducible` for equal bits whoever else is served, `throughput` for the last bit of speed.
            time_to_live_s: a session that is not called for so long leaves the service's memory [s]; 0 is the service's default.
            streaming: keep one stream open for the steps, which makes a step cheaper for both sides.
            on_recovery: called after every failure that the session got over.

        Raises:
            InputError: a parameter is unknown or cannot be used, or a mode is unknown.
            DomainError: a parameter lies outside the training domain under the policy `refuse`.
            ServiceError: the service has no such model, is full, or cannot be reached.
        """
        if name not in self._manifests:
            manifest = self.manifest(name)
            self._manifests[name] = (manifest, ConditionValues(manifest))
        manifest, values = self._manifests[name]
        session = RemoteSession(
            self, manifest, values, seed, z_mode, domain_policy, batching, time_to_live_s, streaming, on_recovery
        )
        session.set_values(parameters or {})
        if initialize:
            session.initialize()
        return session

    def do_steps(
        self,
        sessions: Sequence[RemoteSession],
        inputs: Mapping[str, NDArray[Any] | Sequence[Any]] | None = None,
        z: NDArray[Any] | None = None,
        communication_step_size: float | None = None,
    ) -> StepsResult:
        """Advance many sessions of one model by one communication step each, in one call.

        Args:
            sessions: that run, each at most once.
            inputs: columns by name, (sessions, shape of the variable...), in their units.
            z: (sessions, latent_dim) or (sessions, run_latent_dim), where all have z_mode `external`.
            communication_step_size: of all [s]; None is one step of the generator.

        Returns:
            Outputs as columns, and for those that were refused, why. A session that the service had lost is brought back.

        Raises:
            InputError, CallOrderError: a column has the wrong shape, or a session cannot be stepped; none was.
            ServiceError: the service cannot be reached; calling again with equal arguments is safe.
        """
        return step_many(self, sessions, inputs or {}, z, communication_step_size)

    def rollout(
        self,
        name: str,
        step_count: int,
        seeds: Sequence[int] | int = 1,
        inputs: Mapping[str, Value] | None = None,
        parameters: Mapping[str, Value] | None = None,
        z_mode: ZMode | str = ZMode.SAMPLED,
        output_names: Sequence[str] = (),
    ) -> RolloutResult:
        """Whole runs of many members in one call.

        Args:
            name: of the model.
            step_count: generator steps of the run.
            seeds: one per member, or how many members: seeds 0, 1, ...
            inputs: by name, one value per step (step_count, shape...) or one throughout.
            parameters: by name, the same for all members.
            z_mode: where the latents come from.
            output_names: of the outputs to send; empty is all.

        Raises:
            InputError: an argument cannot be used.
            ServiceError: the service has no such model, is busy for too long, or cannot be reached.
        """
        patience = Patience(self.recovery_timeout_s)
        while True:
            try:
                chunks = list(self.rollout_chunks(name, step_count, seeds, inputs, parameters, z_mode, output_names))
            except (ServiceLostError, RetryLaterError) as error:
                patience.wait(error)
                continue
            outputs = {key: np.concatenate([chunk.outputs[key] for chunk in chunks], axis=1) for key in chunks[0].outputs}
            return RolloutResult(outputs, chunks[-1].domain_distances)

    def rollout_chunks(
        self,
        name: str,
        step_count: int,
        seeds: Sequence[int] | int = 1,
        inputs: Mapping[str, Value] | None = None,
        parameters: Mapping[str, Value] | None = None,
        z_mode: ZMode | str = ZMode.SAMPLED,
        output_names: Sequence[str] = (),
        chunk_steps: int = 0,
    ) -> Iterator[RolloutResult]:
        """As `rollout`, in pieces of some steps as they come; it is not tried again after a failure."""
        manifest = self.manifest(name)
        request = pb.RolloutRequest(
            model_name=name,
            seeds=[conversion.seed_to_proto(seed) for seed in (range(seeds) if isinstance(seeds, int) else seeds)],
            z_mode=conversion.z_mode_to_proto(z_mode),
            step_count=step_count,
            inputs=conversion.values_to_proto(manifest, inputs or {}),
            parameters=conversion.values_to_proto(manifest, parameters or {}),
            output_names=output_names,
            chunk_steps=chunk_steps,
        )
        try:
            for chunk in self.stub.Rollout(request, metadata=self.metadata):
                outputs = {key: np.asarray(conversion.array_from_proto(key, value, ())) for key, value in chunk.outputs.items()}
                yield RolloutResult(outputs, np.array(chunk.domain_distances))
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error

    def close(self) -> None:
        """End the connection; its sessions stay at the service until they are closed or idle for too long."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def metadata_of(self, session_id: str) -> tuple[tuple[str, str], ...]:
        """What goes with a call of a session: a proxy may send calls of equal marks to one server."""
        return (*self.metadata, (SESSION_KEY, session_mark(session_id))) if session_id else self.metadata

    def call(self, method: Any, request: Any, wait_for_ready: bool = False) -> Any:
        """Send a request once; the reply, or the error behind its status."""
        if self._closed:
            raise ServiceError(f"the connection to {self.target} is closed; connect again")
        try:
            metadata = self.metadata_of(getattr(request, "new_session_id", "") or getattr(request, "session_id", ""))
            return method(request, timeout=self.timeout_s, wait_for_ready=wait_for_ready, metadata=metadata)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error

    def call_again(self, method: Any, request: Any) -> Any:
        """Send a request that may be repeated until it is answered, as long as `recovery_timeout_s` allows."""
        patience: Patience | None = None
        while True:
            try:
                return self.call(method, request)
            except (ServiceLostError, RetryLaterError) as error:
                patience = patience or Patience(self.recovery_timeout_s)
                patience.wait(error)
