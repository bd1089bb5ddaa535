"""The slave that has its steps taken by a service: for masters that load FMUs only. Needs grpcio in the host's Python, no torch."""

import contextlib
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from surrogate_fmu.errors import InputError, ServiceError, SurrogateError
from surrogate_fmu.fmu.python.surrogate_slave import SurrogateSlave
from surrogate_fmu.manifest import Manifest, ZMode
from surrogate_fmu.service.client import RemoteSession, Service, connect

_TARGET, _TOKEN, _ROOT_CA = "SURROGATE_FMU_TARGET", "SURROGATE_FMU_TOKEN", "SURROGATE_FMU_ROOT_CA"


class RemoteSlave(SurrogateSlave):
    """A surrogate that is served; the generated slave module of an FMU names where.

    The environment of the host may say otherwise: SURROGATE_FMU_TARGET is another service, SURROGATE_FMU_TOKEN a bearer token,
    SURROGATE_FMU_ROOT_CA the certificates that sign the service's, in a file.

    Attributes:
        target: host:port of the service.
        bundle_digest: of the bundle that it must serve.
    """

    target: ClassVar[str]
    bundle_digest: ClassVar[str]

    def _load(self, resources: str) -> Manifest:
        manifest = Manifest.from_json((Path(resources) / "manifest.json").read_bytes())
        self._model_name = manifest.name
        root_ca = os.environ.get(_ROOT_CA)
        self._service: Service = connect(
            os.environ.get(_TARGET) or self.target,
            token=os.environ.get(_TOKEN),
            root_ca=Path(root_ca) if root_ca else None,
        )
        weakref.finalize(self, self._service.close)
        served = self._service.digest(manifest.name)
        if served != self.bundle_digest:
            raise ServiceError(
                f"the service at {self._service.target} serves {manifest.name!r} of the bundle {served[:12]}, this FMU is for "
                f"{self.bundle_digest[:12]}; serve that one, or build the FMU anew"
            )
        return manifest

    def _open(self, seed: int, z_mode: ZMode, domain_policy: Any, parameters: Mapping[str, Any], device: str) -> RemoteSession:
        if device != "cpu":
            raise InputError(f"device is {device!r}, but a served model runs where its service says; leave it at 'cpu'")
        self._end_session()
        session = self._service.open(self._model_name, seed, z_mode, domain_policy, parameters, initialize=False)
        self._finalizer = weakref.finalize(self, _close_quietly, session)
        return session

    def terminate(self) -> None:
        """The end of the run, which frees its place at the service."""
        super().terminate()
        self._end_session()

    def _end_session(self) -> None:
        if self._session is not None:
            self._finalizer()


def _close_quietly(session: RemoteSession) -> None:
    """A service that cannot be reached now evicts the session by itself."""
    with contextlib.suppress(SurrogateError):
        session.close()
