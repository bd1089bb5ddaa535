"""What a client adds to the server's snapshot: values that were set but not sent yet, and how the session was opened."""

import hashlib
import struct
from typing import NamedTuple

from google.protobuf.message import DecodeError

from surrogate_fmu.errors import SnapshotError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.runtime.run_state import RunState, decode_run, encode_run
from surrogate_fmu.service.v1 import surrogate_pb2 as pb

_MAGIC = b"SFMUrem1"
_DIGEST_SIZE = 32
_LENGTHS = struct.Struct("<II")


class RemoteSnapshot(NamedTuple):
    """A remote session at a communication point, or before its start.

    Attributes:
        local: seed, modes and condition.
        opening: the request that opened it; empty before the start.
        token: the server's snapshot; empty before the start.
    """

    local: RunState
    opening: pb.OpenRequest
    token: bytes


def seal_remote_snapshot(snapshot: RemoteSnapshot) -> bytes:
    """The snapshot as bytes: SHA-256 of the rest, a magic word, two lengths, and the three parts."""
    local, opening = encode_run(snapshot.local), snapshot.opening.SerializeToString(deterministic=True)
    content = b"".join((_MAGIC, _LENGTHS.pack(len(local), len(opening)), local, opening, snapshot.token))
    return hashlib.sha256(content).digest() + content


def open_remote_snapshot(data: bytes, manifest: Manifest) -> RemoteSnapshot:
    """The inverse of `seal_remote_snapshot`.

    Raises:
        SnapshotError: the bytes are damaged, of another version, or of another model.
    """
    data = bytes(data)
    digest, content = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
    place = len(_MAGIC) + _LENGTHS.size
    if len(content) < place or hashlib.sha256(content).digest() != digest:
        raise _damaged(data)
    if not content.startswith(_MAGIC):
        raise SnapshotError(
            f"the snapshot has the format {content[:8]!r}, a remote session reads {_MAGIC!r}; use the snapshot of a remote session"
        )
    local_length, opening_length = _LENGTHS.unpack_from(content, len(_MAGIC))
    local = decode_run(content[place : place + local_length], manifest)
    place += local_length
    try:
        opening = pb.OpenRequest.FromString(content[place : place + opening_length])
    except DecodeError as error:
        raise _damaged(data) from error
    return RemoteSnapshot(local, opening, content[place + opening_length :])


def _damaged(data: bytes) -> SnapshotError:
    return SnapshotError(f"the snapshot of {len(data)} bytes is damaged or truncated; use the bytes that snapshot() gave")
