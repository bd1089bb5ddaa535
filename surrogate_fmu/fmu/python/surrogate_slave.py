"""The slave of a surrogate: what an FMU's variables mean for a session, wherever that one runs."""

import abc
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from surrogate_fmu.errors import DomainError, InputError, SurrogateError
from surrogate_fmu.fmu.config import OwnOutputs
from surrogate_fmu.fmu.interface import DOMAIN_POLICIES, Z_MODES
from surrogate_fmu.fmu.python.description_token import check_description_token
from surrogate_fmu.fmu.python.interpreter_end import end_interpreter_first
from surrogate_fmu.fmu.python.refusal import fatal_refusal
from surrogate_fmu.fmu.python.slave import BEFORE_RUN, Slave
from surrogate_fmu.fmu.references import set_apart
from surrogate_fmu.fmu.scalar import Kind, Role
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode


class SlaveSession(Protocol):
    """What a slave needs of a session; `runtime.session.Session` says what each call means."""

    def initialize(self, z: Any = None) -> dict[str, Any]: ...
    def do_step(
        self, inputs: Any = None, z: Any = None, communication_step_size: Any = None, communication_point: Any = None
    ) -> dict[str, Any]: ...
    def snapshot(self) -> bytes: ...
    def restore(self, snapshot: bytes) -> None: ...
    @property
    def domain_distance(self) -> float: ...
    @property
    def domain_message(self) -> str: ...


class SurrogateSlave(Slave):
    """A surrogate; subclasses say where its sessions come from.

    Attributes:
        external_latents: whether the FMU has the inputs `z`.
        interface: (manifest, external_latents, statistics, members, own_outputs) -> the scalars, elements of arrays one by one;
            from the shell.
        own_outputs: how `in_domain` and `domain_distance` are told, a value of `OwnOutputs`.
        members: that step together; 1 for no ensemble.
    """

    external_latents: ClassVar[bool]
    interface: ClassVar[Any]
    members: ClassVar[int] = 1
    own_outputs: ClassVar[str] = OwnOutputs.TYPED.value

    def __init__(self, **kwargs: Any) -> None:
        end_interpreter_first(Path(kwargs["resources"]), type(self).__name__)
        try:
            check_description_token(kwargs["resources"], self.token, self.prefix)
            manifest = self._load(kwargs["resources"])
        except SurrogateError as error:
            raise fatal_refusal(error, self.prefix) from None
        own_outputs = OwnOutputs(self.own_outputs)
        described = self.interface(manifest, self.external_latents, self._statistics(), self.members, own_outputs)
        interface, shifts = set_apart(described)
        shapes = {variable.name: variable.shape for variable in manifest.variables if variable.shape}
        super().__init__(interface, shapes, manifest.step_size, shifts, **kwargs)
        self._roles = {scalar.role: scalar.value_reference for scalar in interface if scalar.role is not None}
        self._latents = [scalar.value_reference for scalar in interface if scalar.role is Role.LATENT]
        self._in_domain = self._roles[Role.IN_DOMAIN]
        self._in_domain_kind = Kind.REAL if own_outputs is OwnOutputs.REAL else Kind.BOOLEAN
        self._distance = self._roles[Role.DOMAIN_DISTANCE]
        self._told = [(s.value_reference, s.offset) for s in interface if s.role is Role.STATISTIC]
        self._session: SlaveSession | None = None
        self._z_mode = ZMode.SAMPLED
        self._was_in_domain = True
        self._warned_of_latents = False

    @abc.abstractmethod
    def _load(self, resources: str) -> Manifest:
        """Load what belongs to instantiation, not to the first step; the manifest.

        Raises:
            SurrogateError: there is something wrong with the FMU, and it cannot be instantiated.
        """

    def _statistics(self) -> Mapping[str, bool]:
        """What is told of each output over the members, by name: whether it is a difference."""
        return {}

    def _tell_statistics(self) -> None:
        """Put them into the table."""

    @abc.abstractmethod
    def _open(self, seed: int, z_mode: ZMode, domain_policy: Any, parameters: Mapping[str, Any], device: str) -> SlaveSession:
        """A session that is not initialized; the arguments are those of `Session`."""

    def _start_run(self) -> Mapping[str, Any]:
        self._check_kept()
        session, z_mode = self._make_session()
        outputs = session.initialize(self._latent() if z_mode is ZMode.EXTERNAL else None)
        self._session, self._z_mode = session, z_mode
        return outputs

    def _make_session(self) -> tuple[SlaveSession, ZMode]:
        integers = self._table.values[Kind.INTEGER]
        z_mode = Z_MODES[integers[self._roles[Role.Z_MODE]] - 1]
        if z_mode is ZMode.EXTERNAL and not self.external_latents:
            raise InputError(
                "z_mode is external, but this FMU was built without latent inputs; build it with --external-latents, "
                "or use z_mode 1 (sampled), 2 (mean) or 3 (held)"
            )
        session = self._open(
            integers[self._roles[Role.SEED]],
            z_mode,
            self._policy(),
            self._table.away_from_start(),
            self._table.values[Kind.STRING][self._roles[Role.DEVICE]],
        )
        return session, z_mode

    def _advance(self, inputs: Mapping[str, Any], communication_point: float, communication_step_size: float) -> Mapping[str, Any]:
        assert self._session is not None
        self._check_kept()
        latent = None
        if self._latents and not self._table.changed.isdisjoint(self._latents):
            if self._z_mode is ZMode.EXTERNAL:
                latent = self._latent()
            elif not self._warned_of_latents:
                self._warned_of_latents = True
                self._warn(f"the latent inputs z are not used: z_mode is {self._z_mode}; set it to 4 (external)")
        return self._session.do_step(inputs, latent, communication_step_size, communication_point)

    def _policy(self) -> DomainPolicy:
        place: int = self._table.values[Kind.INTEGER][self._roles[Role.DOMAIN_POLICY]]
        return DOMAIN_POLICIES[place - 1]

    def _check_kept(self) -> None:
        """Refuse a variable that is not modelled and not where it is kept, if the policy is to refuse."""
        distance, sentence = self._table.kept_away()
        if distance > 0.0 and self._policy() is DomainPolicy.REFUSE:
            raise DomainError(f"{sentence}; set it so, or choose the domain policy 'warn' or 'clamp'")

    def _latent(self) -> list[float]:
        return [self._table.reals[vr] for vr in self._latents]

    def _after_outputs(self) -> None:
        assert self._session is not None
        self._tell_statistics()
        distance = self._session.domain_distance
        kept_distance, kept_sentence = self._table.kept_away()
        sentence = kept_sentence if kept_distance > distance else self._session.domain_message
        distance = max(distance, kept_distance)
        in_domain = distance == 0.0
        self._table.reals[self._distance] = distance
        self._table.values[self._in_domain_kind][self._in_domain] = (
            float(in_domain) if self._in_domain_kind is Kind.REAL else in_domain
        )
        if self._was_in_domain and not in_domain:  # once, not at every step outside
            self._warn(sentence)
        self._was_in_domain = in_domain

    def _after_state(self) -> None:
        self._was_in_domain = bool(self._table.values[self._in_domain_kind][self._in_domain])

    def _save_run(self) -> str | None:
        if self._session is None or self._state in BEFORE_RUN:
            return None
        return base64.b64encode(self._session.snapshot()).decode()

    def _load_run(self, saved: str | None) -> None:
        if saved is None:
            self._session = None
            return
        session = self._session
        if session is None:
            session, self._z_mode = self._make_session()
        session.restore(base64.b64decode(saved))
        self._session = session
