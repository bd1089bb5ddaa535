"""A run in a server as its client knows it: how it was opened, and what it takes to bring it back when the server lost it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from surrogate_fmu.errors import NotServedError, ServiceError, SessionError, SnapshotError, StepGapError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.service import conversion
from surrogate_fmu.service.recovery import MENDABLE, Patience, Recovery
from surrogate_fmu.service.v1 import surrogate_pb2 as pb

if TYPE_CHECKING:
    from surrogate_fmu.service.client import Service


class _Taken(NamedTuple):
    """A step that was answered after the last resume token: what brings the session to the present point again."""

    request: pb.DoStepRequest
    outputs: Mapping[str, Any]


class RemoteRun:
    """The run of one session.

    Args:
        service: where it lives.
        manifest: of its model.
        recovered: called with each failure that it got over.

    Attributes:
        opening: the request that opened it; empty before the run.
    """

    def __init__(self, service: "Service", manifest: Manifest, recovered: Callable[[Recovery], None]) -> None:
        self._service = service
        self._manifest = manifest
        self._recovered = recovered
        self.begin(pb.OpenRequest(), b"")

    @property
    def session_id(self) -> str:
        """Empty before the run."""
        return self.opening.session_id

    def begin(self, opening: pb.OpenRequest, resume_token: bytes) -> None:
        """Be the run that this request opened."""
        self.opening, self._token = opening, resume_token
        self._taken: list[_Taken] = []

    def add(self, request: pb.DoStepRequest, outputs: Mapping[str, Any], resume_token: bytes) -> None:
        """Note a step that was answered; with a resume token the steps up to here need not be taken again."""
        if resume_token:
            self._token, self._taken = resume_token, []
        else:
            self._taken.append(_Taken(request, outputs))

    def recover(self, request: pb.DoStepRequest, error: SessionError) -> pb.DoStepResponse:
        """Send a step until it is answered, and bring the session back where the service has lost it."""
        patience = Patience(self._service.recovery_timeout_s)
        cause, replayed, calls = str(error), 0, 1
        while True:
            lost = isinstance(error, NotServedError | StepGapError)
            if not lost or calls > 1:  # a session that is lost may be brought back at once
                patience.wait(error)
            calls += 1
            try:
                if lost:
                    replayed += self._bring_back(error)
                reply: pb.DoStepResponse = self._service.call(self._service.stub.DoStep, request)
            except MENDABLE as again:
                error = again
                continue
            recovery = Recovery(request.step_number, cause, calls, replayed, patience.seconds)
            self._recovered(recovery)
            return reply

    def mended(self, call: Callable[[], Any]) -> Any:
        """The reply of a call that changes nothing, after the session was brought back where it was lost."""
        patience = Patience(self._service.recovery_timeout_s)
        lost: SessionError | None = None
        while True:
            try:
                if lost is not None:
                    self._bring_back(lost)
                return call()
            except MENDABLE as error:
                failure, lost = error, error if isinstance(error, NotServedError) else None
            patience.wait(failure)

    def _bring_back(self, error: SessionError) -> int:
        """Open the session again and take the steps since its last token again; how many.

        Raises:
            ServiceError: it cannot be brought back, or what comes differs from what was.
        """
        request = pb.OpenRequest()
        request.CopyFrom(self.opening)
        request.resume_token = self._token
        try:
            standing = self._service.call(self._service.stub.Open, request).point.step_index
        except SnapshotError as refused:
            raise ServiceError(
                f"the service lost the session ({error}) and does not take its resume token ({refused}); open a new session and "
                "step it from the start"
            ) from error
        missing = [taken for taken in self._taken if taken.request.step_number > standing]
        for taken in missing:
            reply: pb.DoStepResponse = self._service.call(self._service.stub.DoStep, taken.request)
            point = conversion.point_from_proto(self._manifest, reply.point)
            if not _same(point.outputs, taken.outputs):
                raise ServiceError(
                    f"step {taken.request.step_number}, taken again after the service lost the session, gave other outputs than "
                    "before: another processor, torch or model serves now; open a new session and step it from the start"
                ) from error
        return len(missing)


def _same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
