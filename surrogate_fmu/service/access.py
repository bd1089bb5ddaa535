"""Who calls: bearer tokens in a file, or the names in the certificates of the callers."""

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from surrogate_fmu.errors import AccessError, ConfigError
from surrogate_fmu.service.private_file import check_private

_log = logging.getLogger("surrogate_fmu.service")
_TOKEN_MIN = 16  # characters
_SCHEME = "bearer "
_OWNER_MAX = 100  # bytes of an owner's name in a token file
_NAME_MAX = 255  # bytes of a name in a certificate; a stored session has a byte for the length of its owner's name
_Metadata = Sequence[tuple[str, Any]]


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
        self._seen = _stamp(path)  # before it is read: a change in between is seen at the next call
        self._owners = _read(path)

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

    def check(self, metadata: _Metadata | None) -> None:
        """Refuse a caller without a token that is known here, before anything of the message is read.

        Raises:
            AccessError: there is no token, or it is not in the file.
        """
        if self._token_file is not None:
            self._token_file.owner_of(_authorization(metadata))

    def owner(self, context: Any) -> str:
        """The owner; empty where nobody is asked for a name.

        Raises:
            AccessError: the caller shows nothing that is known here.
        """
        if self._token_file is not None:
            return self._token_file.owner_of(_authorization(context.invocation_metadata()))
        return _name_in_certificate(context.auth_context()) if self._mutual_tls else ""


def check_transport(host: str, *, encrypted: bool, tokens: bool) -> None:
    """Refuse to send tokens in clear text over a network.

    Raises:
        ConfigError: there are tokens, no TLS, and the address is not this machine's own.
    """
    if tokens and not encrypted and not _is_loopback(host):
        raise ConfigError(
            f"tokens would cross the network to {host} in clear text; give --tls-cert and --tls-key (a client: root_ca), or use "
            "127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    # names are not looked up, and a name that only begins like an address of loopback (127.example.com) is none
    if host == "unix" or host.startswith("unix:") or host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _authorization(metadata: _Metadata | None) -> str | None:
    value = dict(metadata or ()).get("authorization")
    return value if isinstance(value, str) else None


def _name_in_certificate(names: Mapping[str, Sequence[bytes]]) -> str:
    for key in ("x509_common_name", "x509_subject_alternative_name"):
        for data in names.get(key, ()):
            if not data:
                continue
            if len(data) > _NAME_MAX:
                raise AccessError(f"the name in the caller's certificate has {len(data)} bytes; give it one of {_NAME_MAX} at most")
            try:
                return data.decode()
            except UnicodeDecodeError:
                raise AccessError("the name in the caller's certificate is no UTF-8; give it one that is") from None
    raise AccessError("the caller's certificate has no name; give it a common name")


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
        if len(words) != 2 or len(words[1]) < _TOKEN_MIN or len(words[0].encode()) > _OWNER_MAX:
            raise ConfigError(
                f"{path}, line {number}: expected `owner token` with an owner of {_OWNER_MAX} bytes at most and a token of "
                f"{_TOKEN_MIN} characters or more; make one with `openssl rand -hex 24`"
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


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
