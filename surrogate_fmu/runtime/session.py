"""One run of a surrogate: the state machine, the latents, the domain, snapshots."""

import math
import threading
from array import array
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_generator
from surrogate_fmu.errors import CallOrderError, DomainError, InputError, SessionError, SnapshotError
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.communication_step import count_substeps
from surrogate_fmu.runtime.domain import DomainBox
from surrogate_fmu.runtime.latent import SEED_MAX, LatentStream
from surrogate_fmu.runtime.slots import make_slots, read_slots
from surrogate_fmu.runtime.snapshot import decode_array, decode_floats, encode_array, encode_floats, open_snapshot, seal_snapshot
from surrogate_fmu.variables import Causality, find_variable

Value = float | Sequence[float] | NDArray[Any]
Array = NDArray[np.float64]

_DRAW_AHEAD = 64  # steps drawn in one call of the generator of bits
_FEW = 100  # numbers that are read sooner as a list than one tensor operation takes
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


class _Run(NamedTuple):
    """All that changes in a session; replaced in one assignment when a call has succeeded."""

    state: SessionState
    seed: int
    z_mode: ZMode
    domain_policy: DomainPolicy
    condition: tuple[float, ...]
    external_latent: tuple[float, ...]
    step_index: int = 0
    hidden: torch.Tensor | None = None
    outputs: tuple[float, ...] | None = None
    domain_distance: float = 0.0
    domain_message: str = ""


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
        self._device = find_device(device)
        generator: Any = load_generator(bundle, device)
        self._initial, self._forward = generator.initial, generator.forward
        self._inference = torch.inference_mode()  # made once, and entered under the lock alone
        self._lock = threading.RLock()
        self._condition_box = DomainBox(self.manifest, self.manifest.condition)
        self._output_box = DomainBox(self.manifest, self.manifest.outputs)
        self._condition_slots = make_slots(self.manifest.condition)
        self._output_slots = make_slots(self.manifest.outputs)
        start = tuple(float(v.start or 0.0) for v in self.manifest.condition for _ in range(v.size))
        no_latent = (0.0,) * self.manifest.latent_dim
        self._run = _Run(SessionState.INSTANTIATED, 0, ZMode.SAMPLED, DomainPolicy.WARN, start, no_latent)
        self._draws: tuple[tuple[int, int], tuple[torch.Tensor, ...]] | None = None
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
            self._run = run

    def set_values(self, values: Mapping[str, Value]) -> None:
        """Set inputs, and before the run parameters, by name in their units. All are taken, or none.

        Raises:
            InputError: a name is unknown or an output, or a value is not finite, of the wrong shape or outside min to max.
            CallOrderError: a parameter comes after initialize.
        """
        with self._lock:
            self._check_allowed("set_values")
            if values:
                self._run = self._run._replace(condition=self._with_values(values))

    def initialize(self, z: Value | None = None) -> dict[str, Any]:
        """Start the run and return the outputs at its start.

        Args:
            z: (latent_dim,), with z_mode `external`; its step part plays no role at the start.

        Raises:
            DomainError: a parameter lies outside the training domain under the policy `refuse`.
        """
        with self._lock:
            self._check_allowed("initialize")
            run = self._with_latent(z, "initialize")
            condition, distance, message = self._apply_domain(run.condition)
            latent = self._latent(run, 0).clone()
            latent[:, self.manifest.run_latent_dim :] = 0.0
            with self._inference:
                y, hidden = self._initial(self._tensor(condition), latent)
                outputs = self._finite(y, hidden, "initialize")
            distance, message = self._output_domain(outputs, distance, message)
            self._run = run._replace(
                state=SessionState.RUNNING,
                hidden=hidden,
                outputs=outputs,
                domain_distance=distance,
                domain_message=message,
            )
            return read_slots(self._output_slots, outputs)

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
            inputs: by name, in their units; inputs not given keep their values.
            z: (latent_dim,), with z_mode `external`; held over substeps and kept until it is given again.
            communication_step_size: [s]; None is one step of the generator. `communication_step` says which ones fit.
            communication_point: the master's time at the start [s], whose rounding a step size may have; None is the time
                since the start of the run.

        Raises:
            CallOrderError, InputError, StepSizeError, DomainError: the session stays as it was.
        """
        with self._lock:
            self._check_allowed("do_step")
            run = self._with_latent(z, "do_step")
            raw_condition = self._with_values(inputs) if inputs else run.condition
            substeps = self._substeps(communication_step_size, communication_point)
            condition, distance, message = self._apply_domain(raw_condition)
            x, hidden = self._tensor(condition), run.hidden
            with self._inference:
                for step in range(run.step_index, run.step_index + substeps):
                    y, hidden = self._forward(x, self._latent(run, step), hidden)
                outputs = self._finite(y, hidden, "do_step")
            distance, message = self._output_domain(outputs, distance, message)
            self._run = run._replace(
                condition=raw_condition,
                step_index=run.step_index + substeps,
                hidden=hidden,
                outputs=outputs,
                domain_distance=distance,
                domain_message=message,
            )
            return read_slots(self._output_slots, outputs)

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs at the last communication point by name: a float, or an array (shape) for array variables."""
        with self._lock:
            self._check_allowed("outputs")
            assert self._run.outputs is not None
            return read_slots(self._output_slots, self._run.outputs)

    @property
    def values(self) -> dict[str, Any]:
        """Present values of inputs and parameters by name."""
        with self._lock:
            return read_slots(self._condition_slots, self._run.condition)

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._run.state

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
            self._run = self._declared

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues from it with equal bits, in this or another process."""
        with self._lock:
            self._check_allowed("snapshot")
            run = self._run
            content = {
                "bundle": self.bundle_digest,
                "state": run.state,
                "seed": run.seed,
                "z_mode": run.z_mode,
                "domain_policy": run.domain_policy,
                "condition": encode_floats(run.condition),
                "external_latent": encode_floats(run.external_latent),
                "step_index": run.step_index,
                "hidden": None if run.hidden is None else encode_array(run.hidden[0].cpu().numpy()),
                "outputs": None if run.outputs is None else encode_floats(run.outputs),
                "domain_distance": run.domain_distance,
                "domain_message": run.domain_message,
            }
            return seal_snapshot(content)

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any session of the same bundle.

        Raises:
            SnapshotError: it is damaged, of another version, or of another bundle.
        """
        with self._lock:
            self._check_allowed("restore")
            content = open_snapshot(snapshot)
            if content["bundle"] != self.bundle_digest:
                raise SnapshotError(
                    f"the snapshot belongs to the bundle {content['bundle'][:12]}, this session runs {self.bundle_digest[:12]}; "
                    "restore it into a session of its own bundle"
                )
            hidden = content["hidden"]
            self._run = _Run(
                SessionState(content["state"]),
                content["seed"],
                ZMode(content["z_mode"]),
                DomainPolicy(content["domain_policy"]),
                decode_floats(content["condition"]),
                decode_floats(content["external_latent"]),
                content["step_index"],
                None if hidden is None else torch.from_numpy(decode_array(hidden, np.float32))[None].to(self._device),
                None if content["outputs"] is None else decode_floats(content["outputs"]),
                content["domain_distance"],
                content["domain_message"],
            )

    def close(self) -> None:
        """End the session; every later call but `close` is refused."""
        with self._lock:
            self._run = self._run._replace(state=SessionState.CLOSED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _check_allowed(self, call: str) -> None:
        state = self._run.state
        if call not in _ALLOWED[state]:
            hint = "make a new session" if state is SessionState.CLOSED else _HINT[call]
            raise CallOrderError(f"{call} is not allowed while the session is {state}: {hint}")

    def _with_values(self, values: Mapping[str, Value]) -> tuple[float, ...]:
        condition = list(self._run.condition)
        for name, value in values.items():
            slot = self._condition_slots.get(name)
            if slot is None:
                find_variable(self.manifest.variables, name)
                raise InputError(f"{name!r} is an output and cannot be set; inputs are {[v.name for v in self.manifest.inputs]}")
            variable, place, low, high = slot
            if variable.causality is Causality.PARAMETER and self._run.state is SessionState.RUNNING:
                raise CallOrderError(f"{name!r} is a parameter and fixed during a run; call reset, set it, and initialize again")
            if isinstance(value, float) and not variable.shape:  # every input at every step comes this way
                elements = [value]
            else:
                array = _numbers(f"{name!r}: expected a number in {variable.unit!r}", value)
                if array.shape != variable.shape:
                    raise InputError(f"{name!r}: expected the shape {variable.shape}, got {array.shape}")
                elements = array.ravel().tolist()
            for element in elements:
                if not math.isfinite(element):
                    raise InputError(f"{name!r}: expected finite numbers in {variable.unit!r}, got {value!r}")
                if not low <= element <= high:
                    raise InputError(f"{name!r}: {value!r} is outside the allowed range [{low:g}, {high:g}] {variable.unit}")
            condition[place] = elements
        return tuple(condition)

    def _with_latent(self, z: Value | None, call: str) -> _Run:
        if z is None:
            return self._run
        if self._run.z_mode is not ZMode.EXTERNAL:
            raise InputError(f"{call} was given z, but z_mode is {self._run.z_mode}; use z_mode='external' or leave z out")
        latent = _numbers("z: expected numbers", z)
        if latent.shape != (self.manifest.latent_dim,) or not np.isfinite(latent).all():
            raise InputError(f"z: expected {self.manifest.latent_dim} finite numbers (run latents, then step latents), got {z!r}")
        return self._run._replace(external_latent=tuple(latent.tolist()))

    def _substeps(self, communication_step_size: float | None, communication_point: float | None) -> int:
        if communication_step_size is None:
            return 1
        step_size = self.manifest.step_size
        point = self._run.step_index * step_size if communication_point is None else communication_point
        return count_substeps(communication_step_size, step_size, point)

    def _latent(self, run: _Run, step: int) -> torch.Tensor:
        """z of a step, (1, latent_dim)."""
        if run.z_mode is ZMode.EXTERNAL:
            return self._tensor(run.external_latent)
        if run.z_mode is ZMode.MEAN:
            return torch.zeros(1, self.manifest.latent_dim, device=self._device)
        if run.z_mode is ZMode.HELD or not self.manifest.step_latent_dim:
            step = 0
        block, offset = divmod(step, _DRAW_AHEAD)
        draws = self._draws
        if draws is None or draws[0] != (run.seed, block):
            stream = LatentStream(run.seed, self.manifest.run_latent_dim, self.manifest.step_latent_dim)
            steps = stream.step_latents(block * _DRAW_AHEAD, _DRAW_AHEAD)
            run_part = np.broadcast_to(stream.run_latent, (_DRAW_AHEAD, self.manifest.run_latent_dim))
            latents = torch.from_numpy(np.concatenate([run_part, steps], axis=1)).to(self._device)
            self._draws = draws = ((run.seed, block), latents.split(1))  # type: ignore[no-untyped-call]
        return draws[1][offset]

    def _apply_domain(self, condition: tuple[float, ...]) -> tuple[tuple[float, ...], float, str]:
        distance = self._condition_box.distance(condition)
        if distance == 0.0:
            return condition, 0.0, ""
        message = self._condition_box.describe(condition)
        if self._run.domain_policy is DomainPolicy.REFUSE:
            raise DomainError(f"{message}; stay inside, or choose the domain policy 'warn' or 'clamp'")
        clamped = self._run.domain_policy is DomainPolicy.CLAMP
        return (self._condition_box.clamp(condition) if clamped else condition), distance, message

    def _output_domain(self, outputs: tuple[float, ...], distance: float, message: str) -> tuple[float, str]:
        output_distance = self._output_box.distance(outputs)
        if output_distance > 0.0 and self._run.domain_policy is DomainPolicy.REFUSE:
            raise DomainError(f"the step would end where {self._output_box.describe(outputs)}; the state is as before")
        if output_distance > distance:
            return output_distance, self._output_box.describe(outputs)
        return distance, message

    def _finite(self, y: torch.Tensor, hidden: torch.Tensor | None, call: str) -> tuple[float, ...]:
        """The outputs of a step; one sum tells whether all of the hidden state is finite."""
        outputs = tuple(y.tolist()[0])
        if hidden is None or not (all(map(math.isfinite, outputs)) and math.isfinite(_total(hidden))):
            raise SessionError(f"{call}: the generator gave values that are not finite; the state is as before")
        return outputs

    def _tensor(self, values: tuple[float, ...]) -> torch.Tensor:
        """(1, size); half the time of `torch.tensor`, and `array` makes an overflow infinite where numpy would warn."""
        tensor = torch.from_numpy(np.ndarray((1, len(values)), np.float32, array("f", values)))
        return tensor if self._device.type == "cpu" else tensor.to(self._device)


def _total(hidden: torch.Tensor) -> float:
    return sum(hidden.tolist()[0]) if hidden.shape[1] <= _FEW else float(hidden.sum())


def _member(enum: type[E], name: str, value: E | str) -> E:
    try:
        return enum(value)
    except ValueError:
        raise InputError(f"{name} {value!r} is unknown; use one of {', '.join(repr(m.value) for m in enum)}") from None


def _numbers(expectation: str, value: Value) -> Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{expectation}, got {value!r}") from error
