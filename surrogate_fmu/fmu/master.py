"""A built FMU driven through FMPy with the surface of a session, so that what is checked and verified is the artefact itself."""

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from surrogate_fmu.errors import CallOrderError, InputError, SessionError, SnapshotError
from surrogate_fmu.fmu.instance import FmuInstance, Message, sizes_of
from surrogate_fmu.fmu.interface import DOMAIN_POLICIES, INTEGER_MAX, Z_MODES
from surrogate_fmu.fmu.scalar import Role
from surrogate_fmu.fmu.unpacked import UnpackedFmu, unpack_fmu
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.variables import Causality, VariableType, find_variable, scalar_names

_SNAPSHOT_FORMAT = "surrogate-fmu FMU snapshot 1"
_HEAD = 32  # SHA-256 in front of a snapshot
# In FMI 2 variables of several types may have one value reference, so references are told apart by their type here.
_SHIFT = 2**32
# And an element of an array of the plant has here that of the array and, beyond all of them, its place there, counted from 1.
_ELEMENT = 2**40
_ACCESS = ("Real", "Integer", "Boolean")
_SHIFTS = {
    VariableType.REAL: 0,
    VariableType.INTEGER: _SHIFT,
    VariableType.ENUMERATION: _SHIFT,
    VariableType.BOOLEAN: 2 * _SHIFT,
}


