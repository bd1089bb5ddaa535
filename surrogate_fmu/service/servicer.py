"""The calls of the API: each converts, calls a session, and converts back."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import CallOrderError, NotServedError, SurrogateError
from surrogate_fmu.runtime.session import Session, SessionState
from surrogate_fmu.service import conversion
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.status import status_of
from surrogate_fmu.service.table import SessionTable
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1 import surrogate_pb2_grpc

_log = logging.getLogger("surrogate_fmu.service")
Request = TypeVar("Request")
Reply = TypeVar("Reply")


def _answering(call: Callable[[Any, Request], Reply]) -> Callable[[Any, Request, Any], Reply]:
    """Turn what a call raises into a status, so that no fault of one call ends the server."""

    @functools.wraps(call)
    def answer(servicer: Any, request: Request, context: Any) -> Reply:
        try:
            return call(servicer, request)
        except SurrogateError as error:
            code, message, metadata = status_of(error)
        except Exception as error:
            _log.exception("%s failed", call.__name__)
            code, metadata = grpc.StatusCode.INTERNAL, ()
            message = f"{call.__name__} failed in the server ({type(error).__name__}); the server's log says more"
        context.set_trailing_metadata(metadata)
        context.abort(code, message)
        raise AssertionError("abort returns never")

    return answer


class SurrogateServicer(surrogate_pb2_grpc.SurrogateServicer):
    """Sessions of some bundles, over gRPC.

    Args:
        bundles: the models, with different names.
        config: device, session limit, idle timeout.
    """

    def __init__(self, bundles: Sequence[Bundle], config: ServeConfig) -> None:
        self._bundles = {bundle.manifest.name: bundle for bundle in sorted(bundles, key=lambda b: b.manifest.name)}
        self._device = config.device
        self.sessions = SessionTable(config.session_limit, config.idle_timeout_s)

    @_answering
    def ListModels(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """The models."""
        return pb.ListModelsResponse(models=[_model(bundle) for bundle in self._bundles.values()])

    @_answering
    def GetModel(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        """A model's manifest."""
        bundle = self._bundle(request.name)
        return pb.GetModelResponse(model=_model(bundle), manifest_json=bundle.manifest.to_json())

    @_answering
    def Open(self, request: pb.OpenRequest) -> pb.OpenResponse:
        """Make a session, initialized unless told not to."""
        bundle = self._bundle(request.model_name)
        session = Session(
            bundle,
            request.seed,
            conversion.z_mode_from_proto(request.z_mode),
            conversion.domain_policy_from_proto(request.domain_policy),
            conversion.values_from_proto(bundle.manifest, request.parameters),
            self._device,
        )
        if request.initialize or not request.HasField("initialize"):
            session.initialize()
        point = _point(session)
        return pb.OpenResponse(session_id=self.sessions.add(session), point=point)

    @_answering
    def GetSession(self, request: pb.GetSessionRequest) -> pb.GetSessionResponse:
        """All that can be read of a session."""
        with self.sessions.use(request.session_id) as session:
            return pb.GetSessionResponse(
                model_name=session.manifest.name,
                point=_point(session),
                values=conversion.known_values_to_proto(session.values),
                seed=session.seed,
                z_mode=conversion.z_mode_to_proto(session.z_mode),
                domain_policy=conversion.domain_policy_to_proto(session.domain_policy),
            )

    @_answering
    def SetValues(self, request: pb.SetValuesRequest) -> pb.SetValuesResponse:
        """Set inputs and parameters."""
        with self.sessions.use(request.session_id) as session:
            session.set_values(conversion.values_from_proto(session.manifest, request.values))
            return pb.SetValuesResponse()

    @_answering
    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        """Start the run."""
        with self.sessions.use(request.session_id) as session:
            session.initialize(_latent(session, request))
            return pb.InitializeResponse(point=_point(session))

    @_answering
    def DoStep(self, request: pb.DoStepRequest) -> pb.DoStepResponse:
        """Advance by one communication step."""
        with self.sessions.use(request.session_id) as session:
            _check_step_number(session, request.step_number)
            session.do_step(
                conversion.values_from_proto(session.manifest, request.inputs),
                _latent(session, request),
                request.communication_step_size if request.HasField("communication_step_size") else None,
            )
            return pb.DoStepResponse(point=_point(session))

    @_answering
    def Reset(self, request: pb.ResetRequest) -> pb.ResetResponse:
        """Go back to a fresh instance."""
        with self.sessions.use(request.session_id) as session:
            session.reset()
            return pb.ResetResponse(point=_point(session))

    @_answering
    def Snapshot(self, request: pb.SnapshotRequest) -> pb.SnapshotResponse:
        """The state as bytes."""
        with self.sessions.use(request.session_id) as session:
            return pb.SnapshotResponse(snapshot=session.snapshot())

    @_answering
    def Restore(self, request: pb.RestoreRequest) -> pb.RestoreResponse:
        """Go on from a snapshot."""
        with self.sessions.use(request.session_id) as session:
            session.restore(request.snapshot)
            return pb.RestoreResponse(point=_point(session))

    @_answering
    def Close(self, request: pb.CloseRequest) -> pb.CloseResponse:
        """End a session."""
        self.sessions.remove(request.session_id)
        return pb.CloseResponse()

    def _bundle(self, name: str) -> Bundle:
        if name not in self._bundles:
            raise NotServedError(f"no model is called {name!r} here; there are {', '.join(repr(n) for n in self._bundles)}")
        return self._bundles[name]


def _model(bundle: Bundle) -> pb.Model:
    return pb.Model(name=bundle.manifest.name, bundle_digest=bundle.digest, description=bundle.manifest.description)


def _point(session: Session) -> pb.CommunicationPoint:
    running = session.state is SessionState.RUNNING
    return conversion.point_to_proto(
        conversion.Point(
            running,
            session.step_index,
            session.time,
            session.outputs if running else {},
            session.in_domain,
            session.domain_distance,
            session.domain_message,
        )
    )


def _latent(session: Session, request: pb.InitializeRequest | pb.DoStepRequest) -> Any:
    return conversion.latent_from_proto(request.z, session.manifest.latent_dim) if request.HasField("z") else None


def _check_step_number(session: Session, step_number: int) -> None:
    expected = session.step_index + 1
    if step_number not in (0, expected):
        raise CallOrderError(
            f"do_step was asked for step {step_number}, the session expects step {expected}: an answer was lost, or another "
            "client uses the session; refresh to read where it stands, then go on from there or restore a snapshot"
        )
