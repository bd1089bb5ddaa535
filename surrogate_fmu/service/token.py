"""Tokens: bytes that a caller keeps for the server, and that only a server with the same key made.

Layout: magic word with the version, 4 bytes that tell the key, the payload, HMAC-SHA256 of all before it (RFC 2104). The
payload is signed, not encrypted: whoever has a token can read the numbers of its session.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from surrogate_fmu.errors import ConfigError, SnapshotError
from surrogate_fmu.service.private_file import check_private

_MAGIC = b"SFT1"
_KEY_ID_SIZE = 4
_SIGNATURE_SIZE = 32
_HEAD_SIZE = len(_MAGIC) + _KEY_ID_SIZE
_SECRET_SIZE = 32


class TokenKey:
    """Signs tokens and knows its own.

    Args:
        secret: at least 32 bytes.
        previous: secrets of before, whose tokens are still taken.

    Raises:
        ConfigError: a secret is too short.
    """

    def __init__(self, secret: bytes, previous: Sequence[bytes] = ()) -> None:
        for candidate in (secret, *previous):
            if len(candidate) < _SECRET_SIZE:
                raise ConfigError(
                    f"the key has {len(candidate)} bytes, at least {_SECRET_SIZE} are needed; make one with `openssl rand 32`"
                )
        self._secrets = {_key_id(candidate): candidate for candidate in (*previous, secret)}
        self._own = _key_id(secret)

    @classmethod
    def random(cls) -> Self:
        """A key that ends with the process, and its tokens with it."""
        return cls(secrets.token_bytes(_SECRET_SIZE))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The key in a file, which is made where there is none.

        Raises:
            ConfigError: the file cannot be read or made, is readable by others, or is too short.
        """
        try:
            if not path.exists():
                _make(path)
            check_private(path, "key file")
            secret = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"the key file {path} cannot be used ({error}); give another one with --key-file") from error
        if len(secret) < _SECRET_SIZE:
            raise ConfigError(
                f"the key file {path} has {len(secret)} bytes, at least {_SECRET_SIZE} are needed; delete it and let the service "
                "make one, or make one with `openssl rand 32`"
            )
        return cls(secret)

    def seal(self, payload: bytes) -> bytes:
        """A token that holds the payload."""
        content = _MAGIC + self._own + payload
        return content + hmac.digest(self._secrets[self._own], content, "sha256")

    def open(self, token: bytes) -> bytes:
        """The payload of a token.

        Raises:
            SnapshotError: it is truncated, damaged, of another version, or signed with a key that is not here.
        """
        if len(token) < _HEAD_SIZE + _SIGNATURE_SIZE:
            raise SnapshotError(f"the token of {len(token)} bytes is truncated; use the bytes that the service gave")
        if not token.startswith(_MAGIC):
            raise SnapshotError(
                f"the token begins with {token[:4]!r}, those of this service with {_MAGIC!r}; it is no token, or of another version"
            )
        secret = self._secrets.get(token[len(_MAGIC) : _HEAD_SIZE])
        if secret is None:
            raise SnapshotError(
                "the token was signed with another key; start the service with the --key-file that it was made with"
            )
        content, signature = token[:-_SIGNATURE_SIZE], token[-_SIGNATURE_SIZE:]
        if not hmac.compare_digest(hmac.digest(secret, content, "sha256"), signature):
            raise SnapshotError(f"the token of {len(token)} bytes is damaged or truncated; use the bytes that the service gave")
        return content[_HEAD_SIZE:]


def default_key_path() -> Path:
    """Where a server keeps its key when nobody says where, by the XDG base directories."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "surrogate-fmu" / "token.key"


def _key_id(secret: bytes) -> bytes:
    return hashlib.sha256(b"surrogate-fmu key id" + secret).digest()[:_KEY_ID_SIZE]


def _make(path: Path) -> None:
    """Write a new key; of several servers that start at once, one makes it and the others take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET_SIZE))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(made, path)  # whole or not at all, and never over another server's
    finally:
        made.unlink(missing_ok=True)
