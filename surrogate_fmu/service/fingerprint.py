"""What a step was asked to do, in 16 bytes: so a repeated call is told from one with other inputs under the same number.

Equal for a step that came alone and for the same step as a row of many, and for numbers sent as elements or as bytes.
"""

from collections.abc import Mapping
from hashlib import blake2b
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray

FINGERPRINT_SIZE = 16
_NO_NUMBER = b"-"


def fingerprint_step(values: Mapping[str, Any], z: Any = None, communication_step_size: float | None = None) -> bytes:
    """Of one step.

    Args:
        values: inputs by name, a float or an array each.
        z: the latent as an array, or None.
        communication_step_size: [s], or None.
    """
    names = sorted(values)
    numbers: list[float] = []
    for name in names:
        value = values[name]
        if isinstance(value, float):
            numbers.append(value)
        else:
            numbers += np.asarray(value, np.float64).ravel().tolist()
    if z is not None:
        numbers += np.asarray(z, np.float64).ravel().tolist()
    data = _head(names, z is not None, communication_step_size) + pack(f"<{len(numbers)}d", *numbers)
    return blake2b(data, digest_size=FINGERPRINT_SIZE).digest()


def fingerprint_rows(
    columns: Mapping[str, NDArray[Any]], z: NDArray[Any] | None, communication_step_size: float | None, count: int
) -> list[bytes]:
    """Of each of `count` steps: row i of every column (count, ...) and of z (count, latent_dim) belongs to step i."""
    names = sorted(columns)
    head = blake2b(_head(names, z is not None, communication_step_size), digest_size=FINGERPRINT_SIZE)
    blocks = [columns[name].reshape(count, -1) for name in names]
    if z is not None:
        blocks.append(z.reshape(count, -1))
    rows = np.concatenate(blocks, axis=1).astype("<f8", copy=False) if blocks else np.empty((count, 0))
    data, width = rows.tobytes(), rows.shape[1] * 8
    marks = []
    for row in range(count):
        digest = head.copy()
        digest.update(data[row * width : (row + 1) * width])
        marks.append(digest.digest())
    return marks


def _head(names: list[str], has_latent: bool, communication_step_size: float | None) -> bytes:
    size = _NO_NUMBER if communication_step_size is None else pack("<d", communication_step_size)
    return "\0".join(names).encode() + b"\0" + (b"z" if has_latent else _NO_NUMBER) + size
