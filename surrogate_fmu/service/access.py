"""Who calls: bearer tokens in a file, or the names in the certificates of the callers."""

import hashlib
import hmac
import logging
from pathlib import Path
from typing import Any, Self

from surrogate_fmu.errors import AccessError, ConfigError
from surrogate_fmu.service.private_file import check_private

_log = logging.getLogger("surrogate_fmu.service")
_TOKEN_MIN = 16  # characters
_SCHEME = "bearer "
_LOOPBACK = ("127.", "localhost", "[::1]", "::1", "unix:")


class TokenFile:
    """The tokens of the callers, read again when the file changes.

    A line of the file is `owner token`; what follows a # is a comment. The same owner may have several tokens.

    Args:
        path: of the file.

    Raises:
        ConfigError: it cannot be read, is readable by others, or has a line that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owners = _read(path)
        self._seen = _stamp(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The tokens of a file."""
        return cls(path)

    def owner_of(self, authorization: str | None) -> str:
        """The owner of the token in an `authorization` header.

        All tokens are compared, each in constant time, so that the time of a refusal tells nothing.

        Raises:
            AccessError: there is no token, or it is not in the file.
        """
        self._read_again()
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            raise AccessError("this service asks for a token; connect with token=..., which sends `authorization: Bearer ...`")
        given = _digest(authorization[len(_SCHEME) :].strip())
        found = ""
        for digest, owner in self._owners.items():
            if hmac.compare_digest(digest, given):
                found = owner
        if not found:
            raise AccessError("this service does not know the token; ask its operator for one")
        return found

    def _read_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._owners = _read(self._path)
        except ConfigError as error:
            _log.error("the tokens of before stay: %s", error)


class Access:
    """Tells the owner of a call.

    Args:
        token_file: the tokens; None asks for none.
        mutual_tls: whether callers show certificates, whose names are the owners where there are no tokens.
    """

    def __init__(self, token_file: TokenFile | None, mutual_tls: bool) -> None:
        self._token_file = token_file
        self._mutual_tls = mutual_tls

    def owner(self, context: Any) -> str:
        """The owner; empty where nobody is asked for a name.

        Raises:
            AccessError: the caller shows nothing that is known here.
        """
        if self._token_file is not None:
            return self._token_file.owner_of(dict(context.invocation_metadata() or ()).get("authorization"))
        if self._mutual_tls:
            names = context.auth_context()
            for key in ("x509_common_name", "x509_subject_alternative_name"):
                if names.get(key):
                    return str(names[key][0].decode())
            raise AccessError("the certificate of the caller has no name; give it a common name")
        return ""


def check_transport(host: str, *, encrypted: bool, tokens: bool) -> None:
    """Refuse to send tokens in clear text over a network.

    Raises:
        ConfigError: there are tokens, no TLS, and the address is not this machine's own.
    """
    if tokens and not encrypted and not host.startswith(_LOOPBACK):
        raise ConfigError(
            f"tokens would cross the network to {host} in clear text; give --tls-cert and --tls-key, or listen on 127.0.0.1"
        )


def _read(path: Path) -> dict[bytes, str]:
    try:
        check_private(path, "token file")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read ({error})") from error
    owners: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or len(words[1]) < _TOKEN_MIN or len(words[0].encode()) > 100:
            raise ConfigError(
                f"{path}, line {number}: expected `owner token` with a token of {_TOKEN_MIN} characters or more; make one with "
                "`openssl rand -hex 24`"
            )
        digest = _digest(words[1])
        if digest in owners:
            raise ConfigError(f"{path}, line {number}: the token is there already; give each owner a token of its own")
        owners[digest] = words[0]
    if not owners:
        raise ConfigError(f"the token file {path} holds no token, so nobody could call; add a line `owner token`")
    return owners


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