class FmuSession:
    """A surrogate in an FMU (co-simulation, FMI 2.0 or 3.0); every call means what it means for `runtime.session.Session`.

    What the FMU refuses is raised as the `SessionError` that it named in its message, and undone: values go back to what
    they were, and a refused initialization starts over from fmi2Reset with the values that were set.

    Args:
        path: of the FMU, or an `UnpackedFmu`.
        seed: of the latents, 0 to what the FMU says: 2^31 - 1, the range of fmi2Integer, or 2^63 - 1 with FMI 3.0.
        z_mode: where the latents come from; `external` needs an FMU built with external latents.
        domain_policy: what to do outside the training domain.
        parameters: values of parameters (and first inputs) by name, in their units.
        device: "cpu", "cuda", "cuda:1"; it is looked for in `initialize`.
        start_time: where the master's clock starts [s].

    Raises:
        BuildError: the file is no FMU of a surrogate.
        SessionError: the FMU cannot be instantiated; the message is the FMU's own.
        InputError: a parameter is unknown or its value cannot be used.
    """

    def __init__(
        self,
        path: Path | str | UnpackedFmu,
        seed: int = 0,
        z_mode: ZMode | str = ZMode.SAMPLED,
        domain_policy: DomainPolicy | str = DomainPolicy.WARN,
        parameters: Mapping[str, Any] | None = None,
        device: str = "cpu",
        start_time: float = 0.0,
    ) -> None:
        unpacked = path if isinstance(path, UnpackedFmu) else unpack_fmu(path)
        self._unpacked = unpacked  # keeps the files
        self.manifest = unpacked.manifest
        self._lock = threading.RLock()
        described = {v.name: v for v in unpacked.description.modelVariables}
        self._references = {name: v.valueReference for name, v in described.items()}
        self._sizes = sizes_of(unpacked.description)
        arrays = str(unpacked.description.fmiVersion).startswith("3")
        face = self.manifest.face
        if face is not None and arrays:  # what was an array of the plant is one again
            for array in face.arrays:
                places = enumerate(array.elements, start=1)
                self._references |= {name: self._references[array.name] + _ELEMENT * place for place, name in places}
        self._elements = {
            v.name: [self._references[name] + _SHIFTS[v.type] for name in ([v.name] if arrays else scalar_names(v))]
            for v in (*self.manifest.variables, *(() if face is None else face.kept))
        }
        self._condition = [vr for v in self.manifest.condition for vr in self._elements[v.name]]
        self._output_references = [vr for v in self.manifest.outputs for vr in self._elements[v.name]]
        self._names = {} if face is None or face.seed is None else {str(Role.SEED): face.seed.name}
        latent_names = [f"{Role.LATENT}[{i + 1}]" for i in range(self.manifest.latent_dim)]
        if arrays and latent_names:
            latent_names = [Role.LATENT.value]
        self._latents = [self._role(name) for name in latent_names]
        in_domain = described.get(self._name_of(Role.IN_DOMAIN))
        self._in_domain_is_real = in_domain is not None and in_domain.type != "Boolean"  # as it was built
        self._seed_max = int(getattr(described.get(self._name_of(Role.SEED)), "max", None) or INTEGER_MAX)
        self._start_time = start_time
        self._device = device
        self._seed, self._z_mode, self._domain_policy = 0, ZMode.SAMPLED, DomainPolicy.WARN
        self._step_index = 0
        self._running = self._closed = False
        self._instance = FmuInstance(unpacked)
        self._fmu, self._call = self._instance.fmu, self._instance.call
        self._known: dict[int, list[float]] = {}
        self.configure(seed, z_mode, domain_policy)
        self._declared = (self._seed, self._z_mode, self._domain_policy)
        self._fmu_reset_values()
        self.set_values(parameters or {})

    # -- before the run ------------------------------------------------------------------------------------------

    def configure(
        self, seed: int | None = None, z_mode: ZMode | str | None = None, domain_policy: DomainPolicy | str | None = None
    ) -> None:
        """Change what is fixed for a run; see `Session.configure`."""
        with self._lock:
            self._check_open("configure")
            if self._running:
                raise CallOrderError("configure is not allowed while the session is running: call reset first")
            if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= self._seed_max):
                raise InputError(f"seed {seed!r} must be a whole number from 0 to {self._seed_max} in this FMU")
            try:
                z_mode = self._z_mode if z_mode is None else ZMode(z_mode)
                domain_policy = self._domain_policy if domain_policy is None else DomainPolicy(domain_policy)
            except ValueError as error:
                raise InputError(f"{error}; known are {[m.value for m in (*ZMode, *DomainPolicy)]}") from None
            self._seed, self._z_mode, self._domain_policy = self._seed if seed is None else seed, z_mode, domain_policy
            self._write_configuration()

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Set inputs and tunable parameters, and before the run all parameters, by name in their units; all are taken, or none."""
        with self._lock:
            self._check_open("set_values")
            self._write(*self._scalars_of(values))

    def initialize(self, z: Any = None) -> dict[str, Any]:
        """Start the run and return the outputs at its start; see `Session.initialize`."""
        with self._lock:
            self._check_open("initialize")
            if self._running:
                raise CallOrderError("initialize is not allowed while the session is running: call reset to start again")
            self._write(*self._scalars_of({}, z, "initialize"))
            try:
                self._call(self._fmu.setupExperiment, None, self._start_time)
                self._call(self._fmu.enterInitializationMode)
                self._call(self._fmu.exitInitializationMode)
            except SessionError:
                known = dict(self._known)
                self._fmu.reset()
                self._fmu_reset_values()
                self._write(list(known), [value for values in known.values() for value in values])
                raise
            self._running, self._step_index = True, 0
            return self.outputs

    # -- the run -------------------------------------------------------------------------------------------------

    def do_step(
        self, inputs: Mapping[str, Any] | None = None, z: Any = None, communication_step_size: float | None = None
    ) -> dict[str, Any]:
        """Advance once and return the outputs at the end; see `Session.do_step`."""
        with self._lock:
            self._check_open("do_step")
            step = self.manifest.step_size
            size = step if communication_step_size is None else communication_step_size
            references: list[int] = []
            before: list[float] = []
            if inputs or z is not None:
                references, values = self._scalars_of(inputs or {}, z, "do_step")
                before = self._known_values(references)
                self._write(references, values)
            try:
                self._call(self._fmu.doStep, self._start_time + self._step_index * step, size)
            except SessionError:
                self._write(references, before)
                raise
            self._step_index += round(size / step)
            return self.outputs

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs at the last communication point by name: a float, or an array (shape) for array variables."""
        with self._lock:
            self._check_open("outputs")
            if not self._running:
                raise CallOrderError("outputs is not allowed while the session is instantiated: call initialize first")
            return self._arranged(self.manifest.outputs, self._call(self._get, self._output_references))

    @property
    def values(self) -> dict[str, Any]:
        """Present values of inputs and parameters by name, as the FMU reads them back."""
        with self._lock:
            self._check_open("values")
            return self._arranged(self.manifest.condition, self._call(self._get, self._condition))

    @property
    def in_domain(self) -> bool:
        """Whether the last step lay inside the training domain."""
        with self._lock:
            self._check_open("in_domain")
            read = self._fmu.getReal if self._in_domain_is_real else self._fmu.getBoolean
            return bool(self._call(read, [self._role(Role.IN_DOMAIN)])[0])

    @property
    def domain_distance(self) -> float:
        """Distance from the training domain in widths of the range of the worst variable; 0 inside."""
        with self._lock:
            self._check_open("domain_distance")
            return float(self._call(self._fmu.getReal, [self._role(Role.DOMAIN_DISTANCE)])[0])

    @property
    def seed(self) -> int:
        """Seed of the latents."""
        return self._seed

    @property
    def z_mode(self) -> ZMode:
        """Where the latents come from."""
        return self._z_mode

    @property
    def domain_policy(self) -> DomainPolicy:
        """What happens outside the training domain."""
        return self._domain_policy

    @property
    def step_index(self) -> int:
        """Generator steps taken since the start."""
        return self._step_index

    @property
    def time(self) -> float:
        """Time since the start [s]."""
        return self._step_index * self.manifest.step_size

    @property
    def log(self) -> tuple[Message, ...]:
        """What the FMU logged, the last thousand messages."""
        return tuple(self._instance.log)

    # -- going back, going on elsewhere, ending ----------------------------------------------------------------------

    def reset(self) -> None:
        """fmi2Reset; then the seed, z_mode and policy that the session was made with."""
        with self._lock:
            self._check_open("reset")
            self._call(self._fmu.reset)
            self._seed, self._z_mode, self._domain_policy = self._declared
            self._running, self._step_index = False, 0
            self._fmu_reset_values()

    def snapshot(self) -> bytes:
        """The serialized FMU state and the master's count of steps."""
        with self._lock:
            self._check_open("snapshot")
            state = self._call(self._fmu.getFMUstate)
            try:
                serialized: bytes = self._call(self._fmu.serializeFMUstate, state)
            finally:
                self._fmu.freeFMUstate(state)
            content = {
                "format": _SNAPSHOT_FORMAT,
                "running": self._running,
                "step_index": self._step_index,
                "start_time": self._start_time,
                "configuration": [self._seed, self._z_mode, self._domain_policy],
            }
            text = json.dumps(content).encode() + b"\n" + serialized
            return hashlib.sha256(text).digest() + text

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of any session of the same FMU.

        Raises:
            SnapshotError: it is damaged, of another version, or of another FMU.
        """
        with self._lock:
            self._check_open("restore")
            head, text = snapshot[:_HEAD], snapshot[_HEAD:]
            if len(head) < _HEAD or hashlib.sha256(text).digest() != head:
                raise SnapshotError(f"the snapshot of {len(snapshot)} bytes is damaged; use the bytes that snapshot() gave")
            line, _, serialized = text.partition(b"\n")
            content = json.loads(line)
            if content.get("format") != _SNAPSHOT_FORMAT:
                raise SnapshotError(f"the snapshot has the format {content.get('format')!r}, expected {_SNAPSHOT_FORMAT!r}")
            state = self._call(self._fmu.deSerializeFMUstate, serialized)
            try:
                self._call(self._fmu.setFMUstate, state)
            finally:
                self._fmu.freeFMUstate(state)
            self._running, self._step_index = content["running"], content["step_index"]
            self._start_time = content["start_time"]
            seed, z_mode, domain_policy = content["configuration"]
            self._seed, self._z_mode, self._domain_policy = seed, ZMode(z_mode), DomainPolicy(domain_policy)
            self._read_known()

    def close(self) -> None:
        """Free the instance; every later call but `close` is refused."""
        with self._lock:
            self._closed = True
            self._instance.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _write(self, references: list[int], values: list[float]) -> None:
        if not references:
            return
        try:
            self._call(self._set, references, values)
        except SessionError:
            # A good write takes back the refusal that the FMU holds against its next step.
            self._set(references, self._known_values(references))
            raise
        self._take_known(references, values)

    def _get(self, references: list[int]) -> list[float]:
        """Elements one behind the other; a reference has the shift of its type, and the place of an element."""
        if all(vr < _SHIFT for vr in references):
            values: list[float] = self._fmu.getReal(references)
            return values
        read: dict[int, list[float]] = {}
        values = []
        for vr in references:
            place, whole = divmod(vr, _ELEMENT)
            if whole not in read:
                kind, reference = divmod(whole, _SHIFT)
                read[whole] = list(map(float, getattr(self._fmu, f"get{_ACCESS[kind]}")([reference])))
            values += read[whole][place - 1 : place] if place else read[whole]
        return values

    def _set(self, references: list[int], values: list[float]) -> None:
        if all(vr < _SHIFT for vr in references):
            self._fmu.setReal(references, values)
            return
        wanted: dict[int, list[float]] = {}
        first = 0
        for vr in references:
            place, whole = divmod(vr, _ELEMENT)
            part = values[first : first + self._size(vr)]
            first += len(part)
            if not place:
                wanted[whole] = part
                continue
            if whole not in wanted:
                wanted[whole] = self._get([whole])
            wanted[whole][place - 1 : place] = part
        for whole, numbers in wanted.items():
            kind, reference = divmod(whole, _SHIFT)
            typed = [(float, int, bool)[kind](value) for value in numbers]
            getattr(self._fmu, f"set{_ACCESS[kind]}")([reference], typed)

    def _size(self, reference: int) -> int:
        return 1 if reference >= _ELEMENT else self._sizes[reference % _SHIFT]

    def _known_values(self, references: list[int]) -> list[float]:
        return [value for vr in references for value in self._known[vr]]

    def _take_known(self, references: list[int], values: list[float]) -> None:
        place = 0
        for vr in references:
            self._known[vr] = values[place : place + self._size(vr)]
            place += self._size(vr)

    def _scalars_of(self, values: Mapping[str, Any], z: Any = None, call: str = "") -> tuple[list[int], list[float]]:
        references: list[int] = []
        scalars: list[float] = []
        for name, value in values.items():
            variable = find_variable(self.manifest.variables, name)
            if variable.causality is Causality.OUTPUT:
                raise InputError(f"{name!r} is an output and cannot be set; inputs are {[v.name for v in self.manifest.inputs]}")
            if self._running and not variable.is_settable_in_run:
                raise CallOrderError(f"{name!r} is a parameter and fixed during a run; call reset, set it, and initialize again")
            try:
                array = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name!r}: expected a number in {variable.unit!r}, got {value!r}") from error
            if array.shape != variable.shape:
                raise InputError(f"{name!r}: expected the shape {variable.shape}, got {array.shape}")
            if variable.type is not VariableType.REAL and not all(map(_is_whole, array.ravel().tolist())):
                raise InputError(f"{name!r}: expected a value of its type {variable.type}, as a whole number, got {value!r}")
            references += self._elements[name]
            scalars += array.ravel().tolist()
        if z is not None:
            if self._z_mode is not ZMode.EXTERNAL:
                raise InputError(f"{call} was given z, but z_mode is {self._z_mode}; use z_mode='external' or leave z out")
            latent = np.asarray(z, dtype=np.float64)
            if latent.shape != (self.manifest.latent_dim,):
                raise InputError(f"z: expected {self.manifest.latent_dim} numbers (run latents, then step latents), got {z!r}")
            if None in self._latents:
                raise InputError("z was given, but this FMU was built without latent inputs; build it with --external-latents")
            references += [vr for vr in self._latents if vr is not None]
            scalars += latent.tolist()
        return references, scalars

    def _fmu_reset_values(self) -> None:
        self._read_known()
        self._write_configuration()
        if self.manifest.face is not None:  # what is not modelled, as it was when the plant was recorded
            for name, value in self.manifest.face.values.items():
                self._call(self._set, self._elements[name], [value])
        self._call(self._fmu.setString, [self._role(Role.DEVICE)], [self._device])

    def _write_configuration(self) -> None:
        values = {
            Role.SEED: self._seed,
            Role.Z_MODE: Z_MODES.index(self._z_mode) + 1,
            Role.DOMAIN_POLICY: DOMAIN_POLICIES.index(self._domain_policy) + 1,
        }
        self._call(self._fmu.setInteger, [self._role(role) for role in values], list(values.values()))

    def _read_known(self) -> None:
        references = self._condition + [vr for vr in self._latents if vr is not None]
        values = self._call(self._get, references) if references else []
        self._known = {}
        self._take_known(references, values)

    def _role(self, name: str) -> int | None:
        return self._references.get(self._name_of(name))

    def _name_of(self, name: str) -> str:
        other = f"surrogate.{name}"
        return self._names.get(name) or (other if other in self._references else name)

    def _arranged(self, variables: Any, scalars: list[float]) -> dict[str, Any]:
        arranged: dict[str, Any] = {}
        position = 0
        for variable in variables:
            part = scalars[position : position + variable.size]
            arranged[variable.name] = np.array(part).reshape(variable.shape) if variable.shape else part[0]
            position += variable.size
        return arranged

    def _check_open(self, call: str) -> None:
        if self._closed:
            raise CallOrderError(f"{call} is not allowed while the session is closed: make a new session")


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) < _SHIFT**2
