"""Snapshots of a session as bytes: SHA-256 of the rest, a magic word, the digest of the bundle, the run."""

import hashlib

from surrogate_fmu.errors import SnapshotError

_MAGIC = b"SFMUrun2"
_DIGEST_SIZE = 32
_HEAD_SIZE = len(_MAGIC) + 2 * _DIGEST_SIZE


def seal_snapshot(bundle_digest: bytes, run: bytes) -> bytes:
    """A run (`encode_run`) of a bundle as a snapshot."""
    content = _MAGIC + bundle_digest + run
    return hashlib.sha256(content).digest() + content


def open_snapshot(snapshot: bytes) -> tuple[bytes, bytes]:
    """The inverse of `seal_snapshot`: digest of the bundle, and the run.

    Raises:
        SnapshotError: the bytes are damaged, or of another version.
    """
    head, content = bytes(snapshot[:_DIGEST_SIZE]), bytes(snapshot[_DIGEST_SIZE:])
    if len(snapshot) < _HEAD_SIZE or hashlib.sha256(content).digest() != head:
        raise SnapshotError(f"the snapshot of {len(snapshot)} bytes is damaged or truncated; use the bytes that snapshot() gave")
    if not content.startswith(_MAGIC):
        raise SnapshotError(f"the snapshot has the format {content[:8]!r}, this version reads {_MAGIC!r}; make it again")
    content = content[len(_MAGIC) :]
    return content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
