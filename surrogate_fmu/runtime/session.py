"""One run of a surrogate: the state machine over a `Stepper`."""

import threading
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import CallOrderError, InputError, SnapshotError
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.draws import LatentDraws
from surrogate_fmu.runtime.latent import SEED_MAX
from surrogate_fmu.runtime.run_state import decode_run, encode_run
from surrogate_fmu.runtime.snapshot import open_snapshot, seal_snapshot
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.runtime.values import Value

E = TypeVar("E", bound=StrEnum)


class SessionState(StrEnum):
    """Where a session stands."""

    INSTANTIATED = "instantiated"
    RUNNING = "running"
    CLOSED = "closed"


# state -> calls that it allows; every public call looks here first
_ALLOWED: Mapping[SessionState, frozenset[str]] = {
    SessionState.INSTANTIATED: frozenset({"configure", "set_values", "initialize", "reset", "snapshot", "restore", "close"}),
    SessionState.RUNNING: frozenset({"set_values", "do_step", "outputs", "reset", "snapshot", "restore", "close"}),
    SessionState.CLOSED: frozenset({"close"}),
}
_HINT = {
    "configure": "seed, z_mode and domain policy are set before initialize; call reset first",
    "initialize": "it was called already; call reset to start again",
    "do_step": "call initialize first",
    "outputs": "call initialize first",
}


