"""Snapshots as bytes: SHA-256, then JSON with arrays in base64, so that floats come back with equal bits."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import SnapshotError

FORMAT = "surrogate-fmu snapshot 1"


def seal_snapshot(content: Mapping[str, Any]) -> bytes:
    """Plain data as a snapshot."""
    text = json.dumps({"format": FORMAT, **content}, separators=(",", ":")).encode()
    return hashlib.sha256(text).digest() + text


def open_snapshot(snapshot: bytes) -> dict[str, Any]:
    """The inverse of `seal_snapshot`.

    Raises:
        SnapshotError: the bytes are damaged, or of another version.
    """
    head, text = bytes(snapshot[:32]), bytes(snapshot[32:])
    if len(head) < 32 or hashlib.sha256(text).digest() != head:
        raise SnapshotError(f"the snapshot of {len(snapshot)} bytes is damaged or truncated; use the bytes that snapshot() gave")
    content: dict[str, Any] = json.loads(text)
    if content.get("format") != FORMAT:
        raise SnapshotError(f"the snapshot has the format {content.get('format')!r}, this version reads {FORMAT!r}")
    return content


def encode_array(values: NDArray[Any]) -> str:
    """The bytes of an array; its type and shape are the reader's to know."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def decode_array(text: str, dtype: Any) -> NDArray[Any]:
    """An array (size,) from `encode_array`."""
    return np.array(np.frombuffer(base64.b64decode(text), dtype=dtype))


def encode_floats(values: tuple[float, ...]) -> str:
    """Floats as float64."""
    return encode_array(np.array(values, dtype=np.float64))


def decode_floats(text: str) -> tuple[float, ...]:
    """The inverse of `encode_floats`."""
    return tuple(decode_array(text, np.float64).tolist())
