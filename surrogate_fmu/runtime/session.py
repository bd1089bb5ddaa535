"""One run of a surrogate: the state machine, the latents, the domain, snapshots."""

import base64
import dataclasses
import hashlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_generator
from surrogate_fmu.errors import CallOrderError, DomainError, InputError, SessionError, SnapshotError, StepSizeError
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.domain import DomainBox
from surrogate_fmu.runtime.latent import SEED_MAX, LatentStream
from surrogate_fmu.variables import Causality, find_variable

Value = float | Sequence[float] | NDArray[Any]
Array = NDArray[np.float64]

_SNAPSHOT_FORMAT = "surrogate-fmu snapshot 1"
_DRAW_AHEAD = 64  # steps drawn in one call of the generator of bits
_STEP_TOLERANCE = 1e-9  # relative; communication points are sums of floats
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


@dataclass(frozen=True)
class _Run:
    """All that changes in a session; replaced in one assignment when a call has succeeded."""

    state: SessionState
    seed: int
    z_mode: ZMode
    domain_policy: DomainPolicy
    condition: Array
    external_latent: Array
    step_index: int = 0
    hidden: torch.Tensor | None = None
    outputs: Array | None = None
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
        self._generator: Any = load_generator(bundle, device)
        self._lock = threading.RLock()
        self._condition_box = DomainBox(self.manifest, self.manifest.condition)
        self._output_box = DomainBox(self.manifest, self.manifest.outputs)
        self._slices: dict[str, slice] = {}
        for variables in (self.manifest.condition, self.manifest.outputs):
            position = 0
            for variable in variables:
                self._slices[variable.name] = slice(position, position + variable.size)
                position += variable.size
        start = [float(v.start or 0.0) for v in self.manifest.condition for _ in range(v.size)]
        self._run = _Run(
            SessionState.INSTANTIATED, 0, ZMode.SAMPLED, DomainPolicy.WARN, np.array(start), np.zeros(self.manifest.latent_dim)
        )
        self._draws: tuple[tuple[int, int], LatentStream, NDArray[np.float32]] | None = None
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
                if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= SEED_MAX:
                    raise InputError(f"seed {seed!r} must be a whole number from 0 to {SEED_MAX}")
                run = dataclasses.replace(run, seed=seed)
            if z_mode is not None:
                run = dataclasses.replace(run, z_mode=_member(ZMode, "z_mode", z_mode))
            if domain_policy is not None:
                run = dataclasses.replace(run, domain_policy=_member(DomainPolicy, "domain_policy", domain_policy))
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
                self._run = dataclasses.replace(self._run, condition=self._with_values(values))

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
            latent = self._latent(run, 0).copy()
            latent[self.manifest.run_latent_dim :] = 0.0
            with torch.inference_mode():
                y, hidden = self._generator.initial(self._tensor(condition), self._tensor(latent))
                outputs = y[0].to("cpu", torch.float64).numpy()
            self._check_result(outputs, hidden, "initialize")
            distance, message = self._output_domain(outputs, distance, message)
            self._run = dataclasses.replace(
                run,
                state=SessionState.RUNNING,
                hidden=hidden,
                outputs=outputs,
                domain_distance=distance,
                domain_message=message,
            )
            return self.outputs

    # -- the run -------------------------------------------------------------------------------------------------

    def do_step(
        self,
        inputs: Mapping[str, Value] | None = None,
        z: Value | None = None,
        communication_step_size: float | None = None,
    ) -> dict[str, Any]:
        """Advance once, by the generator's step or a whole multiple, with held inputs; return the outputs at the end.

        Args:
            inputs: by name, in their units; inputs not given keep their values.
            z: (latent_dim,), with z_mode `external`; held over substeps and kept until it is given again.
            communication_step_size: [s]; None is one step of the generator.

        Raises:
            CallOrderError, InputError, StepSizeError, DomainError: the session stays as it was.
        """
        with self._lock:
            self._check_allowed("do_step")
            run = self._with_latent(z, "do_step")
            raw_condition = self._with_values(inputs) if inputs else run.condition
            substeps = self._substeps(communication_step_size)
            condition, distance, message = self._apply_domain(raw_condition)
            x, hidden, outputs = self._tensor(condition), run.hidden, run.outputs
            with torch.inference_mode():
                for step in range(run.step_index, run.step_index + substeps):
                    y, hidden = self._generator(x, self._tensor(self._latent(run, step)), hidden)
                outputs = y[0].to("cpu", torch.float64).numpy()
            self._check_result(outputs, hidden, "do_step")
            distance, message = self._output_domain(outputs, distance, message)
            self._run = dataclasses.replace(
                run,
                condition=raw_condition,
                step_index=run.step_index + substeps,
                hidden=hidden,
                outputs=outputs,
                domain_distance=distance,
                domain_message=message,
            )
            return self.outputs

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs at the last communication point by name: a float, or an array (shape) for array variables."""
        with self._lock:
            self._check_allowed("outputs")
            assert self._run.outputs is not None
            return {v.name: self._read(self._run.outputs, v.name, v.shape) for v in self.manifest.outputs}

    @property
    def values(self) -> dict[str, Any]:
        """Present values of inputs and parameters by name."""
        with self._lock:
            return {v.name: self._read(self._run.condition, v.name, v.shape) for v in self.manifest.condition}

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
        """Return to a fresh instance: start values, and the seed, z_mode and policy that the session was made with."""
        with self._lock:
            self._check_allowed("reset")
            self._run = self._declared

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues from it with equal bits, in this or another process."""
        with self._lock:
            self._check_allowed("snapshot")
            run = self._run
            content = {
                "format": _SNAPSHOT_FORMAT,
                "bundle": self.bundle_digest,
                "state": run.state,
                "seed": run.seed,
                "z_mode": run.z_mode,
                "domain_policy": run.domain_policy,
                "condition": _encode_array(run.condition),
                "external_latent": _encode_array(run.external_latent),
                "step_index": run.step_index,
                "hidden": None if run.hidden is None else _encode_array(run.hidden[0].cpu().numpy()),
                "outputs": None if run.outputs is None else _encode_array(run.outputs),
                "domain_distance": run.domain_distance,
                "domain_message": run.domain_message,
            }
            text = json.dumps(content, separators=(",", ":")).encode()
            return hashlib.sha256(text).digest() + text

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any session of the same bundle.

        Raises:
            SnapshotError: it is damaged, of another version, or of another bundle.
        """
        with self._lock:
            self._check_allowed("restore")
            content = _read_snapshot(snapshot)
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
                _decode_array(content["condition"], np.float64),
                _decode_array(content["external_latent"], np.float64),
                content["step_index"],
                None if hidden is None else torch.from_numpy(_decode_array(hidden, np.float32))[None].to(self._device),
                None if content["outputs"] is None else _decode_array(content["outputs"], np.float64),
                content["domain_distance"],
                content["domain_message"],
            )

    def close(self) -> None:
        """End the session; every later call but `close` is refused."""
        with self._lock:
            self._run = dataclasses.replace(self._run, state=SessionState.CLOSED)

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

    def _with_values(self, values: Mapping[str, Value]) -> Array:
        condition = self._run.condition.copy()
        for name, value in values.items():
            variable = find_variable(self.manifest.variables, name)
            if variable.causality is Causality.OUTPUT:
                raise InputError(f"{name!r} is an output and cannot be set; inputs are {[v.name for v in self.manifest.inputs]}")
            if variable.causality is Causality.PARAMETER and self._run.state is SessionState.RUNNING:
                raise CallOrderError(f"{name!r} is a parameter and fixed during a run; call reset, set it, and initialize again")
            array = _numbers(f"{name!r}: expected a number in {variable.unit!r}", value)
            if array.shape != variable.shape:
                raise InputError(f"{name!r}: expected the shape {variable.shape}, got {array.shape}")
            if not np.isfinite(array).all():
                raise InputError(f"{name!r}: expected finite numbers in {variable.unit!r}, got {value!r}")
            low = -math.inf if variable.min is None else variable.min
            high = math.inf if variable.max is None else variable.max
            if array.size and (array.min() < low or array.max() > high):
                raise InputError(f"{name!r}: {value!r} is outside the allowed range [{low:g}, {high:g}] {variable.unit}")
            condition[self._slices[name]] = array.ravel()
        return condition

    def _with_latent(self, z: Value | None, call: str) -> _Run:
        if z is None:
            return self._run
        if self._run.z_mode is not ZMode.EXTERNAL:
            raise InputError(f"{call} was given z, but z_mode is {self._run.z_mode}; use z_mode='external' or leave z out")
        latent = _numbers("z: expected numbers", z)
        if latent.shape != (self.manifest.latent_dim,) or not np.isfinite(latent).all():
            raise InputError(f"z: expected {self.manifest.latent_dim} finite numbers (run latents, then step latents), got {z!r}")
        return dataclasses.replace(self._run, external_latent=latent)

    def _substeps(self, communication_step_size: float | None) -> int:
        if communication_step_size is None:
            return 1
        try:
            ratio = float(communication_step_size) / self.manifest.step_size
        except (TypeError, ValueError) as error:
            raise StepSizeError(f"the communication step {communication_step_size!r} is no number of seconds") from error
        count = round(ratio) if math.isfinite(ratio) else 0
        if count < 1 or abs(ratio - count) > _STEP_TOLERANCE * count:
            raise StepSizeError(
                f"a communication step of {communication_step_size:g} s is no whole multiple of the generator's step "
                f"of {self.manifest.step_size:g} s; use {self.manifest.step_size:g} s or a multiple of it"
            )
        return count

    def _latent(self, run: _Run, step: int) -> NDArray[Any]:
        if run.z_mode is ZMode.EXTERNAL:
            return run.external_latent
        if run.z_mode is ZMode.MEAN:
            return np.zeros(self.manifest.latent_dim)
        if run.z_mode is ZMode.HELD:
            step = 0
        block, offset = divmod(step, _DRAW_AHEAD)
        if self._draws is None or self._draws[0] != (run.seed, block):
            stream = LatentStream(run.seed, self.manifest.run_latent_dim, self.manifest.step_latent_dim)
            steps = stream.step_latents(block * _DRAW_AHEAD, _DRAW_AHEAD)
            run_part = np.broadcast_to(stream.run_latent, (_DRAW_AHEAD, self.manifest.run_latent_dim))
            self._draws = ((run.seed, block), stream, np.concatenate([run_part, steps], axis=1))
        latent: NDArray[np.float32] = self._draws[2][offset]
        return latent

    def _apply_domain(self, condition: Array) -> tuple[Array, float, str]:
        distance = self._condition_box.distance(condition)
        if distance == 0.0:
            return condition, 0.0, ""
        message = self._condition_box.describe(condition)
        if self._run.domain_policy is DomainPolicy.REFUSE:
            raise DomainError(f"{message}; stay inside, or choose the domain policy 'warn' or 'clamp'")
        clamped = self._run.domain_policy is DomainPolicy.CLAMP
        return (self._condition_box.clamp(condition) if clamped else condition), distance, message

    def _output_domain(self, outputs: Array, distance: float, message: str) -> tuple[float, str]:
        output_distance = self._output_box.distance(outputs)
        if output_distance > 0.0 and self._run.domain_policy is DomainPolicy.REFUSE:
            raise DomainError(f"the step would end where {self._output_box.describe(outputs)}; the state is as before")
        if output_distance > distance:
            return output_distance, self._output_box.describe(outputs)
        return distance, message

    def _check_result(self, outputs: Array, hidden: torch.Tensor | None, call: str) -> None:
        if hidden is None or not (np.isfinite(outputs).all() and bool(torch.isfinite(hidden).all())):
            raise SessionError(f"{call}: the generator gave values that are not finite; the state is as before")

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)[None]).to(self._device)

    def _read(self, values: Array, name: str, shape: tuple[int, ...]) -> Any:
        part = values[self._slices[name]]
        return part.reshape(shape).copy() if shape else float(part[0])


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


def _encode_array(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _decode_array(text: str, dtype: Any) -> NDArray[Any]:
    return np.array(np.frombuffer(base64.b64decode(text), dtype=dtype))


def _read_snapshot(snapshot: bytes) -> dict[str, Any]:
    head, text = bytes(snapshot[:32]), bytes(snapshot[32:])
    if len(head) < 32 or hashlib.sha256(text).digest() != head:
        raise SnapshotError(f"the snapshot of {len(snapshot)} bytes is damaged or truncated; use the bytes that snapshot() gave")
    content: dict[str, Any] = json.loads(text)
    if content.get("format") != _SNAPSHOT_FORMAT:
        raise SnapshotError(f"the snapshot has the format {content.get('format')!r}, this version reads {_SNAPSHOT_FORMAT!r}")
    return content