class Session:
    """A surrogate that is stepped.

    The call sequence is `set_values* initialize (set_values* do_step)* close`; `reset` and `restore` go anywhere. A
    call that is refused raises a `SessionError` and leaves the session as it was. Reading never advances, writing never
    advances. Every call is safe from several threads; two sessions share nothing but read-only weights.

    Args:
        bundle: what to run.
        seed: of the latents, 0 to 2^63 - 1.
        z_mode: where the latents come from.
        domain_policy: what to do outside the training domain.
        parameters: values of parameters (and first inputs) by name, in their units.
        device: "cpu", "cuda", "cuda:1".

    Raises:
        DeviceError: this machine has no such device.
        InputError: a parameter is unknown or its value cannot be used.
    """

    def __init__(
        self,
        bundle: Bundle,
        seed: int = 0,
        z_mode: ZMode | str = ZMode.SAMPLED,
        domain_policy: DomainPolicy | str = DomainPolicy.WARN,
        parameters: Mapping[str, Value] | None = None,
        device: str = "cpu",
    ) -> None:
        self.manifest = bundle.manifest
        self.bundle_digest = bundle.digest
        self._stepper = Stepper(bundle, device, reproducible_batch=1)
        self._lock = threading.RLock()
        self._closed = False
        self._run = self._stepper.declared()
        self._draws: LatentDraws | None = None
        self.configure(seed, z_mode, domain_policy)
        self._declared = self._run
        self.set_values(parameters or {})

    # -- before the run ------------------------------------------------------------------------------------------

    def configure(
        self, seed: int | None = None, z_mode: ZMode | str | None = None, domain_policy: DomainPolicy | str | None = None
    ) -> None:
        """Change what is fixed for a run.

        Raises:
            CallOrderError: the run has started.
            InputError: the seed is out of range, or a mode is unknown.
        """
        with self._lock:
            self._check_allowed("configure")
            run = self._run
            if seed is not None:
                if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= SEED_MAX:
                    raise InputError(f"seed {seed!r} must be a whole number from 0 to {SEED_MAX}")
                run = run._replace(seed=int(seed))
            if z_mode is not None:
                run = run._replace(z_mode=_member(ZMode, "z_mode", z_mode))
            if domain_policy is not None:
                run = run._replace(domain_policy=_member(DomainPolicy, "domain_policy", domain_policy))
            self._run, self._draws = run, None

    def set_values(self, values: Mapping[str, Value]) -> None:
        """Set inputs and tunable parameters, and before the run all parameters, by name in their units. All are taken, or none.

        Raises:
            InputError: a name is unknown or an output, or a value is not finite, of the wrong shape or outside min to max.
            CallOrderError: a fixed parameter comes after initialize.
        """
        with self._lock:
            self._check_allowed("set_values")
            if values:
                self._run = self._stepper.with_values(self._run, values)

    def initialize(self, z: Value | None = None) -> dict[str, Any]:
        """Start the run and return the outputs at its start.

        Args:
            z: with z_mode `external`, (latent_dim,), its step part plays no role at the start; or the run latents alone
                (run_latent_dim,), and step latents are drawn from the seed.

        Raises:
            DomainError: a parameter lies outside the training domain under the policy `refuse`.
        """
        with self._lock:
            self._check_allowed("initialize")
            self._run = self._stepper.start(self._run, self._latents(), z)
            return self._outputs()

    # -- the run -------------------------------------------------------------------------------------------------

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
            z: (latent_dim,), with z_mode `external`; held over substeps and kept until it is given again. Run latents alone as
                in `initialize`.
            communication_step_size: [s]; None is one step of the generator. `communication_step` says which ones fit.
            communication_point: the master's time at the start [s], whose rounding a step size may have; None is the time
                since the start of the run.

        Raises:
            CallOrderError, InputError, StepSizeError, DomainError: the session stays as it was.
        """
        with self._lock:
            self._check_allowed("do_step")
            plan = self._stepper.plan(self._run, self._latents(), inputs, z, communication_step_size, communication_point)
            self._run = self._stepper.advance_one(plan)
            return self._outputs()

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs at the last communication point by name: a float, or an array (shape) for array variables."""
        with self._lock:
            self._check_allowed("outputs")
            return self._outputs()

    @property
    def values(self) -> dict[str, Any]:
        """Present values of inputs and parameters by name."""
        with self._lock:
            return self._stepper.values.read(self._run.condition)

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        if self._closed:
            return SessionState.CLOSED
        return SessionState.INSTANTIATED if self._run.hidden is None else SessionState.RUNNING

    @property
    def seed(self) -> int:
        """Seed of the latents."""
        return self._run.seed

    @property
    def z_mode(self) -> ZMode:
        """Where the latents come from."""
        return self._run.z_mode

    @property
    def domain_policy(self) -> DomainPolicy:
        """What happens outside the training domain."""
        return self._run.domain_policy

    @property
    def step_index(self) -> int:
        """Generator steps taken since the start."""
        return self._run.step_index

    @property
    def time(self) -> float:
        """Time since the start [s]."""
        return self._run.step_index * self.manifest.step_size

    @property
    def in_domain(self) -> bool:
        """Whether the last step's condition and outputs lay inside the training domain."""
        return self._run.domain_distance == 0.0

    @property
    def domain_distance(self) -> float:
        """Distance from the training domain in widths of the range of the worst variable; 0 inside."""
        return self._run.domain_distance

    @property
    def domain_message(self) -> str:
        """Which variable left which range; empty inside."""
        return self._run.domain_message

    # -- going back, going on elsewhere, ending ----------------------------------------------------------------------

    def reset(self) -> None:
        """Return to a fresh instance: declared start values, and the seed, z_mode and policy that the session was made with.

        Parameters given to the constructor are values like any others, set after the start, and are to be set again.
        """
        with self._lock:
            self._check_allowed("reset")
            self._run, self._draws = self._declared, None

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues from it with equal bits, in this or another process."""
        with self._lock:
            self._check_allowed("snapshot")
            return seal_snapshot(bytes.fromhex(self.bundle_digest), encode_run(self._run))

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any session of the same bundle.

        Raises:
            SnapshotError: it is damaged, of another version, or of another bundle.
        """
        with self._lock:
            self._check_allowed("restore")
            digest, data = open_snapshot(snapshot)
            if digest.hex() != self.bundle_digest:
                raise SnapshotError(
                    f"the snapshot belongs to the bundle {digest.hex()[:12]}, this session runs {self.bundle_digest[:12]}; "
                    "restore it into a session of its own bundle"
                )
            self._run, self._draws = decode_run(data, self.manifest), None

    def close(self) -> None:
        """End the session; every later call but `close` is refused."""
        with self._lock:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _check_allowed(self, call: str) -> None:
        state = self.state
        if call not in _ALLOWED[state]:
            hint = "make a new session" if state is SessionState.CLOSED else _HINT[call]
            raise CallOrderError(f"{call} is not allowed while the session is {state}: {hint}")

    def _latents(self) -> LatentDraws:
        if self._draws is None:
            self._draws = self._stepper.draws(self._run)
        return self._draws

    def _outputs(self) -> dict[str, Any]:
        assert self._run.outputs is not None
        return self._stepper.values.read_outputs(self._run.outputs)


def _member(enum: type[E], name: str, value: E | str) -> E:
    try:
        return enum(value)
    except ValueError:
        raise InputError(f"{name} {value!r} is unknown; use one of {', '.join(repr(m.value) for m in enum)}") from None
