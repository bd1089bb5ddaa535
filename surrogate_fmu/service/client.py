"""The client: `connect` to a service and open sessions. Imports no torch.

with connect("127.0.0.1:50051") as service, service.open("dfn_cell", seed=7, parameters={"soc_start": 0.8}) as cell:
    y = cell.do_step({"current": 2.5})
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpc

from surrogate_fmu.errors import ServiceError
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.service import conversion
from surrogate_fmu.service.config import MESSAGE_LIMIT_BYTES
from surrogate_fmu.service.conversion import Value
from surrogate_fmu.service.remote_session import RemoteSession
from surrogate_fmu.service.status import error_of
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1 import surrogate_pb2_grpc

__all__ = ["RemoteSession", "Service", "connect"]


def connect(target: str, timeout_s: float = 30.0, message_limit_bytes: int = MESSAGE_LIMIT_BYTES) -> "Service":
    """Connect to a running service.

    Args:
        target: host:port.
        timeout_s: how long to wait for the service to come up, and then for each answer [s].
        message_limit_bytes: the largest request or reply.

    Raises:
        ServiceError: nothing answers there in time, or something else does.
    """
    return Service(target, timeout_s, message_limit_bytes)


class Service:
    """A connection to a service; safe from several threads. Made by `connect`, ended by `close` or a `with` block."""

    def __init__(self, target: str, timeout_s: float, message_limit_bytes: int) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._closed = False
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", message_limit_bytes),
                ("grpc.max_send_message_length", message_limit_bytes),
            ],
        )
        self._stub = surrogate_pb2_grpc.SurrogateStub(self._channel)
        try:
            self._call(self._stub.ListModels, pb.ListModelsRequest(), wait_for_ready=True)
        except BaseException:
            self.close()
            raise

    def models(self) -> tuple[str, ...]:
        """Names of the models that the service holds, sorted."""
        reply: pb.ListModelsResponse = self._call(self._stub.ListModels, pb.ListModelsRequest())
        return tuple(model.name for model in reply.models)

    def manifest(self, name: str) -> Manifest:
        """The manifest of a model.

        Raises:
            ServiceError: the service has no such model; the message lists those it has.
            BundleError: the manifest is of a version that this package does not read.
        """
        reply: pb.GetModelResponse = self._call(self._stub.GetModel, pb.GetModelRequest(name=name))
        return Manifest.from_json(reply.manifest_json)

    def open(
        self,
        name: str,
        seed: int = 0,
        z_mode: ZMode | str = ZMode.SAMPLED,
        domain_policy: DomainPolicy | str = DomainPolicy.WARN,
        parameters: Mapping[str, Value] | None = None,
        initialize: bool = True,
    ) -> RemoteSession:
        """Open a session.

        Args:
            name: of the model.
            seed: of the latents, 0 to 2^63 - 1.
            z_mode: where the latents come from.
            domain_policy: what to do outside the training domain.
            parameters: values of parameters (and first inputs) by name, in their units.
            initialize: start the run at once; else call `initialize` before the first step.

        Raises:
            InputError: a parameter is unknown or cannot be used, or a mode is unknown.
            DomainError: a parameter lies outside the training domain under the policy `refuse`.
            ServiceError: the service has no such model, is full, or cannot be reached.
        """
        manifest = self.manifest(name)
        request = pb.OpenRequest(
            model_name=name,
            seed=conversion.seed_to_proto(seed),
            z_mode=conversion.z_mode_to_proto(z_mode),
            domain_policy=conversion.domain_policy_to_proto(domain_policy),
            parameters=conversion.values_to_proto(manifest, parameters or {}),
            initialize=initialize,
        )
        reply: pb.OpenResponse = self._call(self._stub.Open, request)
        return RemoteSession(manifest, reply.session_id, conversion.point_from_proto(manifest, reply.point), self._stub, self._call)

    def close(self) -> None:
        """End the connection; its sessions stay at the server until they are closed or idle for too long."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, method: Any, request: Any, wait_for_ready: bool = False) -> Any:
        if self._closed:
            raise ServiceError(f"the connection to {self._target} is closed; connect again")
        try:
            return method(request, timeout=self._timeout_s, wait_for_ready=wait_for_ready)
        except grpc.RpcError as error:
            raise error_of(error, self._target) from error
