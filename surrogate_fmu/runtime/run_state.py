"""All that changes in a run, and its form as bytes."""

import math
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import SnapshotError
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.runtime.latent import SEED_MAX
from surrogate_fmu.variables import settable_parameters

_FORMAT = 2
_Z_MODES = tuple(ZMode)
_POLICIES = tuple(DomainPolicy)
# format, z mode, domain policy, whether the run has started; seed, step index, domain distance; then lengths: condition,
# latent, hidden, outputs, message
_HEAD = struct.Struct("<BBB?qqdIIIII")


class RunState(NamedTuple):
    """A run at a communication point; replaced as a whole when a call has succeeded.

    Attributes:
        seed: of the latents.
        z_mode: where they come from.
        domain_policy: what happens outside the training domain.
        condition: inputs and parameters as they were given (condition_dim,), physical units.
        external_latent: the last z that the caller gave: (latent_dim,), or its run part alone (run_latent_dim,).
        step_index: generator steps since the start.
        hidden: float32, not to be written to: a numpy array (hidden_dim,), or the generator's own tensor (1, hidden_dim), which
            saves a copy per step; None before the start.
        outputs: (output_dim,), physical units; None before the start.
        domain_distance: from the training domain, in widths of the range of the worst variable; 0 inside.
        domain_message: which variable left which range; empty inside.
        start: tunable parameters as they were when the run began, one per scalar; empty before the start and where there are none.
        tuned_distance: the largest distance that they had from there in this run, as the generator saw them.
    """

    seed: int
    z_mode: ZMode
    domain_policy: DomainPolicy
    condition: tuple[float, ...]
    external_latent: tuple[float, ...]
    step_index: int = 0
    hidden: Any = None
    outputs: tuple[float, ...] | None = None
    domain_distance: float = 0.0
    domain_message: str = ""
    start: tuple[float, ...] = ()
    tuned_distance: float = 0.0


def hidden_numbers(run: RunState) -> NDArray[np.float32]:
    """The hidden state of a run that has started, (hidden_dim,)."""
    if isinstance(run.hidden, np.ndarray):
        return run.hidden
    numbers: NDArray[np.float32] = run.hidden.cpu().numpy().reshape(-1)
    return numbers


def encode_run(run: RunState) -> bytes:
    """The run as bytes; floats keep every bit."""
    hidden = b"" if run.hidden is None else hidden_numbers(run).astype("<f4", copy=False).tobytes()
    outputs = run.outputs or ()
    message = run.domain_message.encode()
    head = _HEAD.pack(
        _FORMAT,
        _Z_MODES.index(run.z_mode),
        _POLICIES.index(run.domain_policy),
        run.hidden is not None,
        run.seed,
        run.step_index,
        run.domain_distance,
        len(run.condition),
        len(run.external_latent),
        len(hidden) // 4,
        len(outputs),
        len(message),
    )
    numbers = (*run.condition, *run.external_latent, *outputs, *run.start, *((run.tuned_distance,) if run.start else ()))
    return b"".join((head, struct.pack(f"<{len(numbers)}d", *numbers), hidden, message))


def decode_run(data: bytes, manifest: Manifest) -> RunState:
    """The inverse of `encode_run`, for a model of this manifest.

    Raises:
        SnapshotError: the bytes are truncated, of another version, or do not fit the manifest.
    """
    if len(data) < _HEAD.size:
        raise _damaged(data)
    format_, z_mode, policy, started, seed, step_index, distance, *lengths = _HEAD.unpack_from(data)
    if format_ != _FORMAT:
        raise SnapshotError(f"the snapshot has the format {format_}, this version reads {_FORMAT}; make it again")
    condition_count, latent_count, hidden_count, output_count, message_length = lengths
    expected = (
        manifest.condition_dim,
        manifest.latent_dim,
        manifest.hidden_dim if started else 0,
        manifest.output_dim if started else 0,
    )
    run_part = (manifest.condition_dim, manifest.run_latent_dim, *expected[2:])
    if tuple(lengths[:4]) not in (expected, run_part):
        raise SnapshotError(
            f"the snapshot has {tuple(lengths[:4])} numbers of condition, latent, hidden state and outputs, this model {expected}; "
            "restore it into a session of its own bundle"
        )
    tunable_count = sum(variable.size for variable in settable_parameters(manifest.variables)) if started else 0
    number_count = condition_count + latent_count + output_count + (tunable_count + 1 if tunable_count else 0)
    hidden_start = _HEAD.size + 8 * number_count
    message_start = hidden_start + 4 * hidden_count
    if len(data) != message_start + message_length or z_mode >= len(_Z_MODES) or policy >= len(_POLICIES):
        raise _damaged(data)
    numbers = struct.unpack_from(f"<{number_count}d", data, _HEAD.size)
    hidden = np.frombuffer(data, "<f4", hidden_count, hidden_start).astype(np.float32)
    if not (0 <= seed <= SEED_MAX and step_index >= 0 and distance >= 0.0 and math.isfinite(distance)):
        raise _damaged(data)
    if not (all(map(math.isfinite, numbers)) and np.isfinite(hidden).all()):
        raise _damaged(data)
    try:
        message = data[message_start:].decode()
    except UnicodeDecodeError as error:
        raise _damaged(data) from error
    first_output = condition_count + latent_count
    first_start = first_output + output_count
    *start, tuned_distance = numbers[first_start:] or (0.0,)
    if tuned_distance < 0.0:
        raise _damaged(data)
    return RunState(
        seed,
        _Z_MODES[z_mode],
        _POLICIES[policy],
        numbers[:condition_count],
        numbers[condition_count:first_output],
        step_index,
        hidden if started else None,
        numbers[first_output:first_start] if started else None,
        distance,
        message,
        tuple(start),
        tuned_distance,
    )


def _damaged(data: bytes) -> SnapshotError:
    return SnapshotError(f"the snapshot of {len(data)} bytes is damaged or truncated; use the bytes that snapshot() gave")
