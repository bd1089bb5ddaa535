"""A session as bytes: what a resume token, a snapshot and the store hold."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from surrogate_fmu.errors import SnapshotError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.runtime.run_state import RunState, decode_run, encode_run
from surrogate_fmu.service.conversion import Batching
from surrogate_fmu.service.fingerprint import FINGERPRINT_SIZE

_FORMAT = 1
_BATCHINGS = tuple(Batching)
# format, batching, token interval, time to live [s], number of the last step (0: none), its fingerprint, digest of the request
# that opened the session, digest of the bundle; then lengths of session id and owner
_HEAD = struct.Struct(f"<BBId q{FINGERPRINT_SIZE}s{FINGERPRINT_SIZE}s32sBB")
_NO_STEP = bytes(FINGERPRINT_SIZE)
NAME_MAX = 255  # bytes of a session id or of an owner's name


class LastStep(NamedTuple):
    """The step that led to the present point: a call with this number and fingerprint is answered with that point."""

    number: int
    fingerprint: bytes


class Moment(NamedTuple):
    """All that a step changes; replaced in one assignment, after the forward succeeded and the store has it."""

    run: RunState
    last: LastStep | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What stays the same in the life of a session.

    Attributes:
        session_id: names it.
        owner: who may use it; empty where callers are not known.
        opened: fingerprint of the request that opened it.
        batching: how its steps may share a call of the generator.
        token_interval: a resume token comes with every so-manieth step.
        time_to_live_s: not called for so long, it leaves the memory [s].
    """

    session_id: str
    owner: str
    opened: bytes
    batching: Batching
    token_interval: int
    time_to_live_s: float


class SessionRecord(NamedTuple):
    """What `decode_record` gives."""

    terms: Terms
    moment: Moment


def encode_record(terms: Terms, bundle_digest: bytes, moment: Moment) -> bytes:
    """The session as bytes; `bundle_digest` is the SHA-256 of its bundle (32 bytes)."""
    last = moment.last or LastStep(0, _NO_STEP)
    session_id, owner = terms.session_id.encode(), terms.owner.encode()
    head = _HEAD.pack(
        _FORMAT,
        _BATCHINGS.index(terms.batching),
        terms.token_interval,
        terms.time_to_live_s,
        last.number,
        last.fingerprint,
        terms.opened,
        bundle_digest,
        len(session_id),
        len(owner),
    )
    return b"".join((head, session_id, owner, encode_run(moment.run)))


def record_digest(data: bytes) -> bytes:
    """The digest (32 bytes) of the bundle that a record belongs to, read before its manifest is known.

    Raises:
        SnapshotError: the bytes are too short or of another version.
    """
    return bytes(_unpack(data)[7])


def decode_record(data: bytes, manifest: Manifest) -> SessionRecord:
    """The inverse of `encode_record`.

    Raises:
        SnapshotError: the bytes are too short, of another version, or do not fit the manifest.
    """
    _, batching, interval, time_to_live_s, number, mark, opened, _, id_length, owner_length = _unpack(data)
    place = _HEAD.size
    if len(data) < place + id_length + owner_length or batching >= len(_BATCHINGS):
        raise SnapshotError(f"the stored session of {len(data)} bytes is damaged or truncated; open a new session")
    session_id = data[place : place + id_length].decode()
    owner = data[place + id_length : place + id_length + owner_length].decode()
    run = decode_run(data[place + id_length + owner_length :], manifest)
    last = LastStep(number, mark) if number else None
    return SessionRecord(Terms(session_id, owner, opened, _BATCHINGS[batching], interval, time_to_live_s), Moment(run, last))


def _unpack(data: bytes) -> tuple[int, int, int, float, int, bytes, bytes, bytes, int, int]:
    if len(data) < _HEAD.size:
        raise SnapshotError(f"the stored session of {len(data)} bytes is truncated; open a new session")
    fields: tuple[int, int, int, float, int, bytes, bytes, bytes, int, int] = _HEAD.unpack_from(data)
    if fields[0] != _FORMAT:
        raise SnapshotError(f"the stored session has the format {fields[0]}, this version reads {_FORMAT}; open a new session")
    return fields
