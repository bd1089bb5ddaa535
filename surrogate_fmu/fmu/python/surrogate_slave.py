"""The slave that runs a bundle: a thin shell over `runtime.session.Session`."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from surrogate_fmu.bundle.archive import Bundle, read_bundle
from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.errors import InputError, SurrogateError
from surrogate_fmu.fmu.interface import DOMAIN_POLICIES, Z_MODES, Kind, Role
from surrogate_fmu.fmu.python.refusal import fatal_refusal
from surrogate_fmu.fmu.python.slave import BEFORE_RUN, Slave
from surrogate_fmu.manifest import ZMode
from surrogate_fmu.runtime.session import Session


class SurrogateSlave(Slave):
    """A surrogate; the generated slave module of an FMU names the bundle.

    Attributes:
        bundle_name: file name of the bundle in the resources.
        external_latents: whether the FMU has the inputs `z`.
        interface: (manifest, external_latents) -> the scalars, elements of arrays one by one; from the shell.
    """

    bundle_name: ClassVar[str]
    external_latents: ClassVar[bool]
    interface: ClassVar[Any]

    _bundles: ClassVar[dict[str, Bundle]] = {}  # one entry: this copy of the package serves one FMU

    def __init__(self, **kwargs: Any) -> None:
        if self.bundle_name not in self._bundles:
            try:
                bundle = read_bundle(Path(kwargs["resources"]) / self.bundle_name)
                load_generator(bundle)  # loading and warming up belong to instantiation, not to the first step
            except SurrogateError as error:
                raise fatal_refusal(error, self.prefix) from None
            self._bundles[self.bundle_name] = bundle
        self._bundle = self._bundles[self.bundle_name]
        manifest = self._bundle.manifest
        interface = self.interface(manifest, self.external_latents)
        shapes = {variable.name: variable.shape for variable in manifest.variables if variable.shape}
        super().__init__(interface, shapes, manifest.step_size, **kwargs)
        self._roles = {scalar.role: scalar.value_reference for scalar in interface if scalar.role is not None}
        self._latents = [scalar.value_reference for scalar in interface if scalar.role is Role.LATENT]
        self._booleans, self._in_domain = self._table.values[Kind.BOOLEAN], self._roles[Role.IN_DOMAIN]
        self._distance = self._roles[Role.DOMAIN_DISTANCE]
        self._session: Session | None = None
        self._was_in_domain = True
        self._warned_of_latents = False

    def _start_run(self) -> Mapping[str, Any]:
        session = self._make_session()
        outputs = session.initialize(self._latent() if session.z_mode is ZMode.EXTERNAL else None)
        self._session = session
        return outputs

    def _make_session(self) -> Session:
        integers = self._table.values[Kind.INTEGER]
        z_mode = Z_MODES[integers[self._roles[Role.Z_MODE]] - 1]
        if z_mode is ZMode.EXTERNAL and not self.external_latents:
            raise InputError(
                "z_mode is external, but this FMU was built without latent inputs; build it with --external-latents, "
                "or use z_mode 1 (sampled), 2 (mean) or 3 (held)"
            )
        return Session(
            self._bundle,
            integers[self._roles[Role.SEED]],
            z_mode,
            DOMAIN_POLICIES[integers[self._roles[Role.DOMAIN_POLICY]] - 1],
            self._table.away_from_start(),
            self._table.values[Kind.STRING][self._roles[Role.DEVICE]],
        )

    def _advance(self, inputs: Mapping[str, Any], communication_point: float, communication_step_size: float) -> Mapping[str, Any]:
        assert self._session is not None
        latent = None
        if self._latents and not self._table.changed.isdisjoint(self._latents):
            if self._session.z_mode is ZMode.EXTERNAL:
                latent = self._latent()
            elif not self._warned_of_latents:
                self._warned_of_latents = True
                self._warn(f"the latent inputs z are not used: z_mode is {self._session.z_mode}; set it to 4 (external)")
        return self._session.do_step(inputs, latent, communication_step_size, communication_point)

    def _latent(self) -> list[float]:
        return [self._table.reals[vr] for vr in self._latents]

    def _after_outputs(self) -> None:
        assert self._session is not None
        distance = self._session.domain_distance
        in_domain = distance == 0.0
        self._table.reals[self._distance] = distance
        self._booleans[self._in_domain] = in_domain
        if self._was_in_domain and not in_domain:  # once, not at every step outside
            self._warn(self._session.domain_message)
        self._was_in_domain = in_domain

    def _save_run(self) -> str | None:
        if self._session is None or self._state in BEFORE_RUN:
            return None
        return base64.b64encode(self._session.snapshot()).decode()

    def _load_run(self, saved: str | None) -> None:
        if saved is None:
            self._session = None
            return
        session = self._session or self._make_session()
        session.restore(base64.b64decode(saved))
        self._session = session
